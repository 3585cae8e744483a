// tests/support/score_mods.h - random score modifiers, with the memory that they look at.
#pragma once

#include <string>
#include <vector>

#include "regard/attention.h"
#include "support/random.h"
#include "support/tensor.h"

namespace regard::test {

struct NamedMods {
  std::vector<ScoreMod> mods;
  std::vector<Tensor<4>> biases;  ///< what the Bias modifiers are views of
  std::string name;               ///< "SoftCap, Bias(-inf)"
};

/// A Bias of random extents, layout and type. With `may_mask` some of its numbers are -inf.
Tensor<4> random_bias(Rng& rng, const AttentionShape& shape, bool may_mask);

/// One to three modifiers in any order; -inf only from the last.
NamedMods random_score_mods(Rng& rng, const AttentionShape& shape);

}  // namespace regard::test
