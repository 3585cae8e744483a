// tests/kernels/pages_test.cc - rows that lie in pages give every kernel the bits of the same rows
// in one piece, and no kernel reads beyond a page.
#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <limits>
#include <memory>
#include <type_traits>
#include <vector>

#include "kernels/kernels.h"
#include "support/guarded_buffer.h"
#include "support/random.h"

namespace regard::test {
namespace {

using kernels::Arithmetic;
using kernels::KernelTable;
using kernels::Matrix;
using kernels::Product;

std::size_t count(std::int64_t n) { return static_cast<std::size_t>(n); }

template <class T>
T random_element(Rng& rng) {
  if constexpr (std::is_same_v<T, std::int8_t>)
    return static_cast<std::int8_t>(rng.integer(-128, 127));
  else
    return T(rng.normal());
}

/// Rows in one piece and the same in pages, each between guard pages. Before the first row, and
/// after the last up to the next multiple of 16, are numbers that do not belong to them; the pages
/// that begin after that are not there.
template <class T>
struct Paged {
  Paged(Rng& rng, std::int64_t num_rows, std::int64_t columns)
      : page_rows(rng.pick({16, 32, 48})),
        first(16 * rng.integer(0, page_rows / 16 - 1)),
        plain(count(num_rows * columns)),
        whole{plain.data(), num_rows, columns, columns, 1},
        paged{nullptr, num_rows, columns, columns, 1} {
    for (T& x : plain) x = random_element<T>(rng);
    const auto bytes = static_cast<std::int64_t>(sizeof(T));
    const std::int64_t before = bytes * rng.integer(0, 40);  // of the page, before the matrix
    const Flush flush = rng.pick({Flush::kEnd, Flush::kStart});
    for (std::int64_t row = 0; row < first + num_rows; row += page_rows) {
      pages.push_back(std::make_unique<GuardedBuffer>(count(before + page_rows * columns * bytes),
                                                      flush, 0, 1));
      auto* page = static_cast<std::byte*>(pages.back()->begin());
      // NaN in every float type.
      std::memset(page, 0xFF, pages.back()->size());
      for (std::int64_t r = 0; r < page_rows; ++r) {
        const std::int64_t at = row + r - first;
        if (at < 0 || at >= num_rows) continue;
        std::memcpy(page + before + r * columns * bytes, &plain[count(at * columns)],
                    count(columns * bytes));
      }
      table.push_back(page);
    }
    paged.pages = {table.data(), std::ssize(table), page_rows, first, before};
    if (rng.chance(0.5)) return;
    after = {table.data(), std::ssize(table), page_rows, 0, before};
    paged.pages.next = &after;
    paged.pages.until = (first + whole.rows + 15) / 16 * 16 + 16 * rng.integer(0, 8) - first;
  }
  kernels::Pages after;  // what would be read next: asked for, never read
  std::int64_t page_rows, first;
  std::vector<T> plain;
  std::vector<std::unique_ptr<GuardedBuffer>> pages;
  std::vector<const std::byte*> table;
  Matrix whole, paged;
};

template <class T>
constexpr DType type_of() {
  if constexpr (std::is_same_v<T, std::int8_t>)
    return DType::kI8;
  else
    return dtype_of<T>;
}

void expect_same(const std::vector<float>& got, const std::vector<float>& want,
                 const KernelTable& k) {
  ASSERT_EQ(0, std::memcmp(got.data(), want.data(), want.size() * sizeof(float))) << k.isa;
}

/// Calls check(table, arithmetic) for every arithmetic that takes T.
template <class T, class Check>
void for_all(const Check& check) {
  for (const KernelTable* k : kernels::supported_tables()) {
    check(*k, *k->f32);
    if (k->bf16 != nullptr && type_of<T>() == DType::kBf16) check(*k, *k->bf16);
  }
}

template <class T>
void packs_alike(std::uint64_t seed) {
  for_all<T>([&](const KernelTable& k, const Arithmetic& arithmetic) {
    Rng rng(seed);
    const std::size_t dtype = kernels::index(type_of<T>());
    const std::int64_t rows = rng.integer(1, 100), columns = rng.integer(1, 100);
    const Paged<T> m(rng, rows, columns);
    const std::int64_t panels = (rows + k.panel - 1) / k.panel * arithmetic.words(columns),
                       row_panels = (columns + k.panel - 1) / k.panel * arithmetic.words(rows);
    std::vector<float> want(count(panels * k.panel)), got = want;
    arithmetic.pack_columns[dtype](m.whole, want.data());
    arithmetic.pack_columns[dtype](m.paged, got.data());
    expect_same(got, want, k);
    want.assign(count(row_panels * k.panel), 0);
    got = want;
    arithmetic.pack_rows[dtype](m.whole, arithmetic.words(rows), want.data());
    arithmetic.pack_rows[dtype](m.paged, arithmetic.words(rows), got.data());
    expect_same(got, want, k);
  });
}

TEST(Pages, RowsArePackedAlike) {
  for (const std::uint64_t seed : trial_seeds(150)) {
    REGARD_TRIAL(seed);
    packs_alike<float>(seed);
    packs_alike<bf16>(seed);
    packs_alike<f16>(seed);
    packs_alike<std::int8_t>(seed);
  }
}

/// Dot products where the keys lie: the bits of those of packed keys, int8 too.
template <class T>
void dots_alike(std::uint64_t seed) {
  for_all<T>([&](const KernelTable& k, const Arithmetic& arithmetic) {
    Rng rng(seed);
    const std::size_t dtype = kernels::index(type_of<T>());
    const std::int64_t rows = rng.integer(1, 24), depth = rng.integer(1, 140),
                       keys = k.panel + rng.integer(0, 70), words = arithmetic.words(depth),
                       width = (keys + k.panel - 1) / k.panel * k.panel;
    const Paged<T> key(rng, keys, depth);
    std::vector<float> a(count(rows * words)), packed(count(words * width)),
        want(count(rows * width)), got = want;
    std::vector<bf16> pairs(count(rows * depth));
    for (bf16& x : pairs) x = bf16(rng.normal());
    for (float& x : a) x = rng.normal();
    if (arithmetic.word == 2)
      arithmetic.load_rows[kernels::index(DType::kBf16)]({pairs.data(), rows, depth, depth, 1},
                                                         a.data(), words);
    Product p{.a = a.data(),
              .a_stride = words,
              .rows = rows,
              .b = packed.data(),
              .b_panel = words * k.panel,
              .panels = width / k.panel,
              .depth = words,
              .c = want.data(),
              .c_stride = width,
              .scale = 0.3F,
              .accumulate = false};
    arithmetic.pack_columns[dtype](key.whole, packed.data());
    arithmetic.product(p);
    p.c = got.data();
    for (const Matrix* m : {&key.paged, &key.whole}) {
      arithmetic.dot_in_place[dtype](p, *m);
      for (std::int64_t r = 0; r < rows; ++r) {
        ASSERT_EQ(0, std::memcmp(&got[count(r * width)], &want[count(r * width)],
                                 count(keys) * sizeof(float)))
            << k.isa << " row " << r << ", " << keys << " keys, page " << key.page_rows;
      }
    }
  });
}

TEST(Pages, DotsHaveTheSameBits) {
  for (const std::uint64_t seed : trial_seeds(150)) {
    REGARD_TRIAL(seed);
    dots_alike<float>(seed);
    dots_alike<bf16>(seed);
    dots_alike<f16>(seed);
    dots_alike<std::int8_t>(seed);
  }
}

/// Products over values where they lie: the bits of those of packed values, int8 too.
template <class T>
void products_alike(std::uint64_t seed) {
  for_all<T>([&](const KernelTable& k, const Arithmetic& arithmetic) {
    Rng rng(seed);
    const std::size_t dtype = kernels::index(type_of<T>());
    const std::int64_t rows = rng.integer(1, 24), columns = k.panel * rng.integer(1, 6),
                       keys = rng.integer(1, 200) * arithmetic.word, words = arithmetic.words(keys);
    const Paged<T> value(rng, keys, columns);
    std::vector<float> a(count(rows * words)), packed(count(words * columns)),
        want(count(rows * columns));
    std::vector<bf16> pairs(count(rows * keys));
    for (bf16& x : pairs) x = bf16(rng.normal());
    for (float& x : a) x = rng.normal();
    if (arithmetic.word == 2)
      arithmetic.load_rows[kernels::index(DType::kBf16)]({pairs.data(), rows, keys, keys, 1},
                                                         a.data(), words);
    for (float& x : want) x = rng.normal();
    const std::vector<float> before = want;
    std::vector<float> got = want;
    Product p{.a = a.data(),
              .a_stride = words,
              .rows = rows,
              .b = packed.data(),
              .b_panel = words * k.panel,
              .panels = columns / k.panel,
              .depth = words,
              .c = want.data(),
              .c_stride = columns,
              .scale = 1,
              .accumulate = rng.chance(0.5)};
    arithmetic.pack_rows[dtype](value.whole, words, packed.data());
    arithmetic.product(p);
    for (const Matrix* m : {&value.paged, &value.whole}) {
      got = before;
      p.c = got.data();
      arithmetic.product_in_place[dtype](p, *m);
      expect_same(got, want, k);
    }
  });
}

TEST(Pages, ProductsHaveTheSameBits) {
  for (const std::uint64_t seed : trial_seeds(150)) {
    REGARD_TRIAL(seed);
    products_alike<float>(seed);
    products_alike<bf16>(seed);
    products_alike<f16>(seed);
    products_alike<std::int8_t>(seed);
  }
}

template <class T>
void finds_what_is_not_finite(std::uint64_t seed) {
  for (const KernelTable* k : kernels::supported_tables()) {
    Rng rng(seed);
    const std::int64_t rows = rng.integer(1, 60), columns = rng.integer(1, 60);
    Paged<T> m(rng, rows, columns);
    const auto is_finite = k->is_finite[kernels::index(type_of<T>())];
    EXPECT_TRUE(is_finite(m.paged)) << k->isa;
    if constexpr (std::is_same_v<T, std::int8_t>) continue;
    const std::int64_t row = rng.integer(0, rows - 1), column = rng.integer(0, columns - 1);
    auto* x = const_cast<T*>(m.paged.template row<T>(row)) + column;
    if constexpr (!std::is_same_v<T, std::int8_t>)
      *x = T(rng.pick({std::numeric_limits<float>::infinity(), std::nanf("")}));
    EXPECT_FALSE(is_finite(m.paged)) << k->isa;
  }
}

TEST(Pages, OneNumberThatIsNotFiniteIsFound) {
  for (const std::uint64_t seed : trial_seeds(100)) {
    REGARD_TRIAL(seed);
    finds_what_is_not_finite<float>(seed);
    finds_what_is_not_finite<bf16>(seed);
    finds_what_is_not_finite<f16>(seed);
    finds_what_is_not_finite<std::int8_t>(seed);
  }
}

}  // namespace
}  // namespace regard::test
