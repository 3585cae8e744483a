// tests/support/random.cc - seeds from the environment.
#include "support/random.h"

#include <cstdlib>

namespace regard::test {

std::vector<std::uint64_t> trial_seeds(int count) {
  if (const char* seed = std::getenv("REGARD_TEST_SEED")) return {std::strtoull(seed, nullptr, 10)};
  const char* scale = std::getenv("REGARD_TEST_SCALE");
  const double trials = count * (scale ? std::strtod(scale, nullptr) : 1.0);
  std::vector<std::uint64_t> seeds;
  for (int i = 0; i == 0 || i < trials; ++i) seeds.push_back(static_cast<std::uint64_t>(i) + 1);
  return seeds;
}

std::string replay(std::uint64_t seed) {
  return "replay this trial with REGARD_TEST_SEED=" + std::to_string(seed);
}

}  // namespace regard::test
