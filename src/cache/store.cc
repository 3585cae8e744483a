// src/cache/store.cc - sequences as lists of pages: shared, copied when written, given back.
#include "cache/store.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

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
  const std::int64_t unit = unit_pages() * shape_.page_size;
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

/// The index gives the page up.
void Store::forget(PrefixIndex::Node node) noexcept {
  const std::int32_t page = index_.page(node);
  index_.erase(node);
  node_of(page) = PrefixIndex::kNothing;
  pool_.drop_reference(page);
}

}  // namespace regard::cache
