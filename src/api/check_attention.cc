// src/api/check_attention.cc - what a plan and a run accept.
#include "api/check_attention.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

#include "api/check.h"
#include "api/score_mods.h"

namespace regard::api {
namespace {

constexpr std::int64_t kMostExtent = std::int64_t{1} << 40;
constexpr std::int64_t kMostDim = 1024;

using Lengths = std::span<const std::int64_t>;

void check_shape(const AttentionShape& s) {
  check_range("attention: batch", s.batch, 0, kMostExtent);
  check_range("attention: num_heads", s.num_heads, 1, kMostExtent);
  check_range("attention: num_kv_heads", s.num_kv_heads, 1, kMostExtent);
  check_range("attention: q_len", s.q_len, 0, kMostExtent);
  check_range("attention: kv_len", s.kv_len, 0, kMostExtent);
  check_range("attention: head_dim", s.head_dim, 1, kMostDim);
  check_range("attention: value_dim", s.value_dim, 1, kMostDim);
  check_elements("attention: batch * num_heads * q_len * max(head_dim, value_dim)",
                 {s.batch, s.num_heads, s.q_len, std::max(s.head_dim, s.value_dim)});
  check_elements("attention: batch * num_kv_heads * kv_len * max(head_dim, value_dim)",
                 {s.batch, s.num_kv_heads, s.kv_len, std::max(s.head_dim, s.value_dim)});
  if (s.page_size != 0) {
    check_page_size("attention: page_size", s.page_size);
    if (s.value_dtype != s.key_dtype)
      refuse("attention: value_dtype", name_of(s.value_dtype),
             std::string(name_of(s.key_dtype)) + " (key_dtype), with pages");
  }
  if (s.page_size == 0) {
    constexpr const char* kPages = ", but of pages, whose rows have scales";
    refuse_int8("attention: key_dtype", s.key_dtype, kPages);
    refuse_int8("attention: value_dtype", s.value_dtype, kPages);
  }
  refuse_int8("attention: query_dtype", s.query_dtype);
  refuse_int8("attention: out_dtype", s.out_dtype);
  if (s.num_heads % s.num_kv_heads != 0) {
    refuse("attention: num_heads", std::to_string(s.num_heads),
           "a multiple of num_kv_heads (" + std::to_string(s.num_kv_heads) + ")");
  }
}

/// One number per sequence, each in [least, most(i)]; may be left out.
template <class Most>
void check_per_sequence(const char* what, Lengths values, std::int64_t num_sequences,
                        std::int64_t least, Most most) {
  if (values.empty()) return;
  if (static_cast<std::int64_t>(values.size()) != num_sequences) {
    refuse(std::string(what) + ".size()", std::to_string(values.size()),
           std::to_string(num_sequences) + " (sequences)");
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values[i] >= least && values[i] <= most(i)) continue;
    check_range(std::string(what) + "[" + std::to_string(i) + "]", values[i], least, most(i));
  }
}

void check_boundaries(const std::string& what, Lengths boundaries, std::int64_t most) {
  check_equal(what + "[0]", boundaries[0], 0, "where the first sequence begins");
  for (std::size_t i = 1; i < boundaries.size(); ++i)
    check_range(what + "[" + std::to_string(i) + "]", boundaries[i], boundaries[i - 1], most);
}

void check_packed(const AttentionShape& s, const AttentionOptions& o) {
  if (o.cu_seqlens_q.empty() && o.cu_seqlens_kv.empty()) return;
  if (s.page_size != 0) {
    check_equal("attention: cu_seqlens_kv.size()", std::ssize(o.cu_seqlens_kv), 0, "with pages");
    check_equal("attention: batch", s.batch, 1, "with cu_seqlens");
    return check_boundaries("attention: cu_seqlens_q", o.cu_seqlens_q, s.q_len);
  }
  check_equal("attention: cu_seqlens_kv.size()", static_cast<std::int64_t>(o.cu_seqlens_kv.size()),
              static_cast<std::int64_t>(o.cu_seqlens_q.size()), "as cu_seqlens_q");
  check_equal("attention: batch", s.batch, 1, "with cu_seqlens");
  check_boundaries("attention: cu_seqlens_q", o.cu_seqlens_q, s.q_len);
  check_boundaries("attention: cu_seqlens_kv", o.cu_seqlens_kv, s.kv_len);
}

struct SequenceLengths {
  const AttentionShape& shape;
  const AttentionOptions& options;
  bool packed() const { return !options.cu_seqlens_q.empty(); }
  std::int64_t count() const {
    return packed() ? static_cast<std::int64_t>(options.cu_seqlens_q.size()) - 1 : shape.batch;
  }
  std::int64_t q_len(std::size_t i) const {
    return packed() ? options.cu_seqlens_q[i + 1] - options.cu_seqlens_q[i] : shape.q_len;
  }
  std::int64_t kv_len(std::size_t i) const {
    return packed() && shape.page_size == 0
               ? options.cu_seqlens_kv[i + 1] - options.cu_seqlens_kv[i]
               : shape.kv_len;
  }
};

void check_positions(const AttentionOptions& o, const SequenceLengths& lengths) {
  if (o.q_offset) check_range("attention: q_offset", *o.q_offset, -kMostExtent, kMostExtent);
  check_per_sequence("attention: q_offsets", o.q_offsets, lengths.count(), -kMostExtent,
                     [](std::size_t) { return kMostExtent; });
  if (o.q_offset && !o.q_offsets.empty())
    refuse("attention: q_offsets", "given beside q_offset", "one of the two");
  check_range("attention: kv_offset", o.kv_offset, 0,
              lengths.shape.page_size == 0 ? kMostExtent : 0);
  if (o.kv_offset % exec::kChunkKeys != 0) {
    refuse("attention: kv_offset", std::to_string(o.kv_offset),
           "a multiple of " + std::to_string(exec::kChunkKeys));
  }
  if (o.q_offset || !o.q_offsets.empty() || (o.mask.is_full() && !uses_positions(o.score_mods)))
    return;
  for (std::size_t i = 0; i < static_cast<std::size_t>(lengths.count()); ++i) {
    if (lengths.q_len(i) == lengths.kv_len(i) && o.kv_offset == 0) continue;
    refuse("attention: q_offset", "not given",
           "the position of query 0, because q_len (" + std::to_string(lengths.q_len(i)) +
               ") differs from kv_len (" + std::to_string(lengths.kv_len(i)) +
               ") and the mask or a modifier speaks of positions");
  }
}

}  // namespace

