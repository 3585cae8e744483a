// tests/api/kv_cache_file_test.cc - what is saved comes back bit by bit, in pages of any size, and
// goes on as if nothing had happened (D6).
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstring>
#include <numeric>

#include "cache/crc32c.h"
#include "regard/kv_cache.h"
#include "regard/plan.h"
#include "support/random_cache.h"
#include "support/refusal.h"
#include "support/saved_cache.h"

namespace regard::test {
namespace {

using Sequence = PagedKvCache::Sequence;
constexpr DType kDTypes[] = {DType::kF32, DType::kBf16, DType::kF16, DType::kI8};
constexpr std::int64_t kPageSizes[] = {16, 48, 64, 256};

KvCacheShape small_shape(DType dtype, std::int64_t page_size) {
  return {.num_layers = 2,
          .num_kv_heads = 2,
          .head_dim = 24,
          .value_dim = 17,
          .dtype = dtype,
          .page_size = page_size,
          .budget_bytes = std::int64_t{1} << 24,
          .fingerprint = "a model"};
}

TEST(Crc32c, ThePublishedCheckValueAndTheSameInPieces) {
  EXPECT_EQ(cache::crc32c(std::as_bytes(std::span("123456789", 9))), 0xE3069283U);
  std::string text(67, ' ');
  std::iota(text.begin(), text.end(), '\1');
  const auto bytes = std::as_bytes(std::span(text));
  for (std::size_t begin = 0; begin < 8; ++begin) {
    const std::uint32_t whole = cache::crc32c(bytes.subspan(begin));
    std::uint32_t by_byte = 0;
    for (const std::byte& byte : bytes.subspan(begin))
      by_byte = cache::crc32c(std::span(&byte, 1), by_byte);
    EXPECT_EQ(whole, by_byte);
    EXPECT_EQ(whole,
              cache::crc32c(bytes.subspan(begin + 13), cache::crc32c(bytes.subspan(begin, 13))));
  }
}

/// Attention of the last `rows` positions over what the cache has, of the last layer.
Dense<float> attend(const PagedKvCache& cache, Sequence s, std::int64_t rows, const AnyMask& mask) {
  Rng rng(99);
  const KvCacheShape& shape = cache.shape();
  const Dense<float> query({1, 2 * shape.num_kv_heads, rows, shape.head_dim}, rng);
  Dense<float> out({1, 2 * shape.num_kv_heads, rows, shape.value_dim});
  AttentionOptions options;
  options.mask = mask;
  options.q_offset = cache.length(s) - rows;
  attention(query.rows(0, rows), cache.view(s).layer(shape.num_layers - 1), out.rows(0, rows),
            options);
  return out;
}

/// Both go on with the same tokens, some at once and some one by one.
void expect_the_same_future(PagedKvCache& a, Sequence in_a, PagedKvCache& b, Sequence in_b,
                            const AnyMask& mask) {
  Rng of_a(5), of_b(5);
  for (const std::int64_t count : {1, 20, 1, 1}) {
    append_random(a, in_a, count, of_a);
    append_random(b, in_b, count, of_b);
    EXPECT_TRUE(attend(a, in_a, count, mask) == attend(b, in_b, count, mask));
    EXPECT_EQ(contents(a, in_a), contents(b, in_b));
  }
}

TEST(KvCacheFile, D6GoesOnWithTheSameBitsInPagesOfAnySize) {
  const TempFolder folder;
  for (const DType dtype : kDTypes) {
    for (const std::int64_t from : kPageSizes) {
      for (const std::int64_t to : kPageSizes) {
        for (const std::int64_t length : {0, 1, 16, 200, 512}) {
          SCOPED_TRACE(std::string(name_of(dtype)) + ", pages of " + std::to_string(from) + " to " +
                       std::to_string(to) + ", tokens " + std::to_string(length));
          Rng rng(static_cast<std::uint64_t>(length));
          PagedKvCache a(small_shape(dtype, from)), b(small_shape(dtype, to));
          const Sequence saved = a.create({.owner = "ann"});
          append_random(b, b.create(), 30, rng);  // pages that are not the first
          append_random(a, saved, length, rng);
          a.save(saved, folder / "cache");
          const Sequence loaded = b.load(folder / "cache", {.owner = "bob"});
          EXPECT_EQ(contents(a, saved), contents(b, loaded));
          EXPECT_EQ(b.options(loaded).owner, "bob");
          expect_the_same_future(a, saved, b, loaded, CausalMask{});
        }
      }
    }
  }
}

TEST(KvCacheFile, EvictedTokensStayEvicted) {
  const TempFolder folder;
  const AnyMask mask = CausalMask{} & (PrefixMask{5} | WindowMask{40, 0});
  for (const DType dtype : kDTypes) {
    for (const std::int64_t from : kPageSizes) {
      for (const std::int64_t to : kPageSizes) {
        SCOPED_TRACE(std::string(name_of(dtype)) + ", pages of " + std::to_string(from) + " to " +
                     std::to_string(to));
        Rng rng(3);
        PagedKvCache a(small_shape(dtype, from)), b(small_shape(dtype, to));
        const Sequence saved = a.create();
        append_random(a, saved, 700, rng);
        a.evict(saved, 5, 41);
        a.save(saved, folder / "cache");
        const Sequence loaded = b.load(folder / "cache");
        EXPECT_EQ(contents(a, saved), contents(b, loaded));
        const std::int64_t all = (700 + to - 1) / to;
        EXPECT_LT(b.stats().used_pages, to == 256 ? 3 : all / 2) << "evicted pages take no room";
        expect_the_same_future(a, saved, b, loaded, mask);
      }
    }
  }
}

TEST(KvCacheFile, TruncatedIntoWhatWasEvicted) {
  const TempFolder folder;
  for (const std::int64_t page_size : kPageSizes) {
    Rng rng(4);
    PagedKvCache a(small_shape(DType::kF16, 16)), b(small_shape(DType::kF16, page_size));
    const Sequence saved = a.create();
    append_random(a, saved, 200, rng);
    a.evict(saved, 10, 10);
    a.truncate(saved, 70);
    a.save(saved, folder / "cache");
    const Sequence loaded = b.load(folder / "cache");
    EXPECT_EQ(contents(a, saved), contents(b, loaded));
    append_random(b, loaded, 20, rng);
    EXPECT_EQ(b.length(loaded), 90);
  }
}

TEST(KvCacheFile, WhatIsNotWrittenYetIsZeroAfterLoadingToo) {
  const TempFolder folder;
  Rng rng(1);
  PagedKvCache a(small_shape(DType::kF32, 64)), b(small_shape(DType::kF32, 64));
  const Sequence longer = a.create(), shorter = a.fork(longer);
  append_random(a, longer, 40, rng);
  append_random(a, shorter, 3, rng);
  const Sequence third = a.fork(longer);
  a.truncate(third, 3);
  a.save_all(folder / "cache");
  for (const SavedSequence& each : b.load_all(folder / "cache")) {
    const std::int64_t begin = b.extend(each.sequence, 5);
    Dense<float> key({1, 2, begin + 5, 24}), value({1, 2, begin + 5, 17});
    b.read(1, each.sequence, {key.data.data(), {2, begin + 5, 24}},
           {value.data.data(), {2, begin + 5, 17}});
    for (std::int64_t i = 0; i < 24; ++i)
      EXPECT_EQ(key.data[static_cast<std::size_t>((begin + 4) * 24 + i)], 0) << each.sequence;
  }
}

TEST(KvCacheFile, IdsAreKept) {
  const TempFolder folder;
  Rng rng(1);
  PagedKvCache cache(small_shape(DType::kBf16, 16));
  const Sequence s = cache.create();
  append_random(cache, s, 33, rng);
  for (const std::vector<std::int32_t>& ids :
       {std::vector<std::int32_t>{}, {7}, {-1, 2'147'483'647, 0, 5}}) {
    cache.save(s, folder / "cache", ids);
    std::vector<std::int32_t> got{1, 2, 3};
    cache.load(folder / "cache", {}, &got);
    EXPECT_EQ(got, ids);
  }
}

TEST(KvCacheFile, APoolSharesAfterLoadingWhatItSharedBefore) {
  const TempFolder folder;
  Rng rng(8);
  PagedKvCache a(small_shape(DType::kI8, 32));
  std::vector<std::int32_t> ids(96);
  std::iota(ids.begin(), ids.end(), 100);
  const Sequence first = a.create({.owner = "ann"});
  append_random(a, first, 96, rng);
  a.publish(first, ids);
  const Sequence adopted = a.create({.owner = "ann"});
  ASSERT_EQ(a.adopt(adopted, ids), 64);
  append_random(a, adopted, 5, rng);
  const Sequence forked = a.fork(adopted);
  a.truncate(forked, 66);
  const Sequence bobs = a.create({.owner = "bob", .share_with = "all"});
  append_random(a, bobs, 70, rng);
  a.create({.owner = "nobody"});
  const std::vector<SavedSequence> kept{{first, ids}, {bobs, {1, 2}}};
  a.save_all(folder / "pool", kept);

  for (const std::int64_t page_size : {16, 32, 64, 256}) {
    SCOPED_TRACE(page_size);
    PagedKvCache b(small_shape(DType::kI8, page_size));
    const std::vector<SavedSequence> loaded = b.load_all(folder / "pool");
    ASSERT_EQ(loaded.size(), 5U);
    const Sequence saved[] = {first, adopted, forked, bobs, bobs + 1};
    for (std::size_t i = 0; i < loaded.size(); ++i) {
      EXPECT_EQ(contents(a, saved[i]), contents(b, loaded[i].sequence)) << i;
      EXPECT_EQ(a.options(saved[i]).owner, b.options(loaded[i].sequence).owner);
      EXPECT_EQ(a.options(saved[i]).share_with, b.options(loaded[i].sequence).share_with);
    }
    EXPECT_EQ(loaded[0].ids, ids);
    EXPECT_TRUE(loaded[1].ids.empty());
    EXPECT_EQ(loaded[3].ids, (std::vector<std::int32_t>{1, 2}));
    // first: 96 tokens, adopted: 64 of them and 5, of which forked has 2, bob's: 70.
    const std::int64_t pages = page_size == 16   ? 6 + 1 + 5
                               : page_size == 32 ? 3 + 1 + 3
                               : page_size == 64 ? 2 + 1 + 2
                                                 : 1 + 1 + 1;
    EXPECT_EQ(b.stats().used_pages, pages);
    const std::string before = contents(b, loaded[1].sequence);
    append_random(b, loaded[2].sequence, 40, rng);
    EXPECT_EQ(contents(b, loaded[1].sequence), before) << "copied when written";
    for (const SavedSequence& each : loaded) b.release(each.sequence);
    EXPECT_EQ(b.stats().used_pages, 0);
  }
}

TEST(KvCacheFile, SharedTokensAreWrittenOnce) {
  const TempFolder folder;
  Rng rng(8);
  PagedKvCache a(small_shape(DType::kF32, 64));
  const Sequence s = a.create();
  append_random(a, s, 640, rng);
  a.save(s, folder / "one");
  for (int i = 0; i < 9; ++i) a.fork(s);
  a.save_all(folder / "ten");
  const auto one = std::filesystem::file_size(folder / "one");
  EXPECT_LT(std::filesystem::file_size(folder / "ten"), one + 9 * std::uintmax_t{4 * 40 + 64});
}

TEST(KvCacheFile, IsReadableByTheUserAlone) {
  const TempFolder folder;
  PagedKvCache cache(small_shape(DType::kF32, 16));
  const mode_t mask = ::umask(0);
  cache.save(cache.create(), folder / "cache");
  ::umask(mask);
  struct stat status{};
  ASSERT_EQ(::stat((folder / "cache").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777U, 0600U);
  EXPECT_EQ(folder.names(), std::vector<std::string>{"cache"});
}

TEST(KvCacheFile, UnknownSequencesAreRefused) {
  const TempFolder folder;
  PagedKvCache cache(small_shape(DType::kF32, 16));
  const char* const words =
      "kv_cache: sequence 7 is not there, expected one that create() or fork() gave and release() "
      "did not take";
  const std::vector<SavedSequence> kept{{7, {}}};
  EXPECT_EQ(refusal([&] { cache.save(7, folder / "cache"); }), words);
  EXPECT_EQ(refusal([&] { cache.save_all(folder / "cache", kept); }), words);
  EXPECT_TRUE(folder.names().empty());
}

TEST(KvCacheFile, AFullCacheIsLeftAsItWas) {
  const TempFolder folder;
  Rng rng(2);
  KvCacheShape shape = small_shape(DType::kF32, 16);
  PagedKvCache a(shape);
  const Sequence s = a.create();
  append_random(a, s, 80, rng);
  a.save(s, folder / "cache");
  shape.budget_bytes = 6 * a.stats().page_bytes;
  PagedKvCache b(shape);
  std::vector<std::int32_t> ids(32, 3);
  const Sequence old = b.create(), published = b.create();
  append_random(b, old, 20, rng);
  append_random(b, published, 32, rng);
  b.publish(published, ids);
  b.release(published);
  const std::string before = contents(b, old);
  std::vector<std::int32_t> untouched{4};
  EXPECT_THROW(b.load(folder / "cache", {.owner = "ann"}, &untouched), CacheFull);
  EXPECT_EQ(failure([&] { b.load_all(folder / "cache"); }),
            "kv_cache: owner \"\" needs 5 more pages of " + std::to_string(a.stats().page_bytes) +
                " bytes, 4 of 6 are left; used: \"\" 2 in 1 sequence");
  EXPECT_EQ(contents(b, old), before);
  EXPECT_EQ(untouched, std::vector<std::int32_t>{4});
  EXPECT_EQ(b.stats().kept_pages, 2);
  EXPECT_EQ(b.stats().num_sequences, 1);
  b.truncate(old, 16);
  const Sequence loaded = b.load(folder / "cache");
  EXPECT_EQ(contents(a, s), contents(b, loaded));
  EXPECT_EQ(b.stats().kept_pages, 0) << "given up for what was loaded";
}

}  // namespace
}  // namespace regard::test
