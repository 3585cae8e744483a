// include/regard/model/sampler.h - which token comes next.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <vector>

namespace regard::model {

/// Filters apply in transformers' order: temperature, top-k, top-p, min-p.
struct SamplingOptions {
  double temperature = 0;  ///< logits are divided by it; 0: always the likeliest token
  std::int64_t top_k = 0;  ///< only so many of the likeliest; 0: all
  double top_p = 1;  ///< only the likeliest, until their probabilities sum to so much; at least one
  double min_p = 0;  ///< only those with at least this share of the likeliest one's probability
  std::uint64_t seed = 0;
};

/// Picks tokens. The same options and logits give the same tokens on every machine: probabilities
/// are double, in a fixed order, and the generator is std::mt19937_64.
class Sampler {
 public:
  /// Throws std::invalid_argument that names the option: temperature finite and not negative, top_k
  /// not negative, top_p in (0, 1], min_p in [0, 1].
  explicit Sampler(const SamplingOptions& options);

  /// The id of one of the logits; of equal ones the lowest comes first. Throws
  /// std::invalid_argument when there are none, or one is NaN.
  std::int32_t pick(std::span<const float> logits);

 private:
  /// An id and what it weighs.
  struct Candidate {
    double weight;  ///< exp((logit - largest) / temperature)
    std::int32_t id;
  };
  void keep_top_p(std::vector<Candidate>& candidates) const;

  SamplingOptions options_;
  std::mt19937_64 random_;
  std::vector<Candidate> candidates_;
};

}  // namespace regard::model
