// tests/support/c_problem.cc - a random problem as C has it.
#include "support/c_problem.h"

#include <algorithm>

namespace regard::test {
namespace {

void call_user_mod(void* user, const regard_score_tile* c) {
  const ScoreTile tile{c->scores,   c->stride,  c->num_rows,          c->num_keys,
                       c->batch,    c->kv_head, c->heads_per_kv_head, c->row_begin,
                       c->q_offset, c->kv_begin};
  static_cast<const UserMod*>(user)->apply(tile);
}

bool has_text(const std::string& mask) {
  return mask.find("dense") == std::string::npos && mask.find("block") == std::string::npos &&
         mask.find("custom") == std::string::npos && mask.find("...") == std::string::npos;
}

}  // namespace

regard_shape c_shape(const AttentionShape& s) {
  return {.size = sizeof(regard_shape),
          .batch = s.batch,
          .num_heads = s.num_heads,
          .num_kv_heads = s.num_kv_heads,
          .q_len = s.q_len,
          .kv_len = s.kv_len,
          .head_dim = s.head_dim,
          .value_dim = s.value_dim,
          .query_dtype = static_cast<regard_dtype>(s.query_dtype),
          .key_dtype = static_cast<regard_dtype>(s.key_dtype),
          .value_dtype = static_cast<regard_dtype>(s.value_dtype),
          .out_dtype = static_cast<regard_dtype>(s.out_dtype)};
}

CProblem::CProblem(const Problem& p, bool dense) {
  options.size = sizeof(options);
  if (p.scale) options.scale = &*p.scale;
  if (p.q_offset) options.q_offset = &*p.q_offset;
  options.q_offsets = c_ints(p.q_offsets);
  options.kv_lens = c_ints(p.kv_lens);
  options.cu_seqlens_q = c_ints(p.cu_seqlens_q);
  options.cu_seqlens_kv = c_ints(p.cu_seqlens_kv);
  options.sinks = c_floats(p.sinks);
  for (const ScoreMod& mod : p.score_mods.mods) score_mods_.push_back(score_mod(mod));
  options.score_mods = score_mods_.data();
  options.num_score_mods = static_cast<std::int64_t>(score_mods_.size());
  text_ = p.mask.mask.describe();
  if (has_text(text_) && !dense) {
    options.mask = text_.c_str();
  } else {
    add_dense(p);
  }
}

// A row for every position that a query of any sequence may have.
void CProblem::add_dense(const Problem& p) {
  std::int64_t first = p.q_offset.value_or(0), last = first;
  if (!p.q_offsets.empty()) {
    const auto [least, most] = std::ranges::minmax_element(p.q_offsets);
    first = *least;
    last = *most;
  }
  const std::int64_t rows = last - first + p.shape.q_len, keys = p.shape.kv_len;
  allowed_ = std::make_unique<bool[]>(static_cast<std::size_t>(rows * keys));
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < keys; ++j)
      allowed_[static_cast<std::size_t>(i * keys + j)] = p.mask.mask.allows(first + i, j);
  }
  dense_mask_ = {sizeof(dense_mask_), allowed_.get(), {1, 1, rows, keys}, {0, 0, keys, 1}, first};
  options.dense_mask = &dense_mask_;
}

regard_score_mod CProblem::score_mod(const ScoreMod& mod) {
  regard_score_mod c{};
  c.size = sizeof(c);
  c.kind = static_cast<std::int32_t>(mod.index()) + 1;  // in the order of REGARD_SOFT_CAP, ...
  if (const auto* cap = std::get_if<SoftCap>(&mod)) c.cap = cap->cap;
  if (const auto* alibi = std::get_if<Alibi>(&mod)) c.numbers = c_floats(alibi->slopes);
  if (const auto* bias = std::get_if<Bias>(&mod)) c.bias = c_input(bias->values);
  if (const auto* relative = std::get_if<RelativeBias>(&mod)) {
    c.numbers = c_floats(relative->table);
    c.num_buckets = relative->num_buckets;
    c.max_distance = relative->max_distance;
    c.one_direction = relative->bidirectional ? 0 : 1;
  }
  if (const auto* user = std::get_if<UserMod>(&mod)) {
    c.apply = call_user_mod;
    c.user = const_cast<UserMod*>(user);
  }
  return c;
}

}  // namespace regard::test
