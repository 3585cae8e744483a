// tests/support/random.h - random numbers with a seed that a failing test prints and a rerun takes.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <random>
#include <string>
#include <vector>

namespace regard::test {

class Rng {
 public:
  explicit Rng(std::uint64_t seed) : engine_(seed) {}

  /// In [low, high], both included.
  std::int64_t integer(std::int64_t low, std::int64_t high) {
    const std::uint64_t range = static_cast<std::uint64_t>(high - low) + 1;
    return low + static_cast<std::int64_t>(engine_() % range);
  }
  double uniform(double low, double high) {
    return low + (high - low) * static_cast<double>(engine_() >> 11) * 0x1p-53;
  }
  bool chance(double probability) { return uniform(0, 1) < probability; }
  /// Standard normal (Box and Muller; the cosine half, so that a draw has no memory).
  float normal() {
    const double radius = std::sqrt(-2 * std::log(uniform(0x1p-53, 1)));
    return static_cast<float>(radius * std::cos(uniform(0, 6.283185307179586)));
  }
  template <class T>
  T pick(std::initializer_list<T> choices) {
    return *(choices.begin() + integer(0, static_cast<std::int64_t>(choices.size()) - 1));
  }

 private:
  std::mt19937_64 engine_;
};

/// Seeds of `count` trials: the same in every run. REGARD_TEST_SEED=n reruns the one trial that
/// printed n; REGARD_TEST_SCALE=k runs k times as many, at least one.
std::vector<std::uint64_t> trial_seeds(int count);

/// What to print beside a failure.
std::string replay(std::uint64_t seed);

}  // namespace regard::test

/// for each trial: Rng rng(seed), with the seed in every failure message.
#define REGARD_TRIAL(seed) SCOPED_TRACE(::regard::test::replay(seed))