void check_sinks(const char* what, std::span<const float> sinks, std::int64_t num_heads) {
  if (sinks.empty()) return;
  if (static_cast<std::int64_t>(sinks.size()) != num_heads) {
    refuse(std::string(what) + ".size()", std::to_string(sinks.size()),
           std::to_string(num_heads) + " (num_heads)");
  }
  for (std::size_t h = 0; h < sinks.size(); ++h) {
    if (!std::isfinite(sinks[h]))
      refuse(std::string(what) + "[" + std::to_string(h) + "]", std::to_string(sinks[h]),
             "a finite number");
  }
}

void check_plan(const AttentionShape& s, const AttentionOptions& o) {
  check_shape(s);
  if (o.scale && !std::isfinite(*o.scale))
    refuse("attention: scale", std::to_string(*o.scale), "a finite number");
  check_packed(s, o);
  const SequenceLengths lengths{s, o};
  if (s.page_size != 0 && !o.kv_lens.empty())
    refuse("attention: kv_lens", "given", "none: the view of the pages has them");
  check_per_sequence("attention: kv_lens", o.kv_lens, lengths.count(), 0,
                     [&](std::size_t i) { return lengths.kv_len(i); });
  check_positions(o, lengths);
  check_score_mods(o.score_mods, s);
  check_sinks("attention: sinks", o.sinks, s.num_heads);
  o.mask.check(lengths.count(), s.num_heads);
}

