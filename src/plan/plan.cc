// src/plan/plan.cc - a checked problem turned into what exec needs.
#include "plan/plan.h"

#include <algorithm>
#include <cmath>

#include "exec/run.h"
#include "plan/isa.h"
#include "plan/score_mods.h"

namespace regard {
namespace {

constexpr std::size_t kAlignment = 64;

std::vector<exec::Sequence> sequences_of(const AttentionShape& shape, const AttentionOptions& o) {
  const bool packed = !o.cu_seqlens_q.empty();
  const std::size_t num =
      packed ? o.cu_seqlens_q.size() - 1 : static_cast<std::size_t>(shape.batch);
  std::vector<exec::Sequence> sequences(num);
  for (std::size_t i = 0; i < num; ++i) {
    exec::Sequence& s = sequences[i];
    s = {.batch = static_cast<std::int64_t>(i),
         .q_begin = 0,
         .q_len = shape.q_len,
         .kv_begin = 0,
         .kv_len = shape.kv_len,
         .kv_capacity = 0,
         .q_offset = o.q_offset.value_or(0)};
    if (packed) {
      s.batch = 0;
      s.q_begin = o.cu_seqlens_q[i];
      s.q_len = o.cu_seqlens_q[i + 1] - s.q_begin;
      if (shape.page_size == 0) {
        s.kv_begin = o.cu_seqlens_kv[i];
        s.kv_len = o.cu_seqlens_kv[i + 1] - s.kv_begin;
      }
    }
    s.kv_capacity = s.kv_len;
    if (!o.kv_lens.empty()) s.kv_len = o.kv_lens[i];
    if (!o.q_offsets.empty()) s.q_offset = o.q_offsets[i];
  }
  return sequences;
}

/// Rows of a block: as many as share packed keys well, or fewer where threads would be left without
/// work.
std::int64_t rows_per_block(const exec::Setup& s, int num_threads) {
  constexpr std::int64_t kTasksPerThread = 4, kLeastRows = 4 * exec::kStripRows;
  std::int64_t rows = 0;
  for (const exec::Sequence& sequence : s.sequences) rows += sequence.q_len * s.shape.num_heads;
  const std::int64_t share = num_threads == 1 ? rows : rows / (kTasksPerThread * num_threads);
  const std::int64_t strips = (share + exec::kStripRows - 1) / exec::kStripRows;
  return std::clamp(strips * exec::kStripRows, kLeastRows, exec::kBlockRows);
}

/// Sequences with most keys first, and of each the last rows first: under a causal mask they see
/// most.
std::vector<exec::RowBlock> blocks_of(const exec::Setup& s, int num_threads) {
  const std::int64_t most = rows_per_block(s, num_threads), group = s.heads_per_kv_head();
  std::vector<exec::RowBlock> blocks;
  for (std::size_t i = 0; i < s.sequences.size(); ++i) {
    const std::int64_t rows = s.sequences[i].q_len * group;
    for (std::int64_t n = (rows + most - 1) / most; n-- > 0;) {
      for (std::int64_t head = 0; head < s.shape.num_kv_heads; ++head) {
        blocks.push_back(
            {static_cast<std::int64_t>(i), head, n * most, std::min((n + 1) * most, rows)});
      }
    }
  }
  std::ranges::stable_sort(blocks, std::ranges::greater{}, [&](const exec::RowBlock& block) {
    return s.sequences[static_cast<std::size_t>(block.sequence)].kv_len;
  });
  return blocks;
}

exec::Setup setup_of(const AttentionShape& shape, const AttentionOptions& options,
                     int num_threads) {
  const kernels::KernelTable& table = plan::active_table();
  const bool pairs = table.bf16 != nullptr && shape.query_dtype == DType::kBf16 &&
                     shape.key_dtype == DType::kBf16 && shape.value_dtype == DType::kBf16;
  exec::Setup setup{.shape = shape,
                    .scale = options.scale.value_or(
                        static_cast<float>(1 / std::sqrt(static_cast<double>(shape.head_dim)))),
                    .kv_offset = options.kv_offset,
                    .sequences = sequences_of(shape, options),
                    .blocks = {},
                    .block_rows = 0,
                    .strip_rows = exec::kStripRows,
                    .score_mods = plan::plan_score_mods(options.score_mods, shape.num_heads),
                    .sinks = {options.sinks.begin(), options.sinks.end()},
                    .masks = nullptr,
                    .kernels = &table,
                    .arithmetic = &table.arithmetic(pairs)};
  setup.blocks = blocks_of(setup, num_threads);
  for (const exec::RowBlock& block : setup.blocks)
    setup.block_rows = std::max(setup.block_rows, block.end - block.begin);
  if (setup.block_rows <= exec::kMostStripRows) setup.strip_rows = exec::kMostStripRows;
  return setup;
}

}  // namespace

Executor& default_executor(const AttentionShape& s) {
  // Waking a thread takes 5 to 50 us; a slow core does 20 GFLOP/s and reads 5 GB/s.
  constexpr double kLeastSeconds = 40e-6, kFlopsPerSecond = 20e9, kBytesPerSecond = 5e9;
  const auto dims = static_cast<double>(s.head_dim + s.value_dim);
  const double keys = static_cast<double>(s.batch) * static_cast<double>(s.kv_len);
  const double pairs = keys * static_cast<double>(s.num_heads) * static_cast<double>(s.q_len);
  const double bytes =
      keys * static_cast<double>(s.num_kv_heads) * dims * static_cast<double>(size_of(s.key_dtype));
  const double seconds = 2 * pairs * dims / kFlopsPerSecond + bytes / kBytesPerSecond;
  return seconds < kLeastSeconds ? serial_executor() : default_executor();
}

Plan::Impl::Impl(const AttentionShape& shape, const AttentionOptions& options)
    : executor(options.executor != nullptr ? *options.executor : default_executor(shape)),
      setup(setup_of(shape, options, executor.num_threads())),
      masks(options.mask, static_cast<std::int64_t>(setup.sequences.size()), shape.num_heads),
      workspace_bytes(exec::workspace_floats(setup, executor.num_threads()) *
                      static_cast<std::int64_t>(sizeof(float))),
      memory_(options.memory != nullptr ? *options.memory : *std::pmr::new_delete_resource()) {
  setup.masks = &masks;
}

Plan::Impl::~Impl() {
  if (void* own = workspace_.load())
    memory_.deallocate(own, static_cast<std::size_t>(workspace_bytes), kAlignment);
}

void Plan::Impl::run(const exec::Call& call, std::span<std::byte> workspace) const {
  if (call.cancelled()) throw Cancelled();
  compute(call, workspace);
  if (call.cancelled()) throw Cancelled();
}

void Plan::Impl::compute(const exec::Call& call, std::span<std::byte> workspace) const {
  if (!workspace.empty())
    return exec::run(setup, call, executor, reinterpret_cast<float*>(workspace.data()));
  const auto bytes = static_cast<std::size_t>(workspace_bytes);
  /// Takes the plan's workspace, or makes one when this is the first run or another has it; puts it
  /// back.
  struct Lease {
    Lease(const Impl& impl, std::size_t size)
        : plan(impl), bytes(size), memory(plan.workspace_.exchange(nullptr)) {
      if (memory == nullptr) memory = plan.memory_.allocate(bytes, kAlignment);
    }
    ~Lease() {
      void* none = nullptr;
      if (!plan.workspace_.compare_exchange_strong(none, memory))
        plan.memory_.deallocate(memory, bytes, kAlignment);
    }
    const Impl& plan;
    std::size_t bytes;
    void* memory;
  } const lease(*this, bytes);
  exec::run(setup, call, executor, static_cast<float*>(lease.memory));
}

}  // namespace regard
