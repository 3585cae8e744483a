// tests/api/paged_view_test.cc - attention over pages that somebody else made: nothing is read
// beyond a page or of an evicted one, and a view that lies is refused.
#include "regard/paged_view.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <memory>

#include "regard/kv_cache.h"
#include "regard/plan.h"
#include "support/guarded_buffer.h"
#include "support/isa.h"
#include "support/kv_cache.h"
#include "support/refusal.h"

namespace regard::test {
namespace {

/// Tokens of one sequence in pages between guard pages. What lies beyond its end is NaN, but for
/// int8 scales.
template <class T>
struct GuardedPages {
  GuardedPages(Rng& rng, const Dense<T>& key, const Dense<T>& value, std::int64_t page_size)
      : values_first(rng.chance(0.5)) {
    view.dtype = dtype_of<T>;
    view.num_kv_heads = key.shape[1];
    view.head_dim = key.shape[3];
    view.value_dim = value.shape[3];
    view.page_size = page_size;
    view.kv_lens = {key.shape[2]};
    const auto rows = view.num_kv_heads * page_size;
    (values_first ? view.key_offset : view.value_offset) =
        rows * (values_first ? view.value_dim : view.head_dim) *
        static_cast<std::int64_t>(sizeof(T));
    const Flush flush = rng.pick({Flush::kEnd, Flush::kStart});
    for (std::int64_t first = 0; first < key.shape[2]; first += page_size) {
      pages.push_back(std::make_unique<GuardedBuffer>(
          static_cast<std::size_t>(rows * (view.head_dim + view.value_dim)), flush, 0, sizeof(T)));
      auto* page = static_cast<std::byte*>(pages.back()->begin());
      std::memset(page, 0xFF, pages.back()->size() * sizeof(T));
      fill(key, first, page + view.key_offset);
      fill(value, first, page + view.value_offset);
      table.push_back(page);
    }
    view.tables = {table.data()};
  }
  void fill(const Dense<T>& x, std::int64_t first, std::byte* to) const {
    const std::int64_t tokens = std::min(view.page_size, x.shape[2] - first), dim = x.shape[3];
    for (std::int64_t g = 0; g < x.shape[1]; ++g) {
      std::memcpy(to + g * view.page_size * dim * static_cast<std::int64_t>(sizeof(T)),
                  &x.data[static_cast<std::size_t>((g * x.shape[2] + first) * dim)],
                  static_cast<std::size_t>(tokens * dim) * sizeof(T));
    }
  }
  bool values_first;
  std::vector<std::unique_ptr<GuardedBuffer>> pages;
  std::vector<const std::byte*> table;
  PagedView view;
};

/// Any number of rows, so every kernel that reads keys and values; some pages not there at all.
template <class T>
void reads_no_more_than_it_may(std::uint64_t seed) {
  Rng rng(seed);
  const std::int64_t n = rng.integer(1, 600),
                     rows = std::min<std::int64_t>(n, rng.pick({1, 2, 5, 20, 100})),
                     page_size = rng.pick({16, 32, 48, 64});
  const Dense<float> plain_query({1, 2 * rng.integer(1, 3), n, rng.pick({8, 24, 64, 70})}, rng);
  const Dense<T> key({1, 2, n, plain_query.shape[3]}, rng),
      value({1, 2, n, rng.pick({16, 64, 70})}, rng);
  GuardedPages<T> pages(rng, key, value, page_size);
  const std::int64_t sinks = rng.integer(0, 40), window = rng.integer(1, 200);
  AttentionOptions options;
  options.q_offset = n - rows;
  options.mask = CausalMask{} & (PrefixMask{sinks} | WindowMask{window - 1, 0});
  const std::int64_t end = n - rows + 1 - window;
  if (sinks < end && rng.chance(0.7)) {
    pages.view.evicted_begin = {sinks};
    pages.view.evicted_end = {end};
    const std::int64_t unit = page_size % 32 == 0 ? page_size : 2 * page_size;
    for (std::int64_t i = (sinks + unit - 1) / unit * unit; i < end / unit * unit; i += page_size)
      pages.table[static_cast<std::size_t>(i / page_size)] = nullptr;
  }
  // bf16 queries too: pairs are multiplied where the CPU can.
  Dense<T> query(plain_query.shape);
  for (std::size_t i = 0; i < query.data.size(); ++i) query.data[i] = T(plain_query.data[i]);
  REGARD_FOR_EACH_ISA(isa) {
    Dense<float> got({1, query.shape[1], rows, value.shape[3]}), want(got.shape);
    attention(query.rows(n - rows, n), pages.view, got.view(), options);
    attention(query.rows(n - rows, n), key.rows(0, n), value.rows(0, n), want.view(), options);
    EXPECT_TRUE(got == want) << "page size " << page_size << ", " << n << " keys, " << rows
                             << " rows";
  }
}

TEST(PagedView, NothingIsReadBeyondAPageOrOfAnEvictedOne) {
  for (const std::uint64_t seed : trial_seeds(60)) {
    REGARD_TRIAL(seed);
    reads_no_more_than_it_may<float>(seed);
    reads_no_more_than_it_may<bf16>(seed);
    reads_no_more_than_it_may<f16>(seed);
  }
}

/// A right view of 100 tokens, one query after all of them, and a plan for both.
struct Lie {
  Lie() : cache({.head_dim = 16, .value_dim = 16, .page_size = 16}), s(cache.create()) {
    cache.extend(s, 100);
    view = cache.view(s);
  }
  std::string said() const {
    std::vector<float> query(16), out(16);
    return refusal([&] {
      plan.run(InputView<4>(query.data(), {1, 1, 1, 16}), view,
               OutputView<4>(out.data(), {1, 1, 1, 16}));
    });
  }
  PagedKvCache cache;
  PagedKvCache::Sequence s;
  Plan plan{
      AttentionShape{.q_len = 1, .kv_len = 128, .head_dim = 16, .value_dim = 16, .page_size = 16}};
  PagedView view;
};

template <class Change>
std::string said_of(Change change) {
  Lie lie;
  change(lie);
  return lie.said();
}

TEST(PagedView, SizesThatLie) {
  EXPECT_EQ(Lie().said(), "nothing thrown");
  for (const std::int64_t size : {std::int64_t{-16}, std::int64_t{0}, std::int64_t{17},
                                  std::numeric_limits<std::int64_t>::max()}) {
    EXPECT_EQ(
        said_of([&](Lie& l) { l.view.page_size = size; }),
        "attention: pages.page_size is " + std::to_string(size) + ", expected a multiple of 16");
  }
  EXPECT_EQ(said_of([](Lie& l) { l.view.page_size = 32; }),
            "attention: pages.page_size is 32, expected 16 (the plan's)");
  EXPECT_EQ(said_of([](Lie& l) { l.view.dtype = DType::kI8; }),
            "attention: pages.dtype is int8, expected f32 (the plan's)");
  EXPECT_EQ(said_of([](Lie& l) { l.view.num_kv_heads = 2; }),
            "attention: pages.num_kv_heads is 2, expected 1 (the plan's)");
  EXPECT_EQ(said_of([](Lie& l) { l.view.head_dim = -1; }),
            "attention: pages.head_dim is -1, expected 16 (query head_dim)");
  EXPECT_EQ(said_of([](Lie& l) { l.view.value_dim = 17; }),
            "attention: pages.value_dim is 17, expected 16 (the plan's)");
  EXPECT_EQ(said_of([](Lie& l) { l.view.kv_lens = {129}; }),
            "attention: pages.kv_lens[0] is 129, expected 0..128");
  EXPECT_EQ(said_of([](Lie& l) {
              l.view.kv_lens = {std::numeric_limits<std::int64_t>::min()};
            }).find("attention: pages.kv_lens[0] is -9223372036854775808, expected 0..128"),
            0U);
  EXPECT_EQ(said_of([](Lie& l) { l.view.kv_lens.clear(); }),
            "attention: pages.kv_lens.size() is 0, expected 1 (sequences)");
  EXPECT_EQ(said_of([](Lie& l) { l.view.tables.push_back(nullptr); }),
            "attention: pages.tables.size() is 2, expected 1 (sequences)");
  EXPECT_EQ(said_of([](Lie& l) { l.view.key_offset = 2; }),
            "attention: pages.key_offset is 2, expected a multiple of 4");
  EXPECT_EQ(said_of([](Lie& l) { l.view.value_offset = -4; }),
            "attention: pages.value_offset is -4, expected a multiple of 4");
}

TEST(PagedView, EvictionsThatLie) {
  EXPECT_EQ(said_of([](Lie& l) { l.view.evicted_begin.push_back(0); }),
            "attention: pages.evicted_end.size() is 1, expected 2 (as evicted_begin)");
  EXPECT_EQ(said_of([](Lie& l) { l.view.evicted_begin = l.view.evicted_end = {0, 0}; }),
            "attention: pages.evicted_begin.size() is 2, expected 1 (sequences)");
  EXPECT_EQ(said_of([](Lie& l) { l.view.evicted_begin.clear(), l.view.evicted_end.clear(); }),
            "nothing thrown");
  EXPECT_EQ(said_of([](Lie& l) {
              l.view.evicted_begin = {std::numeric_limits<std::int64_t>::min()};
              l.view.evicted_end = {3};
            }),
            "attention: pages.evicted_begin[0] is -9223372036854775808, expected 0..100");
  EXPECT_EQ(said_of([](Lie& l) { l.view.evicted_end = {101}; }),
            "attention: pages.evicted_end[0] is 101, expected 0..100");
  static std::vector<const std::byte*> table;
  const auto lose_page_2 = [](Lie& l) {
    table.assign(l.view.tables[0], l.view.tables[0] + 7);
    table[2] = nullptr;
    l.view.tables = {table.data()};
  };
  EXPECT_EQ(said_of(lose_page_2),
            "attention: pages.tables[0][2] is null, expected a page, unless all of its keys were "
            "evicted");
  EXPECT_EQ(said_of([&](Lie& l) {  // 48..63 would be read with it
              lose_page_2(l);
              l.view.evicted_begin = {32};
              l.view.evicted_end = {48};
            }),
            "attention: pages.tables[0][2] is null, expected a page, unless all of its keys were "
            "evicted");
}

TEST(PagedView, PlansAndViewsThatDoNotFit) {
  Lie lie;
  lie.plan = Plan({.q_len = 1, .kv_len = 128, .head_dim = 16, .value_dim = 16});
  EXPECT_EQ(lie.said(), "attention: pages.page_size is 16, expected 0 (the plan's)");
  lie.view = PagedView();
  EXPECT_EQ(lie.said(), "attention: pages.page_size is 0, expected a multiple of 16");
  std::vector<float> x(16 * 128);
  const InputView<4> query(x.data(), {1, 1, 1, 16}), key(x.data(), {1, 1, 128, 16});
  EXPECT_EQ(
      refusal([&] { Lie().plan.run(query, key, key, OutputView<4>(x.data(), {1, 1, 1, 16})); }),
      "attention: page_size is 0, expected 16 (the plan's: give pages)");
  EXPECT_EQ(refusal([&] {
              Lie l;
              RunOptions run;
              run.kv_lens = l.view.kv_lens;
              l.plan.run(query, l.view, OutputView<4>(x.data(), {1, 1, 1, 16}), run);
            }),
            "attention: kv_lens is given, expected none: the view of the pages has them");
}

TEST(PagedView, LayersThatAreNotThere) {
  PagedView view;
  view.num_layers = 3;
  view.layer_bytes = 64;
  EXPECT_EQ(view.layer(2).value_offset, 128);
  EXPECT_EQ(view.layer(0).value_offset, 0);
  EXPECT_EQ(refusal([&] { view.layer(3); }), "pages: layer is 3, expected 0..2");
  EXPECT_EQ(refusal([&] { view.layer(-1); }), "pages: layer is -1, expected 0..2");
}

TEST(PagedView, ShapesOfPagesThatNoPlanTakes) {
  const auto said = [](auto change) {
    AttentionShape s{.q_len = 4, .kv_len = 8, .head_dim = 16, .value_dim = 16, .page_size = 16};
    AttentionOptions options;
    change(s, options);
    return refusal([&] { const Plan plan(s, options); });
  };
  EXPECT_EQ(said([](auto& s, auto&) { s.page_size = -16; }),
            "attention: page_size is -16, expected a multiple of 16");
  EXPECT_EQ(said([](auto& s, auto&) { s.key_dtype = DType::kI8; }),
            "attention: value_dtype is f32, expected int8 (key_dtype), with pages");
  EXPECT_EQ(said([](auto& s, auto&) { s.out_dtype = DType::kI8; }),
            "attention: out_dtype is int8, expected f32, bf16 or f16");
  EXPECT_EQ(said([](auto& s, auto&) { s.query_dtype = DType::kI8; }),
            "attention: query_dtype is int8, expected f32, bf16 or f16");
  EXPECT_EQ(said([](auto& s, auto&) { s.page_size = 0, s.value_dtype = DType::kI8; }),
            "attention: value_dtype is int8, expected f32, bf16 or f16, but of pages, whose rows "
            "have scales");
  EXPECT_EQ(said([](auto&, auto& o) { o.kv_offset = 256; }),
            "attention: kv_offset is 256, expected 0..0");
  static const std::vector<std::int64_t> ends{0, 4};
  EXPECT_EQ(said([](auto&, auto& o) { o.cu_seqlens_q = o.cu_seqlens_kv = ends; }),
            "attention: cu_seqlens_kv.size() is 2, expected 0 (with pages)");
  EXPECT_EQ(said([](auto& s, auto& o) { s.batch = 2, o.cu_seqlens_q = ends; }),
            "attention: batch is 2, expected 1 (with cu_seqlens)");
  EXPECT_EQ(said([](auto&, auto& o) { o.kv_lens = ends; }),
            "attention: kv_lens is given, expected none: the view of the pages has them");
}

}  // namespace
}  // namespace regard::test
