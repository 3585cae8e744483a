// tests/support/compare.cc - error against bound, element by element.
#include "support/compare.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace regard::test {
namespace {

std::string describe(std::size_t index, float got, double exact, double bound) {
  char text[160];
  std::snprintf(text, sizeof text, "element %zu: got %.9g, exact %.17g, error %.3g, bound %.3g",
                index, static_cast<double>(got), exact, std::abs(static_cast<double>(got) - exact),
                bound);
  return text;
}

// How much of the bound is used; above 1 is a violation.
double used(float got, double exact, double bound) {
  const double value = static_cast<double>(got);
  const double wrong = std::numeric_limits<double>::infinity();
  if (std::isnan(bound)) return std::isnan(value) ? 0 : wrong;
  if (bound == 0) return value == exact ? 0 : wrong;
  if (!std::isfinite(exact)) return std::isfinite(value) ? wrong : 0;
  const double error = std::abs(value - exact);
  return std::isfinite(error) ? error / bound : wrong;
}

}  // namespace

Comparison compare(std::span<const float> got, std::span<const double> exact,
                   std::span<const double> bound) {
  Comparison result;
  if (got.size() != exact.size() || got.size() != bound.size()) {
    result.violations = 1;
    result.first = "sizes differ";
    return result;
  }
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (std::isinf(bound[i]) && std::isfinite(exact[i])) {
      ++result.unbounded;
      continue;
    }
    ++result.checked;
    const double ratio = used(got[i], exact[i], bound[i]);
    result.worst = std::max(result.worst, ratio);
    if (ratio <= 1) continue;
    if (result.violations++ == 0) result.first = describe(i, got[i], exact[i], bound[i]);
  }
  return result;
}

Comparison compare(const Result& got, const ReferenceResult& reference) {
  Comparison out = compare(got.out.values(), reference.out, reference.out_bound);
  const Comparison lse = compare(got.lse.values(), reference.lse, reference.lse_bound);
  if (out.violations == 0) out.first = "lse " + lse.first;
  out.checked += lse.checked;
  out.unbounded += lse.unbounded;
  out.violations += lse.violations;
  out.worst = std::max(out.worst, lse.worst);
  return out;
}

testing::AssertionResult within_bound(const Result& got, const ReferenceResult& reference) {
  const Comparison c = compare(got, reference);
  if (c.violations == 0) return testing::AssertionSuccess();
  return testing::AssertionFailure()
         << c.violations << " of " << c.checked
         << " elements beyond the bound; worst error / bound " << c.worst << "; first: " << c.first;
}

testing::AssertionResult equal_bits(const Result& a, const Result& b) {
  if (!same_bits(a.out.values(), b.out.values()))
    return testing::AssertionFailure() << "out differs";
  if (!same_bits(a.lse.values(), b.lse.values()))
    return testing::AssertionFailure() << "lse differs";
  return testing::AssertionSuccess();
}

}  // namespace regard::test
