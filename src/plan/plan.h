// src/plan/plan.h - a checked problem turned into what exec needs.
#pragma once

#include <string>

#include "exec/attend.h"
#include "plan/tile_map.h"
#include "regard/plan.h"

namespace regard {

struct Plan::Impl {
  Impl(const AttentionShape& shape, const AttentionOptions& options);
  Impl(const Impl&) = delete;

  TileCounts count_tiles() const;
  std::string explain() const;

  plan::TileMap masks;
  exec::Setup setup;  // points to masks
  Executor* executor;
};

}  // namespace regard
