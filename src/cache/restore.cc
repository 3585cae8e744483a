// src/cache/restore.cc - sequences of a file as new sequences over new pages.
#include <iterator>

#include "cache/store.h"

namespace regard::cache {

std::vector<Store::Id> Store::restore(const std::vector<SequenceState>& states,
                                      std::int64_t num_pages) {
  if (states.empty()) return {};
  std::vector<Id> ids;
  ids.reserve(states.size());
  const std::vector<std::int32_t> pages = take(num_pages, states.front().options.owner);
  const auto let_go_of_pages = [&] {
    for (const std::int32_t page : pages) drop(page);
  };
  try {
    for (const SequenceState& from : states) {
      ids.push_back(create(from.options));
      fill(sequences_.at(ids.back()), from, pages);
    }
  } catch (...) {
    for (const Id id : ids) release(id);
    let_go_of_pages();
    throw;
  }
  let_go_of_pages();
  return ids;
}

void Store::fill(SequenceState& s, const SequenceState& from, std::span<const std::int32_t> pages) {
  s.pages.reserve(from.pages.size());
  s.table.reserve(from.pages.size());
  for (const std::int32_t number : from.pages) {
    const bool evicted = number == SequenceState::kEvicted;
    const std::int32_t page = evicted ? number : pages[static_cast<std::size_t>(number)];
    hold(page);
    s.pages.push_back(page);
    s.table.push_back(evicted ? nullptr : pool_.data(page));
  }
  s.length = from.length;
  s.evicted_begin = from.evicted_begin;
  s.evicted_end = from.evicted_end;
  // A longer sequence may have filled the last page.
  s.stale_end = std::ssize(s.pages) * shape_.page_size;
}

}  // namespace regard::cache
