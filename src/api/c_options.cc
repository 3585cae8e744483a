// src/api/c_options.cc - C's options of a plan and of a run, as C++ has them.
#include <cstring>
#include <utility>

#include "api/c_support.h"
#include "regard/mask_text.h"

namespace regard::api {
namespace {

DenseMask dense_mask_of(const regard_dense_mask& given) {
  const auto mask = versioned("attention: dense_mask", &given);
  const TensorView<const bool, 4> view(mask.data, std::to_array(mask.shape),
                                       std::to_array(mask.strides));
  check_elements("attention: dense_mask",
                 {view.shape[0], view.shape[1], view.shape[2], view.shape[3]});
  check_strides("attention: dense_mask", view, sizeof(bool));
  return DenseMask(view, mask.q_begin);
}

AnyMask mask_of(const regard_options& given) {
  const AnyMask text = given.mask == nullptr ? AnyMask() : parse_mask(given.mask);
  if (given.dense_mask == nullptr) return text;
  DenseMask dense = dense_mask_of(*given.dense_mask);
  if (given.mask == nullptr) return dense;
  return text & std::move(dense);
}

UserMod user_mod_of(const regard_score_mod& mod) {
  if (mod.apply == nullptr) return {};
  return {[apply = mod.apply, user = mod.user](const ScoreTile& tile) {
    const regard_score_tile c{tile.scores,   tile.stride,  tile.num_rows,          tile.num_keys,
                              tile.batch,    tile.kv_head, tile.heads_per_kv_head, tile.row_begin,
                              tile.q_offset, tile.kv_begin};
    apply(user, &c);
  }};
}

Alibi alibi_of(std::span<const float> slopes) { return {{slopes.begin(), slopes.end()}}; }

RelativeBias relative_bias_of(const regard_score_mod& mod, std::span<const float> table) {
  RelativeBias bias{.table = {table.begin(), table.end()}};
  if (mod.num_buckets != 0) bias.num_buckets = mod.num_buckets;
  if (mod.max_distance != 0) bias.max_distance = mod.max_distance;
  bias.bidirectional = mod.one_direction == 0;
  return bias;
}

ScoreMod score_mod_of(const std::string& what, const regard_score_mod& mod) {
  const auto numbers = [&] { return span_of((what + ".numbers").c_str(), mod.numbers); };
  switch (mod.kind) {
    case REGARD_SOFT_CAP:
      return SoftCap{mod.cap};
    case REGARD_ALIBI:
      return alibi_of(numbers());
    case REGARD_BIAS:
      return Bias{input_of((what + ".bias").c_str(), &mod.bias)};
    case REGARD_RELATIVE_BIAS:
      return relative_bias_of(mod, numbers());
    case REGARD_USER_MOD:
      return user_mod_of(mod);
    default:
      refuse(what + ".kind", std::to_string(mod.kind), "1..5");
  }
}

/// All have the first one's size, which says how far apart they are.
std::vector<ScoreMod> score_mods_of(const regard_score_mod* given, std::int64_t count) {
  check_range("attention: num_score_mods", count, 0, std::numeric_limits<std::int32_t>::max());
  std::vector<ScoreMod> mods;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::size_t size = required("attention: score_mods", given).size;
    const std::string what = "attention: score_mods[" + std::to_string(i) + "]";
    const auto* at = reinterpret_cast<const regard_score_mod*>(
        reinterpret_cast<const std::byte*>(given) + static_cast<std::size_t>(i) * size);
    const regard_score_mod mod = versioned(what.c_str(), at);
    check_equal(what + ".size", static_cast<std::int64_t>(mod.size),
                static_cast<std::int64_t>(size), "as the first one's");
    mods.push_back(score_mod_of(what, mod));
  }
  return mods;
}

}  // namespace

HostMemory::HostMemory(const regard_allocator& host)
    : host_(versioned("attention: allocator", &host)) {
  if (host_.allocate == nullptr) refuse("attention: allocator.allocate", "null", "a function");
  if (host_.deallocate == nullptr) refuse("attention: allocator.deallocate", "null", "a function");
}

void* HostMemory::do_allocate(std::size_t bytes, std::size_t alignment) {
  const std::size_t size = std::max(bytes, alignment);  // malloc(0) may be null
  void* memory = host_.allocate(host_.user, size, alignment);
  if (memory == nullptr) throw std::bad_alloc();
  if (reinterpret_cast<std::uintptr_t>(memory) % alignment != 0) {
    host_.deallocate(host_.user, memory, size, alignment);
    check_aligned("attention: allocator's memory", memory, alignment);
  }
  return memory;
}

void HostMemory::do_deallocate(void* memory, std::size_t bytes, std::size_t alignment) {
  host_.deallocate(host_.user, memory, std::max(bytes, alignment), alignment);
}

HostOptions::HostOptions(const regard_options* given) {
  const regard_options c = versioned("attention: options", given);
  options_.mask = mask_of(c);
  if (c.scale != nullptr) options_.scale = *c.scale;
  if (c.q_offset != nullptr) options_.q_offset = *c.q_offset;
  options_.q_offsets = span_of("attention: q_offsets", c.q_offsets);
  options_.kv_lens = span_of("attention: kv_lens", c.kv_lens);
  options_.cu_seqlens_q = span_of("attention: cu_seqlens_q", c.cu_seqlens_q);
  options_.cu_seqlens_kv = span_of("attention: cu_seqlens_kv", c.cu_seqlens_kv);
  options_.score_mods = score_mods_of(c.score_mods, c.num_score_mods);
  options_.sinks = span_of("attention: sinks", c.sinks);
  options_.kv_offset = c.kv_offset;
  options_.executor = executor_of(c.executor);
  if (c.allocator != nullptr) options_.memory = &memory_.emplace(*c.allocator);
}

RunOptions run_options_of(const regard_run_options* given) {
  const regard_run_options c = versioned("attention: run", given);
  if (c.workspace == nullptr && c.workspace_bytes != 0)
    refuse("attention: run.workspace", "null", "a pointer to workspace_bytes bytes");
  return {.lse = lse_of(c.lse),
          .probe = nullptr,
          .cancel = c.cancel == nullptr ? nullptr : &c.cancel->raised,
          .q_offsets = span_of("attention: run.q_offsets", c.q_offsets),
          .kv_lens = span_of("attention: run.kv_lens", c.kv_lens),
          .workspace = {static_cast<std::byte*>(c.workspace), c.workspace_bytes}};
}

}  // namespace regard::api
