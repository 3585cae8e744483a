// src/cache/store_usage.cc - who holds how much of the budget, in numbers and in words.
#include <algorithm>
#include <functional>
#include <map>
#include <utility>

#include "cache/store.h"
#include "cache/text.h"

namespace regard::cache {
namespace {

std::int64_t num_held(const SequenceState& s) {
  return std::ranges::count_if(s.pages,
                               [](std::int32_t page) { return page != SequenceState::kEvicted; });
}

}  // namespace

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

}  // namespace regard::cache
