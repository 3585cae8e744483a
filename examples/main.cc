// examples/main.cc - causal self-attention with grouped heads, on random numbers, from outside.
#include <regard/regard.h>

#include <cstdint>
#include <cstdio>
#include <random>
#include <vector>

int main() {
  constexpr std::int64_t kHeads = 4, kKvHeads = 2, kLength = 128, kHeadDim = 64;
  std::vector<float> query(kHeads * kLength * kHeadDim), out(query.size());
  std::vector<float> key(kKvHeads * kLength * kHeadDim), value(key.size());
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  for (auto* tensor : {&query, &key, &value}) {
    for (float& x : *tensor) x = normal(random);
  }

  // (batch, heads, positions, channels); any strides would do.
  auto q = regard::TensorView<const float, 4>(query.data(), {1, kHeads, kLength, kHeadDim});
  auto k = regard::TensorView<const float, 4>(key.data(), {1, kKvHeads, kLength, kHeadDim});
  auto v = regard::TensorView<const float, 4>(value.data(), {1, kKvHeads, kLength, kHeadDim});
  auto o = regard::TensorView<float, 4>(out.data(), {1, kHeads, kLength, kHeadDim});
  regard::attention(q, k, v, o, {.mask = regard::CausalMask{}});

  // The first token sees itself alone, so its output is its value, bit for bit.
  bool same = true;
  for (std::int64_t c = 0; c < kHeadDim; ++c) same = same && out[c] == value[c];
  std::printf("regard %s on %s: token 0 %s its value\n", REGARD_VERSION,
              regard::active_isa().c_str(), same ? "is" : "is not");
  return same ? 0 : 1;
}
