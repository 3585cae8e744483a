// src/cache/snapshot.h - sequences of the store in a file and back (docs/kv-cache.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <vector>

#include "cache/store.h"

namespace regard::cache {

/// A sequence to save, and the ids to keep with it.
struct ToSave {
  Store::Id id;
  Store::Ids ids;
};

/// Throws std::runtime_error; `path` is then what it was.
void save_snapshot(const Store& store, std::span<const ToSave> sequences,
                   const std::filesystem::path& path);

/// New sequences of the store, in the file's order, which share what they shared. `only`: the file
/// must hold one sequence, which becomes one of these options. Throws std::runtime_error or
/// CacheFull; the store is then what it was.
std::vector<SavedSequence> load_snapshot(Store& store, const std::filesystem::path& path,
                                         const std::optional<SequenceOptions>& only);

}  // namespace regard::cache
