// bench/buffer.cc - memory of a measurement, filled with numbers.
#include "bench/buffer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

namespace regard::bench {
namespace {

constexpr std::size_t kPeriod = 99'991;  // a prime: no two rows begin with the same numbers

template <class T>
Buffer fill(std::size_t n) {
  Buffer buffer(n * sizeof(T));
  std::mt19937 generator(1);
  std::uniform_real_distribution<float> uniform(-std::sqrt(3.0f), std::sqrt(3.0f));
  const std::size_t first = std::min(n, kPeriod);
  for (std::size_t i = 0; i < first; ++i) {
    const T x(uniform(generator));
    std::memcpy(buffer.data() + i * sizeof(T), &x, sizeof(T));
  }
  for (std::size_t i = first; i < n; i += kPeriod) {
    std::memcpy(buffer.data() + i * sizeof(T), buffer.data(), std::min(kPeriod, n - i) * sizeof(T));
  }
  return buffer;
}

}  // namespace

Buffer random_numbers(DType dtype, std::int64_t n) {
  const auto size = static_cast<std::size_t>(n);
  if (dtype == DType::kBf16) return fill<bf16>(size);
  return dtype == DType::kF16 ? fill<f16>(size) : fill<float>(size);
}

}  // namespace regard::bench
