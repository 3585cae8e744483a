// tests/support/masks.cc - how a random mask is drawn.
#include "support/masks.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

namespace regard::test {
namespace {

TensorView<const bool, 4> as_bools(const std::vector<std::uint8_t>& bytes,
                                   const std::array<std::int64_t, 4>& shape) {
  return {reinterpret_cast<const bool*>(bytes.data()), shape};  // each is 0 or 1
}

std::vector<std::uint8_t> random_bits(Rng& rng, const std::array<std::int64_t, 4>& shape) {
  const double share = rng.pick({0.05, 0.5, 0.95});
  const auto size = static_cast<std::size_t>(TensorView<const bool, 4>(nullptr, shape).size());
  std::vector<std::uint8_t> bits(size);
  for (std::uint8_t& bit : bits) bit = rng.chance(share) ? 1 : 0;
  return bits;
}

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

NamedMask described(AnyMask mask) {
  std::string name = mask.describe();
  return {std::move(mask), std::move(name)};
}

NamedMask random_window(Rng& rng, std::int64_t num_positions) {
  const auto side = [&] {
    if (rng.chance(0.3)) return WindowMask::kUnbounded;
    return rng.integer(-num_positions / 8, rng.pick<std::int64_t>({2, 70, num_positions}));
  };
  const std::int64_t left = side(), right = side();
  return described(WindowMask{left, right});
}

NamedMask random_text_leaf(Rng& rng, std::int64_t num_positions) {
  switch (rng.integer(0, 6)) {
    case 0:
      return {FullMask{}, "Full"};
    case 1:
      return random_documents(rng, num_positions);
    case 2:
      return described(PrefixMask{rng.integer(-1, num_positions)});
    case 3:
      return described(StridedMask(rng.integer(1, rng.pick({3, 40, 200}))));
    case 4:
      return random_window(rng, num_positions);
    default:
      return {CausalMask{}, "Causal"};
  }
}

NamedMask random_block(Rng& rng, std::int64_t num_positions, std::int64_t batch,
                       std::int64_t heads) {
  const std::int64_t least = num_positions / 64 + 1;  // a map of moderate size
  const std::int64_t q_block = std::max(rng.pick<std::int64_t>({1, 5, 16, 64, 128}), least);
  const std::int64_t kv_block = std::max(rng.pick<std::int64_t>({1, 7, 32, 64, 256}), least);
  const std::array<std::int64_t, 4> shape{batch, heads, num_positions / q_block + rng.integer(0, 1),
                                          num_positions / kv_block + rng.integer(0, 1)};
  return described(BlockMask(as_bools(random_bits(rng, shape), shape), q_block, kv_block));
}

NamedMask random_dense(Rng& rng, std::int64_t num_positions, std::int64_t batch,
                       std::int64_t heads) {
  const std::array<std::int64_t, 4> shape{batch, heads, num_positions, num_positions};
  return described(OwnedDenseMask(random_bits(rng, shape), shape, rng.integer(-20, 20)));
}

NamedMask random_leaf(Rng& rng, std::int64_t num_positions) {
  if (rng.chance(0.8)) return random_text_leaf(rng, num_positions);
  return rng.chance(0.5) ? random_block(rng, num_positions, 1, 1)
                         : random_dense(rng, num_positions, 1, 1);
}

template <class Leaf>
NamedMask random_tree(Rng& rng, int depth, const Leaf& leaf) {
  if (depth == 0 || rng.chance(0.4)) return leaf();
  const NamedMask a = random_tree(rng, depth - 1, leaf);
  if (rng.chance(0.3)) return {!a.mask, "!" + a.name};
  const NamedMask b = random_tree(rng, depth - 1, leaf);
  if (rng.chance(0.5)) return {a.mask & b.mask, "(" + a.name + " & " + b.name + ")"};
  return {a.mask | b.mask, "(" + a.name + " | " + b.name + ")"};
}

}  // namespace

OwnedDenseMask::OwnedDenseMask(std::vector<std::uint8_t> allowed, std::array<std::int64_t, 4> shape,
                               std::int64_t q_begin)
    : memory_(std::make_shared<const std::vector<std::uint8_t>>(std::move(allowed))),
      mask_(as_bools(*memory_, shape), q_begin) {}

OwnedDenseMask OwnedDenseMask::at(std::int64_t batch, std::int64_t head) const {
  OwnedDenseMask one = *this;
  one.mask_ = mask_.at(batch, head);
  return one;
}

NamedMask random_text_mask(Rng& rng, std::int64_t num_positions, int depth) {
  return random_tree(rng, depth, [&] { return random_text_leaf(rng, num_positions); });
}

NamedMask random_mask(Rng& rng, std::int64_t num_positions, int depth) {
  return random_tree(rng, depth, [&] { return random_leaf(rng, num_positions); });
}

NamedMask random_varying_mask(Rng& rng, std::int64_t num_positions, std::int64_t num_sequences,
                              std::int64_t num_heads) {
  const std::int64_t batch = rng.chance(0.3) ? 1 : num_sequences;
  const std::int64_t heads = rng.chance(0.3) ? 1 : num_heads;
  const bool large = batch * heads * num_positions * num_positions > 2'000'000;
  const NamedMask a = large || rng.chance(0.5) ? random_block(rng, num_positions, batch, heads)
                                               : random_dense(rng, num_positions, batch, heads);
  if (rng.chance(0.5)) return a;
  const NamedMask b = random_mask(rng, num_positions, 1);
  if (rng.chance(0.5)) return {a.mask & b.mask, "(" + a.name + " & " + b.name + ")"};
  return {a.mask | !b.mask, "(" + a.name + " | !" + b.name + ")"};
}

}  // namespace regard::test
