// src/cache/prefix_index.cc - which full page holds which tokens after which others: a tree for
// each namespace.
#include "cache/prefix_index.h"

namespace regard::cache {

PrefixIndex::Node PrefixIndex::find(const std::string& space, Node parent, Ids ids) const {
  const auto in = spaces_.find(space);
  if (in == spaces_.end()) return kNothing;
  const auto found = in->second.find(Key{parent, {ids.begin(), ids.end()}});
  return found == in->second.end() ? kNothing : found->second;
}

PrefixIndex::Node PrefixIndex::insert(const std::string& space, Node parent, Ids ids,
                                      std::int32_t page) {
  const auto in = spaces_.try_emplace(space).first;
  const Node node = last_node_ + 1;
  const auto place = in->second.try_emplace(Key{parent, {ids.begin(), ids.end()}}, node).first;
  const auto above = entries_.find(parent);
  const std::int64_t height = above == entries_.end() ? 0 : above->second.age.height - 1;
  entries_.try_emplace(node, Entry{in, place, page, {clock_, height, node}, false});
  last_node_ = node;
  return node;
}

void PrefixIndex::erase(Node node) {
  const auto found = entries_.find(node);
  const Entry& entry = found->second;
  kept_.erase(entry.age);
  entry.space->second.erase(entry.place);
  if (entry.space->second.empty()) spaces_.erase(entry.space);
  entries_.erase(found);
}

void PrefixIndex::touch(Node node) {
  ++clock_;
  for (auto at = entries_.find(node); at != entries_.end();
       at = entries_.find(at->second.place->first.parent)) {
    Entry& entry = at->second;
    kept_.erase(entry.age);
    entry.age.last_use = clock_;
    if (entry.kept) kept_.insert(entry.age);
  }
}

void PrefixIndex::set_kept(Node node, bool kept) {
  Entry& entry = entries_.at(node);
  entry.kept = kept;
  if (kept) kept_.insert(entry.age);
  if (!kept) kept_.erase(entry.age);
}

}  // namespace regard::cache
