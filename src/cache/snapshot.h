// src/cache/snapshot.h - a sequence in a file and back.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "cache/store.h"

namespace regard::cache {

/// The format is in docs/kv-cache.md.
void save_sequence(const Store& store, Store::Id id, std::span<const std::int32_t> ids,
                   const std::filesystem::path& path);

/// Appends a sequence to the store; everything is checked before it is.
Store::Id load_sequence(Store& store, const std::filesystem::path& path, SequenceOptions options,
                        std::vector<std::int32_t>* ids);

}  // namespace regard::cache
