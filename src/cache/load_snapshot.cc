// src/cache/load_snapshot.cc - sequences from a file into the store: verified, then copied.
#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "cache/snapshot.h"
#include "cache/snapshot_file.h"

namespace regard::cache {
namespace {

/// Where a block goes: into blocks[index] of a sequence, so many of its tokens.
struct Target {
  std::uint32_t block;
  std::size_t sequence, index;
  std::uint32_t tokens;
};

/// The store's pages, made of the file's blocks: sequences share a page where all its blocks are
/// the same. (Then their owners may, too: the table has been held to it.)
class PagePlan {
 public:
  PagePlan(const Store& store, const SavedTable& table) : store_(store), table_(table) {
    for (std::size_t i = 0; i < table.sequences.size(); ++i) states_.push_back(plan(i));
  }

  /// With the numbers of pages in place of pages.
  const std::vector<SequenceState>& states() const { return states_; }
  std::int64_t num_pages() const { return static_cast<std::int64_t>(pages_.size()); }
  /// In the order of the file.
  std::vector<Target> targets() const;

 private:
  /// Filled as blocks[first ...] of a sequence, with the tokens of each that any sequence has here.
  struct Page {
    std::size_t sequence, first;
    std::vector<std::uint32_t> tokens;
  };

  SequenceState plan(std::size_t sequence);
  std::int32_t page_of(std::size_t sequence, std::size_t first);

  const Store& store_;
  const SavedTable& table_;
  std::vector<SequenceState> states_;
  std::vector<Page> pages_;
  std::map<std::vector<std::uint32_t>, std::int32_t> known_;  // by their blocks
};

SequenceState PagePlan::plan(std::size_t sequence) {
  const SavedState& saved = table_.sequences[sequence];
  SequenceState s;
  s.options = saved.options;
  s.length = saved.length;
  s.evicted_begin = saved.evicted_begin;
  s.evicted_end = saved.evicted_end;
  const std::int64_t size = store_.shape().page_size;
  const auto [begin, end] = store_.evicted_pages(s.evicted_begin, s.evicted_end);
  for (std::int64_t page = 0; page * size < s.length; ++page) {
    s.pages.push_back(
        page >= begin && page < end
            ? SequenceState::kEvicted
            : page_of(sequence, static_cast<std::size_t>(page * size / kBlockTokens)));
  }
  return s;
}

std::int32_t PagePlan::page_of(std::size_t sequence, std::size_t first) {
  const SavedState& s = table_.sequences[sequence];
  const auto size = static_cast<std::size_t>(store_.shape().page_size / kBlockTokens);
  const std::span all(s.blocks);
  const auto blocks = all.subspan(first, std::min(size, all.size() - first));
  auto number = static_cast<std::int32_t>(pages_.size());
  if (std::ranges::any_of(blocks, [](auto block) { return block != SavedState::kNoBlock; }))
    number = known_.try_emplace({blocks.begin(), blocks.end()}, number).first->second;
  const auto at = static_cast<std::size_t>(number);
  if (at == pages_.size())
    pages_.push_back({sequence, first, std::vector<std::uint32_t>(blocks.size())});
  for (std::size_t i = 0; i < blocks.size(); ++i) pages_[at].tokens[i] |= s.tokens_of(first + i);
  return number;
}

std::vector<Target> PagePlan::targets() const {
  std::vector<Target> targets;
  for (const Page& page : pages_) {
    for (std::size_t i = 0; i < page.tokens.size(); ++i) {
      const std::size_t index = page.first + i;
      if (page.tokens[i] == 0) continue;
      targets.push_back(
          {table_.sequences[page.sequence].blocks[index], page.sequence, index, page.tokens[i]});
    }
  }
  std::ranges::sort(targets, {}, &Target::block);
  return targets;
}

/// The target's tokens of a record that holds `tokens`.
void scatter(const Store& store, Store::Id id, const Target& target, const Record& record) {
  const SequenceState& s = store.at(id);
  const auto begin = static_cast<std::int64_t>(target.index) * kBlockTokens;
  const std::byte* from = record.bytes.data();
  for_each_row(store.shape(), record.tokens, [&](const SavedRow& row) {
    if ((target.tokens >> row.token & 1U) != 0) {
      const Store::Row to = store.row(row.part, s, {row.layer, row.head, begin + row.token});
      std::memcpy(to.data, from, row.bytes);
      if (to.scale != nullptr) std::memcpy(to.scale, from + row.bytes, row.scale_bytes);
    }
    from += row.bytes + row.scale_bytes;
  });
}

}  // namespace

std::vector<SavedSequence> load_snapshot(Store& store, const std::filesystem::path& path,
                                         const std::optional<SequenceOptions>& only) {
  SnapshotFile file(path, store.shape());
  if (only && file.table().sequences.size() != 1)
    fail(path, "holds " + std::to_string(file.table().sequences.size()) +
                   " sequences, expected 1 (load_all() reads any number)");
  file.for_each_record([](const Record&) {});  // all is well before anything changes
  const PagePlan plan(store, file.table());
  const std::vector<Target> targets = plan.targets();
  std::vector<SequenceState> states = plan.states();
  if (only) states[0].options = *only;
  const std::vector<Store::Id> ids = store.restore(states, plan.num_pages());
  std::vector<SavedSequence> loaded;
  try {
    auto target = targets.begin();
    file.for_each_record([&](const Record& record) {
      for (; target != targets.end() && target->block == record.block; ++target)
        scatter(store, ids[target->sequence], *target, record);
    });
    for (std::size_t i = 0; i < ids.size(); ++i)
      loaded.push_back({ids[i], file.table().sequences[i].ids});
  } catch (...) {  // somebody changes the file while we read
    for (const Store::Id id : ids) store.release(id);
    throw;
  }
  return loaded;
}

}  // namespace regard::cache