void check_run(const exec::Setup& setup, const exec::Call& call, const RunOptions& options,
               std::int64_t workspace_bytes) {
  const AttentionShape& s = setup.shape;
  const std::int64_t kv_len = call.key.shape[2];
  check_view("attention: query", call.query, {s.batch, s.num_heads, s.q_len, s.head_dim},
             {"batch", "num_heads", "q_len", "head_dim"}, s.query_dtype);
  check_range("attention: key.shape[2]", kv_len, 0, s.kv_len);
  if (call.key.page_size == 0) {
    check_equal("attention: page_size", 0, s.page_size, "the plan's: give pages");
    check_view("attention: key", call.key, {s.batch, s.num_kv_heads, kv_len, s.head_dim},
               {"batch", "num_kv_heads", "kv_len", "head_dim"}, s.key_dtype);
    check_view("attention: value", call.value, {s.batch, s.num_kv_heads, kv_len, s.value_dim},
               {"batch", "num_kv_heads", "kv_len", "value_dim"}, s.value_dtype);
  }
  if (call.state == nullptr) {
    check_view("attention: out", call.out, {s.batch, s.num_heads, s.q_len, s.value_dim},
               {"batch", "num_heads", "q_len", "value_dim"}, s.out_dtype);
  }
  if (options.lse) {
    check_view("attention: lse", InputView<3>(*options.lse), {s.batch, s.num_heads, s.q_len},
               {"batch", "num_heads", "q_len"}, DType::kF32);
  }
  const auto num_sequences = static_cast<std::int64_t>(setup.sequences.size());
  check_per_sequence("attention: q_offsets", options.q_offsets, num_sequences, -kMostExtent,
                     [](std::size_t) { return kMostExtent; });
  check_per_sequence("attention: kv_lens", options.kv_lens, num_sequences, 0, [&](std::size_t i) {
    const exec::Sequence& sequence = setup.sequences[i];
    return std::clamp<std::int64_t>(kv_len - sequence.kv_begin, 0, sequence.kv_capacity);
  });
  if (options.workspace.empty()) return;
  check_range("attention: workspace.size()", static_cast<std::int64_t>(options.workspace.size()),
              workspace_bytes, std::numeric_limits<std::int64_t>::max());
  check_aligned("attention: workspace.data()", options.workspace.data(), 64);
}

namespace {

void check_offsets(const PagedView& p) {
  const auto check = [](const char* what, std::int64_t offset, std::int64_t unit) {
    if (offset < 0 || offset % unit != 0)
      refuse(what, std::to_string(offset), "a multiple of " + std::to_string(unit));
  };
  const auto element = static_cast<std::int64_t>(size_of(p.dtype));
  check("attention: pages.key_offset", p.key_offset, element);
  check("attention: pages.value_offset", p.value_offset, element);
  if (p.dtype != DType::kI8) return;
  check("attention: pages.key_scale_offset", p.key_scale_offset, sizeof(float));
  check("attention: pages.value_scale_offset", p.value_scale_offset, sizeof(float));
}

/// A page is there unless all tiles that it has a part of were evicted.
void check_table(const PagedView& p, std::size_t i) {
  constexpr std::int64_t kTile = exec::kTileKeys;
  const std::string what = "attention: pages.tables[" + std::to_string(i) + "]";
  if (p.tables[i] == nullptr && p.kv_lens[i] > 0) refuse(what, "null", "a list of pages");
  const bool some = !p.evicted_begin.empty();
  const std::int64_t begin = some ? p.evicted_begin[i] : 0, end = some ? p.evicted_end[i] : 0;
  for (std::int64_t first = 0; first < p.kv_lens[i]; first += p.page_size) {
    if (p.tables[i][first / p.page_size] != nullptr) continue;
    const std::int64_t last = (first + p.page_size + kTile - 1) / kTile * kTile;
    if (first / kTile * kTile >= begin && std::min(last, p.kv_lens[i]) <= end) continue;
    refuse(what + "[" + std::to_string(first / p.page_size) + "]", "null",
           "a page, unless all of its keys were evicted");
  }
}

}  // namespace

