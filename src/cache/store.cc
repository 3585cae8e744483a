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

/// Room for `size` elements; as cheap as push_back() when they come one by one.
template <class T>
void grow(std::vector<T>& list, std::int64_t size) {
  const auto wanted = static_cast<std::size_t>(size);
  if (wanted > list.capacity()) list.reserve(std::max(wanted, 2 * list.capacity()));
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

std::int64_t Store::unit_pages() const {
  return std::lcm(shape_.page_size, kTileKeys) / shape_.page_size;
}

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
  if (count == 0) return begin;
  const auto had = static_cast<std::int64_t>(s.pages.size());
  // After truncate() the tile that goes on may have pages that were evicted.
  const std::int64_t tile = begin / shape_.page_size / unit_pages() * unit_pages();
  const auto lost = std::count(s.pages.begin() + tile, s.pages.end(), SequenceState::kEvicted);
  const bool copies = begin % shape_.page_size != 0 && is_shared(s.pages.back());
  grow(s.pages, pages);
  grow(s.table, pages);
  const std::vector<std::int32_t> fresh =
      take(pages - had + lost + (copies ? 1 : 0), s.options.owner);
  auto next = fresh.begin();
  if (copies) replace_by_copy(s, had - 1, *next++);
  wipe(s, begin, s.stale_end);
  s.stale_end = 0;
  s.pages.resize(static_cast<std::size_t>(pages), SequenceState::kEvicted);
  s.table.resize(static_cast<std::size_t>(pages), nullptr);
  for (std::int64_t i = tile; i < pages; ++i)
    if (s.pages[static_cast<std::size_t>(i)] == SequenceState::kEvicted) replace(s, i, *next++);
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
  s.stale_end = std::min(std::max(s.stale_end, s.length), pages * shape_.page_size);
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
  const std::int64_t size = shape_.page_size, before = s.published;
  for (; (s.published + 1) * size <= s.length; ++s.published) {
    const auto i = static_cast<std::size_t>(s.published);
    const std::int32_t page = s.pages[i];
    if (s.published * size < s.evicted_end && (s.published + 1) * size > s.evicted_begin) break;
    const bool first = i == 0;
    if (!first && s.pages[i - 1] == SequenceState::kEvicted) break;
    const PrefixIndex::Node parent = first ? PrefixIndex::kNothing : node_of(s.pages[i - 1]);
    if (!first && parent == PrefixIndex::kNothing) break;  // evicted once: nobody comes this way
    const Ids held =
        ids.subspan(i * static_cast<std::size_t>(size), static_cast<std::size_t>(size));
    const PrefixIndex::Node known = index_.find(space, parent, held);
    if (known != PrefixIndex::kNothing) {  // the same page twice: one will do
      if (index_.page(known) == page) continue;
      hold(index_.page(known));
      drop(page);
      replace(s, s.published, index_.page(known));
      continue;
    }
    // After other pages it is known as something else; those who came that way rely on it.
    if (node_of(page) != PrefixIndex::kNothing) break;
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
  PrefixIndex::Node node = PrefixIndex::kNothing;
  std::vector<std::int32_t> pages;
  std::vector<const std::byte*> table;
  for (std::size_t begin = 0; begin + size < ids.size(); begin += size) {
    const PrefixIndex::Node next = index_.find(space, node, ids.subspan(begin, size));
    if (next == PrefixIndex::kNothing) break;
    node = next;
    pages.push_back(index_.page(node));
    table.push_back(pool_.data(pages.back()));
  }
  for (const std::int32_t page : pages) hold(page);
  if (node != PrefixIndex::kNothing) index_.touch(node);
  s.pages = std::move(pages);
  s.table = std::move(table);
  s.published = static_cast<std::int64_t>(s.pages.size());
  s.length = s.published * shape_.page_size;
  looked_up_tokens_ += static_cast<std::int64_t>(ids.size());
  found_tokens_ += s.length;
  return s.length;
}

void Store::own(Id id, std::int64_t begin, std::int64_t end) {
  if (begin >= end) return;
  SequenceState& s = sequences_.at(id);
  const std::int64_t first = begin / shape_.page_size, last = pages_for(end);
  const auto shared = std::count_if(s.pages.begin() + first, s.pages.begin() + last,
                                    [&](std::int32_t page) { return is_shared(page); });
  const std::vector<std::int32_t> fresh = take(shared, s.options.owner);
  auto next = fresh.begin();
  for (std::int64_t i = first; i < last; ++i)
    if (is_shared(s.pages[static_cast<std::size_t>(i)])) replace_by_copy(s, i, *next++);
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
  std::vector<std::int64_t> filled(nodes_.size());  // tokens of each page, by any sequence
  for (const auto& [id, s] : sequences_) {
    stats.saved_pages += num_held(s);
    for (std::size_t i = 0; i < s.pages.size(); ++i) {
      if (s.pages[i] == SequenceState::kEvicted) continue;
      std::int64_t& most = filled[static_cast<std::size_t>(s.pages[i])];
      most = std::max(most, std::min(shape_.page_size,
                                     s.length - static_cast<std::int64_t>(i) * shape_.page_size));
    }
  }
  stats.saved_pages -= stats.used_pages;
  for (std::size_t page = 0; page < filled.size(); ++page) {
    if (filled[page] == 0 || nodes_[page] != PrefixIndex::kNothing) continue;  // published: full
    stats.wasted_bytes += layout_.page_bytes / shape_.page_size * (shape_.page_size - filled[page]);
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

/// Free pages, if need be those that are only kept: all of them or, when something is thrown, none.
std::vector<std::int32_t> Store::take(std::int64_t pages, const std::string& owner) {
  need(pages, owner);
  std::vector<std::int32_t> taken;
  taken.reserve(static_cast<std::size_t>(pages));
  try {
    while (static_cast<std::int64_t>(taken.size()) < pages) {
      if (pool_.free() == 0) forget(index_.oldest_kept());
      taken.push_back(pool_.take());
      const auto at = static_cast<std::size_t>(taken.back());
      if (at >= nodes_.size()) nodes_.resize(at + 1, PrefixIndex::kNothing);
    }
  } catch (...) {
    for (const std::int32_t page : taken) pool_.drop_reference(page);
    throw;
  }
  return taken;
}

void Store::hold(std::int32_t page) noexcept {
  if (page == SequenceState::kEvicted) return;
  pool_.add_reference(page);
  if (const PrefixIndex::Node node = node_of(page); node != PrefixIndex::kNothing)
    index_.set_kept(node, false);
}

void Store::drop(std::int32_t page) noexcept {
  if (page == SequenceState::kEvicted) return;
  const PrefixIndex::Node node = node_of(page);
  const bool was_last = pool_.drop_reference(page);
  if (!was_last && node != PrefixIndex::kNothing && pool_.references(page) == 1)
    index_.set_kept(node, true);
}

void Store::replace(SequenceState& s, std::int64_t i, std::int32_t page) noexcept {
  s.pages[static_cast<std::size_t>(i)] = page;
  s.table[static_cast<std::size_t>(i)] = pool_.data(page);
}

void Store::replace_by_copy(SequenceState& s, std::int64_t i, std::int32_t page) noexcept {
  const std::int32_t old = s.pages[static_cast<std::size_t>(i)];
  std::memcpy(pool_.data(page), pool_.data(old), static_cast<std::size_t>(layout_.page_bytes));
  drop(old);
  replace(s, i, page);
}

/// Zeros for tokens [begin, end) of one page that nobody shares.
void Store::wipe(const SequenceState& s, std::int64_t begin, std::int64_t end) const noexcept {
  if (begin >= end ||
      s.pages[static_cast<std::size_t>(begin / shape_.page_size)] == SequenceState::kEvicted)
    return;
  for (std::int64_t layer = 0; layer < shape_.num_layers; ++layer) {
    for (std::int64_t head = 0; head < shape_.num_kv_heads; ++head) {
      for (const Part part : {Part::kKey, Part::kValue}) {
        const Row first = row(part, s, {layer, head, begin});
        const std::int64_t dim = part == Part::kKey ? shape_.head_dim : shape_.value_dim;
        const auto rows = static_cast<std::size_t>(end - begin);
        std::memset(first.data, 0, rows * static_cast<std::size_t>(dim) * size_of(shape_.dtype));
        if (first.scale != nullptr) std::fill_n(first.scale, rows, 0.0f);
      }
    }
  }
}

/// The index gives the page up.
void Store::forget(PrefixIndex::Node node) noexcept {
  const std::int32_t page = index_.page(node);
  index_.erase(node);
  node_of(page) = PrefixIndex::kNothing;
  pool_.drop_reference(page);
}

}  // namespace regard::cache
