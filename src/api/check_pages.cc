// src/api/check_pages.cc - what views of pages a run accepts.
#include <algorithm>
#include <iterator>
#include <string>

#include "api/check.h"
#include "api/check_attention.h"

namespace regard::api {
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

/// "attention: pages.NAME[i]", made only when there is something to say.
std::string entry(const char* name, std::size_t i) {
  return "attention: pages." + std::string(name) + "[" + std::to_string(i) + "]";
}

void check_entry(const char* name, std::size_t i, std::int64_t came, std::int64_t most) {
  if (came < 0 || came > most) check_range(entry(name, i), came, 0, most);
}

/// A page is there unless all tiles that it has a part of were evicted.
void check_table(const PagedView& p, std::size_t i) {
  constexpr std::int64_t kTile = exec::kTileKeys;
  const std::int64_t kv_len = p.kv_lens[i];
  if (p.tables[i] == nullptr && kv_len > 0) refuse(entry("tables", i), "null", "a list of pages");
  const bool some = !p.evicted_begin.empty();
  const std::int64_t begin = some ? p.evicted_begin[i] : 0, end = some ? p.evicted_end[i] : 0;
  check_entry("evicted_begin", i, begin, kv_len);
  check_entry("evicted_end", i, end, kv_len);
  for (std::int64_t first = 0; first < kv_len; first += p.page_size) {
    if (p.tables[i][first / p.page_size] != nullptr) continue;
    const std::int64_t last = (first + p.page_size + kTile - 1) / kTile * kTile;
    if (first / kTile * kTile >= begin && std::min(last, kv_len) <= end) continue;
    refuse(entry("tables", i) + "[" + std::to_string(first / p.page_size) + "]", "null",
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
  check_offsets(p);
  check_equal("attention: pages.tables.size()", std::ssize(p.tables), sequences, "sequences");
  check_equal("attention: pages.kv_lens.size()", std::ssize(p.kv_lens), sequences, "sequences");
  check_equal("attention: pages.evicted_end.size()", std::ssize(p.evicted_end),
              std::ssize(p.evicted_begin), "as evicted_begin");
  if (!p.evicted_begin.empty())
    check_equal("attention: pages.evicted_begin.size()", std::ssize(p.evicted_begin), sequences,
                "sequences");
  for (std::size_t i = 0; i < p.tables.size(); ++i) {
    check_entry("kv_lens", i, p.kv_lens[i], s.kv_len);
    check_table(p, i);
  }
  if (!options.kv_lens.empty())
    refuse("attention: kv_lens", "given", "none: the view of the pages has them");
}

void check_evicted(const exec::Setup& setup, const exec::Call& call, const PagedView& pages) {
  for (std::size_t i = 0; i < pages.evicted_end.size(); ++i) {
    const std::int64_t begin = pages.evicted_begin[i], end = pages.evicted_end[i];
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

}  // namespace regard::api