void check_pages(const exec::Setup& setup, const PagedView& p, const RunOptions& options) {
  const AttentionShape& s = setup.shape;
  const auto sequences = std::ssize(setup.sequences);
  check_page_size("attention: pages.page_size", p.page_size);
  check_equal("attention: pages.page_size", p.page_size, s.page_size, "the plan's");
  if (p.dtype != s.key_dtype)
    refuse("attention: pages.dtype", name_of(p.dtype),
           std::string(name_of(s.key_dtype)) + " (the plan's)");
  check_equal("attention: pages.num_kv_heads", p.num_kv_heads, s.num_kv_heads, "the plan's");
  check_equal("attention: pages.head_dim", p.head_dim, s.head_dim, "query head_dim");
  check_equal("attention: pages.value_dim", p.value_dim, s.value_dim, "the plan's");
  check_equal("attention: pages.tables.size()", std::ssize(p.tables), sequences, "sequences");
  check_equal("attention: pages.kv_lens.size()", std::ssize(p.kv_lens), sequences, "sequences");
  check_per_sequence("attention: pages.kv_lens", p.kv_lens, sequences, 0,
                     [&](std::size_t) { return s.kv_len; });
  if (!options.kv_lens.empty())
    refuse("attention: kv_lens", "given", "none: the view of the pages has them");
  check_offsets(p);
  check_equal("attention: pages.evicted_end.size()", std::ssize(p.evicted_end),
              std::ssize(p.evicted_begin), "as evicted_begin");
  if (!p.evicted_begin.empty())
    check_equal("attention: pages.evicted_begin.size()", std::ssize(p.evicted_begin), sequences,
                "sequences");
  for (std::size_t i = 0; i < p.tables.size(); ++i) check_table(p, i);
}

void check_evicted(const exec::Setup& setup, const exec::Call& call, const PagedView& pages) {
  for (std::size_t i = 0; i < pages.evicted_end.size(); ++i) {
    const std::int64_t begin = pages.evicted_begin[i],
                       end = std::min(pages.evicted_end[i], pages.kv_lens[i]);
    const exec::Sequence& sequence = setup.sequences[i];
    if (begin >= end || sequence.q_len == 0) continue;
    for (std::int64_t head = 0; head < setup.shape.num_kv_heads; ++head) {
      exec::Rows rows = exec::rows_of(setup, call, {static_cast<std::int64_t>(i), head, 0, 0});
      rows.end = sequence.q_len * setup.heads_per_kv_head();
      if (!setup.masks->may_see(rows, begin, end)) continue;
      refuse("attention: mask",
             "open for keys " + std::to_string(begin) + ".." + std::to_string(end - 1) +
                 " of sequence " + std::to_string(i) + ", which were evicted",
             "one that hides them, e.g. causal & (prefix(n) | window(n, 0))");
    }
  }
}

void check_limits(const MachineLimits& l) {
  const auto check = [](const char* what, double rate, bool may_be_0) {
    if (std::isfinite(rate) && (rate > 0 || (rate == 0 && may_be_0))) return;
    refuse(std::string("limits.") + what, std::to_string(rate),
           may_be_0 ? "a finite number, 0 or more" : "a finite number above 0");
  };
  check("fma_flops", l.fma_flops, false);
  check("dot_flops", l.dot_flops, true);
  check("read_bytes_per_second", l.read_bytes_per_second, false);
  check("shared_read_bytes_per_second", l.shared_read_bytes_per_second, true);
}

}  // namespace regard::api
