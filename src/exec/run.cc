// src/exec/run.cc - a computation cut into tasks and handed to an executor.
#include "exec/run.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>

#include "exec/float_environment.h"

namespace regard::exec {
namespace {

/// How the keys are cut when there are fewer blocks of rows than threads want, or when keys lie in
/// short pages: every block into `num` parts of `chunks` chunks, a power of two, so that a part is
/// a subtree of the merge tree and no bit changes.
struct Split {
  std::int64_t num = 1;
  std::int64_t chunks;
};

std::int64_t num_strips(const Setup& s) { return (s.block_rows + s.strip_rows - 1) / s.strip_rows; }

std::int64_t state_floats(const Setup& s) {
  return MergeTree::state_floats(s.strip_rows, s.out_stride());
}

/// Chunks of a part that give every thread some; max_chunks() if one part will do.
std::int64_t chunks_for_threads(const Setup& s, int num_threads) {
  constexpr std::int64_t kTasksPerThread = 4, kLeastChunks = 4;
  const auto blocks = static_cast<std::int64_t>(s.blocks.size());
  if (num_threads == 1 || blocks >= kTasksPerThread * num_threads) return s.max_chunks();
  const std::int64_t parts = kTasksPerThread * num_threads / blocks;
  std::int64_t chunks = kLeastChunks;
  while (chunks * parts < s.max_chunks()) chunks *= 2;
  return chunks;
}

/// In a page the rows of one head end after a few KiB, and hardware that has foreseen them goes on
/// into the next head's: a third of what it reads is for nobody, unless that head comes soon. So
/// the heads take turns, 512 keys at a time, or more where states would take megabytes; each asks
/// for the first rows of the next (NextTask).
std::int64_t chunks_for_pages(const Setup& s) {
  constexpr std::int64_t kShortPage = 1024, kChunks = 2, kMostFloats = 1 << 20;
  if (s.shape.page_size == 0 || s.shape.page_size >= kShortPage || num_strips(s) > 1 ||
      s.shape.num_kv_heads == 1)
    return s.max_chunks();
  std::int64_t chunks = kChunks;
  const std::int64_t floats =
      s.max_chunks() * static_cast<std::int64_t>(s.blocks.size()) * state_floats(s);
  while (floats / chunks > kMostFloats) chunks *= 2;
  return chunks;
}

Split split_keys(const Setup& s, int num_threads) {
  Split split{.chunks = std::max<std::int64_t>(s.max_chunks(), 1)};
  if (s.blocks.empty()) return split;
  const std::int64_t chunks = std::min(chunks_for_threads(s, num_threads), chunks_for_pages(s));
  if (chunks >= s.max_chunks() || s.kv_offset % (chunks * kChunkKeys) != 0) return split;
  return {.num = (s.max_chunks() + chunks - 1) / chunks, .chunks = chunks};
}

/// Parts that hold a key of the call, which may have fewer keys than the plan.
std::int64_t parts_with_keys(const Setup& s, const Call& call, const Split& split) {
  std::int64_t most = 0;
  for (std::size_t i = 0; i < s.sequences.size(); ++i)
    most = std::max(most, call.kv_len(s, static_cast<std::int64_t>(i)));
  const std::int64_t keys = split.chunks * kChunkKeys;
  return std::clamp<std::int64_t>((most + keys - 1) / keys, 1, split.num);
}

/// One run: the blocks' parts as tasks, and where the parts' states wait for each other.
class Run {
 public:
  Run(const Setup& setup, const Call& call, int num_threads, float* memory)
      : s_(setup),
        call_(call),
        num_threads_(num_threads),
        split_(split_keys(setup, num_threads)),
        memory_(memory) {
    if (memory != nullptr && split_.num > 1) split_.num = parts_with_keys(setup, call, split_);
    if (split_.num == 1 || memory == nullptr) return;
    for (std::int64_t b = 0; b < num_blocks(); ++b) {
      std::construct_at(remaining(b), static_cast<int>(split_.num));
    }
  }

  std::int64_t num_tasks() const { return num_blocks() * split_.num; }

  std::int64_t floats() const {
    return num_blocks() * block_floats() + num_workers() * Workspace::floats(s_);
  }

