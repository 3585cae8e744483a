// src/exec/pace.h - how fast the next chunk's keys and values are asked for while this one is
// computed.
#pragma once

#include "kernels/kernels.h"

namespace regard::exec {

struct Setup;
struct Call;
struct RowBlock;

/// Products never wait for memory, packing does: so the next chunk is asked for while this one is
/// computed, a little with every step of every kernel. Many rows: by the products alone, which take
/// nearly all the time. A single strip (decode) reads at the memory's speed: packing asks too, in
/// proportion to its share of the time.
struct Pace {
  Pace(const Setup& setup, const Call& call, const RowBlock& block, bool values_in_place,
       kernels::Prefetch& prefetch) noexcept;

  kernels::Meanwhile score, value, pack_keys, pack_values;
};

}  // namespace regard::exec
