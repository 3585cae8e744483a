// src/cache/prefix_index.cc - which full page holds which tokens after which others: a tree for
// each namespace.
#include "cache/prefix_index.h"

#include <utility>

namespace regard::cache {

PrefixIndex::Node PrefixIndex::find(const std::string& space, Node parent, Ids ids) const {
  const auto in = spaces_.find(space);
  if (in == spaces_.end()) return kNothing;
  const auto found = in->second.find(Key{parent, {ids.begin(), ids.end()}});
  return found == in->second.end() ? kNothing : found->second;
}

PrefixIndex::Node PrefixIndex::insert(const std::string& space, Node parent, Ids ids,
                                      std::int32_t page) {
  // What may throw comes before what changes.
  const Node node = last_node_ + 1;
  const auto above = entries_.find(parent);
  const std::int64_t height = above == entries_.end() ? 0 : above->second.age.height - 1;
  const Age age{clock_, height, node};
  std::set<Age> unkept{age};
  Space one;
  one.try_emplace(Key{parent, {ids.begin(), ids.end()}}, node);
  const auto in = spaces_.try_emplace(space).first;
  Entry& entry = entries_.try_emplace(node).first->second;
  const auto place = in->second.insert(one.extract(one.begin())).position;
  entry = {in, place, page, age, unkept.extract(unkept.begin())};
  last_node_ = node;
  return node;
}

void PrefixIndex::erase(Node node) noexcept {
  const auto found = entries_.find(node);
  const Entry& entry = found->second;
  kept_.erase(entry.age);
  entry.space->second.erase(entry.place);
  if (entry.space->second.empty()) spaces_.erase(entry.space);
  entries_.erase(found);
}

void PrefixIndex::touch(Node node) noexcept {
  ++clock_;
  for (auto at = entries_.find(node); at != entries_.end();
       at = entries_.find(at->second.place->first.parent)) {
    Entry& entry = at->second;
    const bool kept = entry.unkept.empty();
    if (kept) entry.unkept = kept_.extract(entry.age);
    entry.age.last_use = clock_;
    if (kept) keep(entry);
  }
}

void PrefixIndex::keep(Entry& entry) noexcept {
  entry.unkept.value() = entry.age;
  kept_.insert(std::move(entry.unkept));
}

void PrefixIndex::set_kept(Node node, bool kept) noexcept {
  Entry& entry = entries_.find(node)->second;
  if (kept == entry.unkept.empty()) return;
  if (kept) keep(entry);
  if (!kept) entry.unkept = kept_.extract(entry.age);
}

}  // namespace regard::cache
