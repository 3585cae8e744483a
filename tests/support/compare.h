// tests/support/compare.h - is a result within the derived bound, and how near does it come?
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <span>
#include <string>

#include "regard/reference_attention.h"
#include "support/problem.h"

namespace regard::test {

struct Comparison {
  std::int64_t checked = 0;    ///< elements that the bound says something about
  std::int64_t unbounded = 0;  ///< elements where float32 may overflow: nothing promised
  std::int64_t violations = 0;
  double worst = 0;   ///< largest error / bound; 1 is the limit
  std::string first;  ///< the first violation, for people
};

/// One array against its exact values and bounds. The rules: a bound of 0 wants equality (rows that
/// see nothing); an exact NaN or infinity (from the inputs) wants a NaN or infinity; an infinite
/// bound wants nothing; a NaN bound (rows of no sequence) wants the NaN that was there before.
Comparison compare(std::span<const float> got, std::span<const double> exact,
                   std::span<const double> bound);

/// out and lse together.
Comparison compare(const Result& got, const ReferenceResult& reference);

/// Success when nothing violates the bound; records worst error / bound as a property of the test.
testing::AssertionResult within_bound(const Result& got, const ReferenceResult& reference);

/// Success when both are the same to the bit.
testing::AssertionResult equal_bits(const Result& a, const Result& b);

}  // namespace regard::test
