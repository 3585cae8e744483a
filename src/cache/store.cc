// src/cache/store.cc - sequences as lists of pages: shared, copied when written, given back.
#include "cache/store.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "cache/text.h"
#include "regard/attention.h"

namespace regard::cache {
namespace {

/// Attention takes keys by tiles of so many; a tile is never half evicted.
constexpr std::int64_t kTileKeys = 32;

constexpr std::int64_t round_up(std::int64_t n, std::int64_t unit) {
  return (n + unit - 1) / unit * unit;
}

std::int64_t num_held(const SequenceState& s) {
  return std::ranges::count_if(s.pages,
                               [](std::int32_t page) { return page != SequenceState::kEvicted; });
}

}  // namespace

Store::Store(const KvCacheShape& shape)
    : shape_(shape),
      layout_(shape),
      pool_(layout_.page_bytes, shape.budget_bytes / layout_.page_bytes,
            shape.memory != nullptr ? *shape.memory : *std::pmr::new_delete_resource()) {}

Store::Id Store::create(SequenceOptions options) {
  SequenceState state;
  state.options = std::move(options);
  sequences_.try_emplace(next_id_, std::move(state));
  return next_id_++;
}

void Store::release(Id id) {
  const auto found = sequences_.find(id);
  for (const std::int32_t page : found->second.pages) drop(page);
  sequences_.erase(found);
}

Store::Id Store::fork(Id id) {
  sequences_.try_emplace(next_id_, at(id));
  for (const std::int32_t page : at(id).pages) hold(page);
  return next_id_++;
}

std::int64_t Store::extend(Id id, std::int64_t count) {
  SequenceState& s = sequences_.at(id);
  const std::int64_t begin = s.length, pages = pages_for(begin + count);
  const auto had = static_cast<std::int64_t>(s.pages.size());
  const bool copies = count > 0 && begin % shape_.page_size != 0 && is_shared(s.pages.back());
  need(pages - had + (copies ? 1 : 0), s.options.owner);
  s.pages.reserve(static_cast<std::size_t>(pages));
  s.table.reserve(static_cast<std::size_t>(pages));
  try {
    while (static_cast<std::int64_t>(s.pages.size()) < pages) {
      s.pages.push_back(take());
      s.table.push_back(pool_.data(s.pages.back()));
    }
    if (copies) own_page(s, had - 1);
  } catch (...) {
    truncate(id, begin);
    throw;
  }
  s.length = begin + count;
  return begin;
}

void Store::truncate(Id id, std::int64_t length) {
  SequenceState& s = sequences_.at(id);
  const std::int64_t pages = pages_for(length);
  for (auto i = static_cast<std::int64_t>(s.pages.size()); i-- > pages;) {
    drop(s.pages.back());
    s.pages.pop_back();
    s.table.pop_back();
  }
  s.length = length;
  s.published = std::min(s.published, length / shape_.page_size);
  s.evicted_end = std::min(s.evicted_end, length);
  if (s.evicted_begin >= s.evicted_end) s.evicted_begin = s.evicted_end = 0;
}

void Store::evict(Id id, std::int64_t begin, std::int64_t end) {
  SequenceState& s = sequences_.at(id);
  if (s.evicted_end > s.evicted_begin) {
    begin = std::min(begin, s.evicted_begin);
    end = std::max(end, s.evicted_end);
  }
  s.evicted_begin = begin;
  s.evicted_end = end;
  const PageRange pages = evicted_pages(begin, end);
  for (std::int64_t i = pages.begin; i < pages.end; ++i) {
    drop(s.pages[static_cast<std::size_t>(i)]);
    s.pages[static_cast<std::size_t>(i)] = SequenceState::kEvicted;
    s.table[static_cast<std::size_t>(i)] = nullptr;
  }
}

Store::PageRange Store::evicted_pages(std::int64_t begin, std::int64_t end) const {
  const std::int64_t unit = std::lcm(shape_.page_size, kTileKeys);
  return {round_up(begin, unit) / shape_.page_size, end / unit * unit / shape_.page_size};
}

void Store::publish(Id id, Ids ids) {
  SequenceState& s = sequences_.at(id);
  const std::string space = s.space();
  const auto size = static_cast<std::size_t>(shape_.page_size);
  const std::int64_t before = s.published;
  for (; (s.published + 1) * shape_.page_size <= s.length; ++s.published) {
    const auto i = static_cast<std::size_t>(s.published);
    const std::int32_t page = s.pages[i];
    const bool first = i == 0;
    if (page == SequenceState::kEvicted || (!first && s.pages[i - 1] == SequenceState::kEvicted))
      break;
    const PrefixIndex::Node parent = first ? PrefixIndex::kNothing : node_of(s.pages[i - 1]);
    if (!first && parent == PrefixIndex::kNothing) break;  // given up: nobody comes this way
    const Ids held = ids.subspan(i * size, size);
    const PrefixIndex::Node known = index_.find(space, parent, held);
    if (known != PrefixIndex::kNothing) {  // the same page twice: one will do
      if (index_.page(known) != page) replace(s, s.published, index_.page(known));
      continue;
    }
    if (node_of(page) != PrefixIndex::kNothing) forget(node_of(page));
    node_of(page) = index_.insert(space, parent, held, page);
    pool_.add_reference(page);
  }
  if (s.published > before)
    index_.touch(node_of(s.pages[static_cast<std::size_t>(s.published - 1)]));
}

std::int64_t Store::adopt(Id id, Ids ids) {
  SequenceState& s = sequences_.at(id);
  const std::string space = s.space();
  const auto size = static_cast<std::size_t>(shape_.page_size);
  looked_up_tokens_ += static_cast<std::int64_t>(ids.size());
  PrefixIndex::Node node = PrefixIndex::kNothing;
  for (std::size_t begin = 0; begin + size < ids.size(); begin += size) {
    const PrefixIndex::Node next = index_.find(space, node, ids.subspan(begin, size));
    if (next == PrefixIndex::kNothing) break;
    node = next;
    s.pages.push_back(index_.page(node));
    s.table.push_back(pool_.data(s.pages.back()));
    hold(s.pages.back());
  }
  if (node != PrefixIndex::kNothing) index_.touch(node);
  s.published = static_cast<std::int64_t>(s.pages.size());
  s.length = s.published * shape_.page_size;
  found_tokens_ += s.length;
  return s.length;
}

void Store::own(Id id, std::int64_t begin, std::int64_t end) {
  if (begin >= end) return;
  SequenceState& s = sequences_.at(id);
  const std::int64_t first = begin / shape_.page_size, last = pages_for(end);
  const auto shared = std::count_if(s.pages.begin() + first, s.pages.begin() + last,
                                    [&](std::int32_t page) { return is_shared(page); });
  need(shared, s.options.owner);
  for (std::int64_t i = first; i < last; ++i) own_page(s, i);
  s.published = std::min(s.published, first);
}

KvCacheStats Store::stats() const {
  KvCacheStats stats{.page_bytes = layout_.page_bytes,
                     .num_pages = pool_.most(),
                     .used_pages = pool_.used() - index_.num_kept(),
                     .kept_pages = index_.num_kept(),
                     .num_sequences = static_cast<std::int64_t>(sequences_.size()),
                     .looked_up_tokens = looked_up_tokens_,
                     .found_tokens = found_tokens_};
  std::map<std::int32_t, std::int64_t> filled;  // of last pages that are not full, by any sequence
  for (const auto& [id, s] : sequences_) {
    stats.saved_pages += num_held(s);
    const std::int64_t rest = s.length % shape_.page_size;
    if (rest == 0) continue;
    std::int64_t& most = filled[s.pages.back()];
    most = std::max(most, rest);
  }
  stats.saved_pages -= stats.used_pages;
  for (const auto& [page, tokens] : filled) {
    if (nodes_.size() > static_cast<std::size_t>(page) &&
        nodes_[static_cast<std::size_t>(page)] != PrefixIndex::kNothing)
      continue;  // full of what was published
    stats.wasted_bytes += layout_.page_bytes / shape_.page_size * (shape_.page_size - tokens);
  }
  return stats;
}

Store::Row Store::row(Part part, const SequenceState& s, const Place& at) const {
  std::byte* page = pool_.data(s.pages[static_cast<std::size_t>(at.position / shape_.page_size)]) +
                    at.layer * layout_.layer_bytes;
  const std::int64_t row = at.head * shape_.page_size + at.position % shape_.page_size;
  const bool key = part == Part::kKey;
  const std::int64_t bytes =
      (key ? shape_.head_dim : shape_.value_dim) * static_cast<std::int64_t>(size_of(shape_.dtype));
  float* scales =
      shape_.dtype != DType::kI8
          ? nullptr
          : reinterpret_cast<float*>(page + (key ? layout_.key_scale : layout_.value_scale)) + row;
  return {page + (key ? layout_.key : layout_.value) + row * bytes, scales};
}

float Store::element(const Row& row, std::int64_t i) const {
  switch (shape_.dtype) {
    case DType::kF32:
      return reinterpret_cast<const float*>(row.data)[i];
    case DType::kBf16:
      return static_cast<float>(reinterpret_cast<const bf16*>(row.data)[i]);
    case DType::kF16:
      return static_cast<float>(reinterpret_cast<const f16*>(row.data)[i]);
    case DType::kI8:
      return static_cast<float>(reinterpret_cast<const std::int8_t*>(row.data)[i]) * *row.scale;
  }
  return 0;
}

void Store::need(std::int64_t pages, const std::string& owner) const {
  const std::int64_t free = pool_.free() + index_.num_kept();
  if (pages <= free) return;
  throw CacheFull("kv_cache: owner " + in_quotes(owner) + " needs " + std::to_string(pages) +
                  " more pages of " + std::to_string(layout_.page_bytes) + " bytes, " +
                  std::to_string(free) + " of " + std::to_string(pool_.most()) +
                  " are left; used: " + usage());
}

/// Who holds how many pages, most first; a page counts for each owner that holds it.
std::string Store::usage() const {
  struct Use {
    std::int64_t pages = 0, sequences = 0;
  };
  std::map<std::string, Use> uses;
  for (const auto& [id, s] : sequences_) {
    Use& use = uses[s.options.owner];
    use.pages += num_held(s);
    ++use.sequences;
  }
  std::vector<std::pair<std::string, Use>> sorted(uses.begin(), uses.end());
  std::ranges::stable_sort(sorted, std::ranges::greater{},
                           [](const auto& use) { return use.second.pages; });
  constexpr std::size_t kMost = 5;
  std::string text;
  for (std::size_t i = 0; i < std::min(kMost, sorted.size()); ++i) {
    const auto& [owner, use] = sorted[i];
    text += (i == 0 ? "" : ", ") + in_quotes(owner) + " " + std::to_string(use.pages) + " in " +
            std::to_string(use.sequences) + (use.sequences == 1 ? " sequence" : " sequences");
  }
  if (sorted.size() > kMost)
    text += ", and " + std::to_string(sorted.size() - kMost) + " more owners";
  return text.empty() ? "nothing" : text;
}

/// A free page, if need be one that is only kept. need() has said that there is one.
std::int32_t Store::take() {
  if (pool_.free() == 0) forget(index_.oldest_kept());
  return pool_.take();
}

void Store::hold(std::int32_t page) {
  if (page == SequenceState::kEvicted) return;
  pool_.add_reference(page);
  if (const PrefixIndex::Node node = node_of(page); node != PrefixIndex::kNothing)
    index_.set_kept(node, false);
}

void Store::drop(std::int32_t page) {
  if (page == SequenceState::kEvicted) return;
  const PrefixIndex::Node node = node_of(page);
  const bool was_last = pool_.drop_reference(page);
  if (!was_last && node != PrefixIndex::kNothing && pool_.references(page) == 1)
    index_.set_kept(node, true);
}

void Store::replace(SequenceState& s, std::int64_t i, std::int32_t page) {
  const auto at = static_cast<std::size_t>(i);
  hold(page);
  drop(s.pages[at]);
  s.pages[at] = page;
  s.table[at] = pool_.data(page);
}

void Store::own_page(SequenceState& s, std::int64_t i) {
  const std::int32_t old = s.pages[static_cast<std::size_t>(i)];
  if (!is_shared(old)) return;
  const std::int32_t copy = take();
  std::memcpy(pool_.data(copy), pool_.data(old), static_cast<std::size_t>(layout_.page_bytes));
  drop(old);
  s.pages[static_cast<std::size_t>(i)] = copy;
  s.table[static_cast<std::size_t>(i)] = pool_.data(copy);
}

/// The index gives the page up.
void Store::forget(PrefixIndex::Node node) {
  const std::int32_t page = index_.page(node);
  index_.erase(node);
  node_of(page) = PrefixIndex::kNothing;
  pool_.drop_reference(page);
}

PrefixIndex::Node& Store::node_of(std::int32_t page) {
  const auto at = static_cast<std::size_t>(page);
  if (at >= nodes_.size()) nodes_.resize(2 * at + 16, PrefixIndex::kNothing);
  return nodes_[at];
}

}  // namespace regard::cache
