// src/exec/pace.h - how fast the next chunk's keys and values are asked for while this one is
// computed.
#pragma once

#include "kernels/kernels.h"

namespace regard::exec {

struct Setup;
struct Call;
struct RowBlock;

/// Products never wait for memory, packing does: so the next chunk is asked for while this one is
/// computed, a little with every step of the products, which take nearly all the time. A single
/// strip (decode) packs nothing: its kernels read at the memory's speed and ask for themselves.
struct Pace {
  Pace(const Setup& setup, const Call& call, const RowBlock& block,
       kernels::Prefetch& prefetch) noexcept;

  kernels::Meanwhile score, value;
};

}  // namespace regard::exec