  void task(std::int64_t task, int worker) const noexcept {
    if (call_.cancelled()) return;  // there may be a hundred thousand tasks yet to come
    const FloatEnvironment environment;
    // Of few tasks any worker may take any: the executor's index may be beyond the workspaces, the
    // task's is not.
    const std::int64_t place = num_workers() < num_threads_ ? task : worker;
    Workspace w(s_, memory_ + num_blocks() * block_floats() + place * Workspace::floats(s_));
    const std::int64_t b = block_of(task), part = part_of(task);
    const RowBlock& block = s_.blocks[static_cast<std::size_t>(b)];
    NextTask next;
    if (const std::int64_t t = task + num_threads_; t < num_tasks())
      next = {&s_.blocks[static_cast<std::size_t>(block_of(t))], chunks_of(part_of(t))};
    attend(s_, call_, block, chunks_of(part), next, w);
    if (split_.num > 1) {
      put_aside(block, b, part, w);
      if (remaining(b)->fetch_sub(1) != 1) return;  // whoever finishes last puts the parts together
      put_together(block, b, w);
    }
    if (!call_.cancelled()) store(s_, call_, block, w);
  }

 private:
  std::int64_t num_blocks() const { return static_cast<std::int64_t>(s_.blocks.size()); }
  std::int64_t block_of(std::int64_t task) const { return task % num_blocks(); }
  std::int64_t part_of(std::int64_t task) const { return task / num_blocks(); }
  ChunkRange chunks_of(std::int64_t part) const {
    return {part * split_.chunks, (part + 1) * split_.chunks};
  }
  std::int64_t num_workers() const {
    return std::min<std::int64_t>(num_threads_, std::max<std::int64_t>(num_tasks(), 1));
  }

  // A block's shared memory: a counter, then for each part and strip a state and, before it,
  // whether there is one.
  static constexpr std::int64_t kHeader = 16;
  std::int64_t slot_floats() const { return kHeader + state_floats(s_); }
  std::int64_t block_floats() const {
    return split_.num == 1 ? 0 : kHeader + split_.num * num_strips(s_) * slot_floats();
  }
  std::atomic<int>* remaining(std::int64_t block) const {
    return reinterpret_cast<std::atomic<int>*>(memory_ + block * block_floats());
  }
  float* slot(std::int64_t block, std::int64_t part, std::int64_t strip) const {
    return memory_ + block * block_floats() + kHeader +
           (part * num_strips(s_) + strip) * slot_floats();
  }
  void copy(const kernels::State& from, const kernels::State& to,
            std::int64_t rows) const noexcept {
    std::copy_n(from.max, rows, to.max);
    std::copy_n(from.sum, rows, to.sum);
    std::copy_n(from.out, rows * s_.out_stride(), to.out);
  }

  void put_aside(const RowBlock& block, std::int64_t b, std::int64_t part,
                 Workspace& w) const noexcept {
    for (std::int64_t i = 0; i < num_strips(s_, block); ++i) {
      MergeTree& tree = w.trees[static_cast<std::size_t>(i)];
      float* to = slot(b, part, i);
      const std::int64_t rows =
          std::min(s_.strip_rows, block.end - block.begin - i * s_.strip_rows);
      *to = tree.empty() ? 0.0f : 1.0f;
      if (!tree.empty())
        copy(tree.root(*s_.kernels, rows), MergeTree::state_at(to + kHeader, s_.strip_rows), rows);
    }
  }

  /// The upper levels of the tree, whose leaves are the parts.
  void put_together(const RowBlock& block, std::int64_t b, Workspace& w) const noexcept {
    for (std::int64_t i = 0; i < num_strips(s_, block); ++i) {
      MergeTree& tree = w.trees[static_cast<std::size_t>(i)];
      const std::int64_t rows =
          std::min(s_.strip_rows, block.end - block.begin - i * s_.strip_rows);
      for (std::int64_t part = 0; part < split_.num; ++part) {
        float* from = slot(b, part, i);
        if (*from == 0.0f) continue;
        copy(MergeTree::state_at(from + kHeader, s_.strip_rows), tree.fresh(), rows);
        tree.push(*s_.kernels, s_.kv_offset / kChunkKeys / split_.chunks + part, rows);
      }
    }
  }

  const Setup& s_;
  const Call& call_;
  int num_threads_;
  Split split_;
  float* memory_;
};

}  // namespace

std::int64_t workspace_floats(const Setup& setup, int num_threads) {
  const Call nothing{};
  return Run(setup, nothing, num_threads, nullptr).floats();
}

std::int64_t num_tasks(const Setup& setup, int num_threads) {
  const Call nothing{};
  return Run(setup, nothing, num_threads, nullptr).num_tasks();
}

void run(const Setup& setup, const Call& call, Executor& executor, float* memory) {
  const Run work(setup, call, executor.num_threads(), memory);
  const auto task = [&work](std::int64_t index, int worker) { work.task(index, worker); };
  executor.parallel_for(work.num_tasks(), task);
}

}  // namespace regard::exec
