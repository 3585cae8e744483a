// tests/support/problem.h - random attention problems in guarded memory.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "regard/attention.h"
#include "regard/reference_attention.h"
#include "support/masks.h"
#include "support/tensor.h"

namespace regard::test {

/// Everything that attention() takes. The tensors own their memory.
struct Problem {
  AttentionShape shape;
  NamedMask mask{FullMask{}, "Full"};
  std::optional<float> scale;
  std::optional<std::int64_t> q_offset;
  std::vector<std::int64_t> kv_lens;
  Tensor<4> query, key, value;

  AttentionOptions options() const {
    return {.mask = mask.mask, .scale = scale, .q_offset = q_offset, .kv_lens = kv_lens};
  }
  std::string describe() const;
};

/// What attention() gives.
struct Result {
  Tensor<4> out;
  Tensor<3> lse;
};

/// How the numbers are drawn: each is hard for another step of the algorithm.
enum class Data : std::uint8_t {
  kNormal,
  kPeaky,       ///< scores so far apart that few keys count
  kAscending,   ///< the maximum grows with every key
  kCancelling,  ///< values of both signs whose weighted sum is near 0
  kWide,        ///< keys of very different lengths
};

/// Tensors of `shape`, row-major, drawn as `data` says.
Problem make_problem(Rng& rng, const AttentionShape& shape, Data data = Data::kNormal);

/// The same problem with other memory: new layouts, the same numbers. Axes of stride 0 only where
/// the numbers allow.
void relayout(Rng& rng, Problem& problem);

/// Lengths that tiles and chunks care about: 0, 1, around multiples of 16, 64, 256; at most
/// `limit`.
std::int64_t random_length(Rng& rng, std::int64_t limit);

/// Any shape, layout, mask, scale, offset, key lengths with at most about `max_work`
/// multiplications.
Problem random_problem(Rng& rng, std::int64_t max_work);

/// Runs attention() on the problem, into guarded memory of its own.
Result run_attention(const Problem& problem, const AttentionOptions& options);
inline Result run_attention(const Problem& problem) {
  return run_attention(problem, problem.options());
}

ReferenceResult run_reference(const Problem& problem);

}  // namespace regard::test
