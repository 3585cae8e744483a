// tests/support/masks.cc - how a random mask is drawn.
#include "support/masks.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace regard::test {
namespace {

NamedMask random_documents(Rng& rng, std::int64_t num_positions) {
  const std::int64_t documents = rng.integer(1, 5);
  const bool runs = rng.chance(0.6);  // packed texts; else every position of another document
  std::vector<std::int64_t> ids;
  std::int64_t id = 0;
  for (std::int64_t i = 0; i < num_positions; ++i) {
    if (!runs || rng.chance(0.02)) id = rng.integer(-2, documents - 2);
    ids.push_back(id);
  }
  return {DocumentMask(std::move(ids)), runs ? "Document(runs)" : "Document(scattered)"};
}

}  // namespace

NamedMask random_mask(Rng& rng, std::int64_t num_positions, int depth) {
  if (depth == 0 || rng.chance(0.4)) {
    switch (rng.integer(0, 3)) {
      case 0:
        return {FullMask{}, "Full"};
      case 1:
        return random_documents(rng, num_positions);
      default:
        return {CausalMask{}, "Causal"};
    }
  }
  const NamedMask a = random_mask(rng, num_positions, depth - 1);
  if (rng.chance(0.3)) return {!a.mask, "!" + a.name};
  const NamedMask b = random_mask(rng, num_positions, depth - 1);
  if (rng.chance(0.5)) return {a.mask & b.mask, "(" + a.name + " & " + b.name + ")"};
  return {a.mask | b.mask, "(" + a.name + " | " + b.name + ")"};
}

}  // namespace regard::test
