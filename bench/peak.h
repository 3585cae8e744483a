// bench/peak.h - the arithmetic that this machine can do at best.
#pragma once

#include "bench/clock.h"
#include "regard/dtype.h"
#include "regard/executor.h"

namespace regard::bench {

/// Whether the best kernel table multiplies pairs of bf16.
bool has_bf16_dot();

/// FLOP/s of register-resident multiply-adds of the best kernel table on one core: pairs of bf16
/// for kBf16 where the CPU has them, else float32. Takes a few milliseconds of CPU time.
double peak_flops(DType dtype);

/// The same for float32 on all threads of the executor together, by the clock on the wall.
double peak_flops(Executor& executor);

}  // namespace regard::bench
