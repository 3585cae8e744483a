// tests/support/problem.h - random attention problems in guarded memory.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "regard/attention.h"
#include "regard/reference_attention.h"
#include "support/masks.h"
#include "support/score_mods.h"
#include "support/tensor.h"

namespace regard::test {

/// Everything that attention() takes. The tensors own their memory; their types are shape's.
struct Problem {
  AttentionShape shape;
  NamedMask mask{FullMask{}, "Full"};
  std::optional<float> scale;
  std::optional<std::int64_t> q_offset;
  std::vector<std::int64_t> q_offsets, kv_lens;
  std::vector<std::int64_t> cu_seqlens_q, cu_seqlens_kv;
  NamedMods score_mods;
  std::vector<float> sinks;
  Tensor<4> query, key, value;

  AttentionOptions options() const {
    return {.mask = mask.mask,
            .scale = scale,
            .q_offset = q_offset,
            .q_offsets = q_offsets,
            .kv_lens = kv_lens,
            .cu_seqlens_q = cu_seqlens_q,
            .cu_seqlens_kv = cu_seqlens_kv,
            .score_mods = score_mods.mods,
            .sinks = sinks};
  }
  /// Query, key and value are bf16: a table with bf16 dots uses them.
  bool all_bf16() const;
  std::string describe() const;
};

/// What attention() gives; rows that it does not write are NaN.
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

/// What a random problem may have beside a mask, a scale, an offset and key lengths.
struct Features {
  bool dtypes = false;  ///< tensors of bf16 and f16
  bool mods = false;    ///< score modifiers
  bool sinks = false;
  bool packed = false;         ///< cu_seqlens
  bool per_sequence = false;   ///< q_offsets, and kv_lens of packed sequences
  bool varying_masks = false;  ///< masks that differ between sequences and heads
};
inline constexpr Features kEveryFeature{true, true, true, true, true, true};

/// Any shape, layout, mask, scale, offset, key lengths and features with at most about `max_work`
/// multiplications.
Problem random_problem(Rng& rng, std::int64_t max_work, const Features& features = {});

/// Runs attention() on the problem, into guarded memory of its own.
Result run_attention(const Problem& problem, const AttentionOptions& options);
inline Result run_attention(const Problem& problem) {
  return run_attention(problem, problem.options());
}

/// Memory for the problem's result.
Result make_result(const Problem& problem);

/// Whether the active kernel table multiplies pairs of bf16 for this problem.
bool uses_bf16_dots(const Problem& problem);

/// With the bound of the problem's out type. Without bf16_dots: kModelled when the active kernel
/// table has them and the problem is one that uses them, else kNo.
ReferenceResult run_reference(const Problem& problem, Bf16Dots bf16_dots);
ReferenceResult run_reference(const Problem& problem);

/// The reference on whichever kernel table is active, computed when first asked for.
class Reference {
 public:
  explicit Reference(const Problem& problem) : problem_(problem) {}
  const ReferenceResult& get();

 private:
  const Problem& problem_;
  std::map<Bf16Dots, ReferenceResult> results_;
};

}  // namespace regard::test
