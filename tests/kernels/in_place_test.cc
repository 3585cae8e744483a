// tests/kernels/in_place_test.cc - the kernels that read keys and values where they lie have the
// bits of those that read them packed, for every storage type, on every table.
#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <vector>

#include "kernels/kernels.h"
#include "support/random.h"

namespace regard::test {
namespace {

using kernels::Arithmetic;
using kernels::KernelTable;
using kernels::Matrix;
using kernels::Product;

std::size_t count(std::int64_t n) { return static_cast<std::size_t>(n); }

/// Rows of T, contiguous or apart, and not a byte more.
template <class T>
struct Stored {
  Stored(Rng& rng, std::int64_t rows, std::int64_t columns)
      : stride(columns + (rng.chance(0.5) ? 0 : rng.integer(1, 9))),
        memory(count((rows - 1) * stride + columns)),
        matrix{memory.data(), rows, columns, stride, 1} {
    for (T& x : memory) x = T(rng.normal());
  }
  std::int64_t stride;
  std::vector<T> memory;
  Matrix matrix;
};

/// What both kernels of a pair are given, and room for what each writes.
struct Both {
  Both(const KernelTable& k, const Arithmetic& arithmetic, Rng& rng, std::int64_t rows,
       std::int64_t depth, std::int64_t columns)
      : words(arithmetic.words(depth)),
        panels((columns + k.panel - 1) / k.panel),
        width(panels * k.panel),
        a(count(rows * words)),
        packed(count(words * width)),
        want(count(rows * width)) {
    for (float& x : a) x = rng.normal();
    for (float& x : want) x = rng.normal();
    got = want;
    product = {.a = a.data(),
               .a_stride = words,
               .rows = rows,
               .b = packed.data(),
               .b_panel = words * k.panel,
               .panels = panels,
               .depth = words,
               .c = want.data(),
               .c_stride = width,
               .scale = rng.pick({1.0F, 0.3F}),
               .accumulate = false};
  }
  void expect_same(const KernelTable& k, std::int64_t columns) const {
    for (std::int64_t r = 0; r < product.rows; ++r) {
      for (std::int64_t j = 0; j < columns; ++j) {
        const std::size_t at = count(r * width + j);
        ASSERT_EQ(std::bit_cast<std::uint32_t>(got[at]), std::bit_cast<std::uint32_t>(want[at]))
            << k.isa << " row " << r << " column " << j;
      }
    }
  }
  std::int64_t words, panels, width;
  std::vector<float> a, packed, want, got;
  Product product{};
};

/// Calls check(table, arithmetic) for every arithmetic that takes T.
template <class T, class Check>
void for_all(const Check& check) {
  for (const KernelTable* k : kernels::supported_tables()) {
    check(*k, *k->f32);
    if (k->bf16 != nullptr && dtype_of<T> == DType::kBf16) check(*k, *k->bf16);
  }
}

template <class T>
void dots(std::uint64_t seed) {
  for_all<T>([&](const KernelTable& k, const Arithmetic& arithmetic) {
    Rng rng(seed);
    const std::size_t dtype = kernels::index(dtype_of<T>);
    const std::int64_t rows = rng.integer(1, 24), depth = rng.integer(1, 140),
                       keys = k.panel + rng.integer(0, 70);
    const Stored<T> key(rng, keys, depth);
    Both both(k, arithmetic, rng, rows, depth, keys);
    arithmetic.pack_columns[dtype](key.matrix, both.packed.data());
    arithmetic.product(both.product);
    both.product.c = both.got.data();
    arithmetic.dot_in_place[dtype](both.product, key.matrix);
    both.expect_same(k, keys);
  });
}

TEST(InPlace, DotsHaveTheBitsOfPackedKeys) {
  for (const std::uint64_t seed : trial_seeds(150)) {
    REGARD_TRIAL(seed);
    dots<float>(seed);
    dots<bf16>(seed);
    dots<f16>(seed);
  }
}

template <class T>
void products(std::uint64_t seed) {
  for_all<T>([&](const KernelTable& k, const Arithmetic& arithmetic) {
    Rng rng(seed);
    const std::size_t dtype = kernels::index(dtype_of<T>);
    const std::int64_t rows = rng.integer(1, 24), columns = k.panel * rng.integer(1, 6),
                       keys = rng.integer(1, 60) * arithmetic.word;
    const Stored<T> value(rng, keys, columns);
    Both both(k, arithmetic, rng, rows, keys, columns);
    both.product.accumulate = rng.chance(0.5);
    arithmetic.pack_rows[dtype](value.matrix, both.words, both.packed.data());
    arithmetic.product(both.product);
    both.product.c = both.got.data();
    arithmetic.product_in_place[dtype](both.product, value.matrix);
    both.expect_same(k, columns);
  });
}

TEST(InPlace, ProductsHaveTheBitsOfPackedValues) {
  for (const std::uint64_t seed : trial_seeds(150)) {
    REGARD_TRIAL(seed);
    products<float>(seed);
    products<bf16>(seed);
    products<f16>(seed);
  }
}

}  // namespace
}  // namespace regard::test
