// tests/api/kv_cache_damage_test.cc - a file that is damaged, cut, another cache's or somebody's
// invention is refused with the place, and the cache has not changed.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>

#include "cache/crc32c.h"
#include "regard/kv_cache.h"
#include "support/random_cache.h"
#include "support/saved_cache.h"

namespace regard::test {
namespace {

using Sequence = PagedKvCache::Sequence;

KvCacheShape tiny_shape(DType dtype = DType::kF32) {
  return {.num_layers = 1,
          .num_kv_heads = 1,
          .head_dim = 2,
          .value_dim = 1,
          .dtype = dtype,
          .page_size = 16,
          .budget_bytes = std::int64_t{1} << 20,
          .fingerprint = "model"};
}

/// Where things are in the file of tiny_sequence().
constexpr std::size_t kTable = 64, kOwner = kTable + 8 + 5, kLength = kOwner + 8 + 3 + 8,
                      kIds = kLength + 24, kBlocks = kIds + 8 + 8;

/// 20 tokens of ann's in two blocks, with two ids.
void save_tiny_sequence(const std::filesystem::path& file, DType dtype = DType::kF32) {
  Rng rng(1);
  PagedKvCache cache(tiny_shape(dtype));
  const Sequence s = cache.create({.owner = "ann"});
  append_random(cache, s, 20, rng);
  cache.save(s, file, std::vector<std::int32_t>{5, 6});
}

/// Two sequences that share a page, one of them with evicted tokens, and one of another owner.
void save_tiny_pool(const std::filesystem::path& file, DType dtype) {
  Rng rng(1);
  PagedKvCache cache(tiny_shape(dtype));
  const Sequence s = cache.create({.owner = "ann"});
  append_random(cache, s, 100, rng);
  append_random(cache, cache.fork(s), 3, rng);
  cache.evict(s, 10, 20);
  append_random(cache, cache.create({.owner = "bob", .share_with = "all"}), 17, rng);
  const std::vector<SavedSequence> ids{{s, {1, 2, 3}}};
  cache.save_all(file, ids);
}

/// A cache that holds a sequence and a kept page, whose room loading save_tiny_pool() would need;
/// what is refused must not touch them.
class Bystander {
 public:
  explicit Bystander(const KvCacheShape& shape) : cache_(with_pages(shape, 11)) {
    Rng rng(2);
    s_ = cache_.create();
    append_random(cache_, s_, 5, rng);
    const Sequence published = cache_.create();
    append_random(cache_, published, 16, rng);
    cache_.publish(published, std::vector<std::int32_t>(16, 1));
    cache_.release(published);
    contents_ = contents(cache_, s_);
  }

  /// What load() says, or load_all().
  std::string says(const std::filesystem::path& file) {
    const std::string words = failure([&] { cache_.load_all(file); });
    EXPECT_EQ(contents(cache_, s_), contents_);
    const KvCacheStats stats = cache_.stats();
    EXPECT_EQ(stats.num_sequences, 1);
    EXPECT_EQ(stats.used_pages, 1);
    EXPECT_EQ(stats.kept_pages, 1);
    return words;
  }

 private:
  static KvCacheShape with_pages(KvCacheShape shape, std::int64_t pages) {
    shape.budget_bytes = pages * PagedKvCache(shape).stats().page_bytes;
    return shape;
  }

  PagedKvCache cache_;
  Sequence s_ = 0;
  std::string contents_;
};

/// Says what loading `bytes` says, without the path.
class Refusals {
 public:
  explicit Refusals(const KvCacheShape& shape = tiny_shape()) : bystander_(shape) {}
  std::string operator()(const std::string& bytes) {
    const std::filesystem::path file = folder_ / "changed";
    write_bytes(file, bytes);
    const std::string words = bystander_.says(file), prefix = file.string() + ": ";
    return words.starts_with(prefix) ? words.substr(prefix.size()) : "without the path: " + words;
  }

 private:
  TempFolder folder_;
  Bystander bystander_;
};

template <class T>
std::string with(std::string bytes, std::size_t at, T x) {
  std::memcpy(bytes.data() + at, &x, sizeof x);
  return bytes;
}

TEST(KvCacheDamage, EveryBitOfAFileMatters) {
  const TempFolder folder;
  int flips = 0;
  for (const DType dtype : {DType::kF16, DType::kI8}) {
    save_tiny_pool(folder / "pool", dtype);
    const std::string bytes = read_bytes(folder / "pool"), prefix = (folder / "pool").string();
    std::fstream file(folder / "pool", std::ios::in | std::ios::out | std::ios::binary);
    const auto put = [&](std::size_t at, int byte) {
      file.seekp(static_cast<std::streamoff>(at)).put(static_cast<char>(byte)).flush();
    };
    Bystander bystander(tiny_shape(dtype));
    for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit, ++flips) {
      put(bit / 8, bytes[bit / 8] ^ 1 << bit % 8);
      ASSERT_TRUE(bystander.says(folder / "pool").starts_with(prefix + ": byte")) << "bit " << bit;
      put(bit / 8, bytes[bit / 8]);
    }
    PagedKvCache cache(tiny_shape(dtype));
    EXPECT_EQ(cache.load_all(folder / "pool").size(), 3U) << "unchanged it is right";
  }
  EXPECT_GT(flips, 20'000);
  RecordProperty("flips", flips);
}

TEST(KvCacheDamage, EveryLengthButTheRightOneIsRefused) {
  const TempFolder folder;
  save_tiny_pool(folder / "pool", DType::kI8);
  const std::string bytes = read_bytes(folder / "pool");
  Refusals says(tiny_shape(DType::kI8));
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_EQ(says(bytes.substr(0, size)),
              "has " + std::to_string(size) + " bytes, expected " +
                  (size < 68 ? "at least 68" : std::to_string(bytes.size()) + " (its header's)"));
    // And where its header says so too, and all checksums are right.
    const std::string cut = with_right_checksums(bytes.substr(0, size), tiny_shape(DType::kI8));
    EXPECT_NE(says(cut), "without the path: nothing thrown") << size;
  }
  for (const std::size_t more : {1U, 4U, 16U, 5000U}) {
    const std::string longer = bytes + std::string(more, '\0');
    const std::string sizes =
        "has " + std::to_string(longer.size()) + " bytes, expected " + std::to_string(bytes.size());
    EXPECT_EQ(says(longer), sizes + " (its header's)");
    EXPECT_EQ(says(with_right_checksums(longer, tiny_shape(DType::kI8))), sizes + " (its table's)");
  }
}

TEST(KvCacheDamage, ThePlaceIsNamed) {
  const TempFolder folder;
  save_tiny_sequence(folder / "cache");
  const std::string bytes = read_bytes(folder / "cache");
  Refusals says;
  const std::size_t records = kBlocks + 8 + 4, record = 192 + 4;
  ASSERT_EQ(bytes.size(), records + record + 48 + 4);
  const auto range = [](std::size_t begin, std::size_t end) {
    return "bytes " + std::to_string(begin) + ".." + std::to_string(end - 1) + ": ";
  };
  EXPECT_TRUE(says(with(bytes, 40, '\7')).starts_with("bytes 0..63: the header is damaged, its "));
  EXPECT_TRUE(says(with(bytes, kOwner, '\7'))
                  .starts_with(range(kTable, records) + "the table is damaged, its checksum is "));
  EXPECT_TRUE(says(with(bytes, records + 7, '\7'))
                  .starts_with(range(records, records + record) + "block 0 is damaged, its "));
  EXPECT_TRUE(says(with(bytes, records + record + 7, '\7'))
                  .starts_with(range(records + record, bytes.size()) + "block 1 is damaged, its "));
}

TEST(KvCacheDamage, WholeRecordsInAnothersPlaceAreFound) {
  const TempFolder folder;
  Rng rng(1);
  PagedKvCache cache(tiny_shape());
  const Sequence s = cache.create();
  append_random(cache, s, 64, rng);
  cache.save(s, folder / "cache");
  std::string bytes = read_bytes(folder / "cache");
  const std::size_t record = 192 + 4;
  const std::string second = bytes.substr(bytes.size() - 3 * record, record);
  bytes.replace(bytes.size() - 3 * record, record, bytes, bytes.size() - 2 * record, record);
  bytes.replace(bytes.size() - 2 * record, record, second);
  EXPECT_NE(Refusals()(bytes).find("block 1 is damaged"), std::string::npos);
}

TEST(KvCacheDamage, AnotherCachesFileIsRefusedByName) {
  const TempFolder folder;
  save_tiny_sequence(folder / "cache");
  const std::string bytes = read_bytes(folder / "cache");
  const auto says = [&](auto change) {
    KvCacheShape shape = tiny_shape();
    change(shape);
    return Refusals(shape)(bytes);
  };
  EXPECT_EQ(says([](KvCacheShape& s) { s.dtype = DType::kI8; }),
            "dtype is f32, expected int8 (the cache's)");
  EXPECT_EQ(says([](KvCacheShape& s) { s.num_layers = 2; }),
            "num_layers is 1, expected 2 (the cache's)");
  EXPECT_EQ(says([](KvCacheShape& s) { s.num_kv_heads = 3; }),
            "num_kv_heads is 1, expected 3 (the cache's)");
  EXPECT_EQ(says([](KvCacheShape& s) { s.head_dim = 4; }),
            "head_dim is 2, expected 4 (the cache's)");
  EXPECT_EQ(says([](KvCacheShape& s) { s.value_dim = 2; }),
            "value_dim is 1, expected 2 (the cache's)");
  EXPECT_EQ(says([](KvCacheShape& s) { s.fingerprint = "other\nmodel"; }),
            "fingerprint is \"model\", expected \"other?model\" (the cache's)");
  EXPECT_EQ(says([](KvCacheShape& s) { s.fingerprint = std::string(90, 'x'); }),
            "fingerprint is \"model\", expected \"" + std::string(80, 'x') + "...\" (the cache's)");
}

TEST(KvCacheDamage, OtherFormatsAndVersionsAreRefused) {
  const TempFolder folder;
  save_tiny_sequence(folder / "cache");
  const std::string bytes = read_bytes(folder / "cache");
  Refusals says;
  EXPECT_EQ(says(std::string(100, 'x')), "byte 0: is no key/value cache, expected \"regardkv\"");
  EXPECT_EQ(says(with(bytes, 8, std::uint32_t{2})), "byte 8: version is 2, expected 1");
  EXPECT_EQ(says(with_right_checksums(with(bytes, 12, std::uint32_t{9}), tiny_shape())),
            "dtype is 9, expected f32 (the cache's)");
}

TEST(KvCacheDamage, OneSequenceIsWantedAndManyAreThere) {
  const TempFolder folder;
  save_tiny_pool(folder / "pool", DType::kF32);
  PagedKvCache cache(tiny_shape());
  EXPECT_EQ(
      failure([&] { cache.load(folder / "pool"); }),
      (folder / "pool").string() + ": holds 3 sequences, expected 1 (load_all() reads any number)");
  EXPECT_EQ(cache.stats().num_sequences, 0);
}

/// A file in which one number has changed and every checksum is right.
TEST(KvCacheDamage, NumbersAreDistrusted) {
  const TempFolder folder;
  save_tiny_sequence(folder / "cache");
  const std::string bytes = read_bytes(folder / "cache");
  Refusals refusals;
  const auto says = [&](std::size_t at, auto x) {
    return refusals(with_right_checksums(with(bytes, at, x), tiny_shape()));
  };
  constexpr std::uint64_t kHuge = std::uint64_t{1} << 62;
  EXPECT_EQ(says(24, kHuge), "byte 24: table_bytes is 4611686018427387904, expected at most " +
                                 std::to_string(bytes.size() - 68));
  EXPECT_EQ(
      says(56, std::uint32_t{2}),
      "byte 144: owner is 1 times 8 bytes, expected no more than the table's 0 that are left");
  EXPECT_EQ(says(56, std::uint32_t{0}),
            "byte 77: the rest of the table is 67 bytes, expected nothing");
  EXPECT_EQ(
      says(kOwner, kHuge),
      "byte 85: owner is 4611686018427387904 times 1 bytes, expected no more than the table's "
      "59 that are left");
  EXPECT_EQ(says(kLength, std::int64_t{-1}), "byte 104: length is -1, expected 0..1099511627776");
  EXPECT_EQ(
      says(kLength, std::int64_t{1} << 40),
      "byte 136: blocks is 68719476736 times 4 bytes, expected no more than the table's 8 that "
      "are left");
  EXPECT_EQ(says(kLength + 8, std::int64_t{21}), "byte 112: evicted_begin is 21, expected 0..20");
  EXPECT_EQ(says(kLength + 16, std::int64_t{21}), "byte 120: evicted_end is 21, expected 0..20");
  EXPECT_EQ(says(kIds, kHuge),
            "byte 128: num_ids is 4611686018427387904 times 4 bytes, expected no more than the "
            "table's 16 that are left");
  EXPECT_EQ(says(kBlocks, 0xFFFFFFFFU),
            "byte 144: a block is missing, expected one: it has tokens");
  EXPECT_EQ(says(kBlocks, 1U), "byte 144: a block is 1, expected at most the next, 0");
  EXPECT_EQ(says(kBlocks + 4, 0U),
            "byte 144: a block is 0, expected one of its own place and owner");
  EXPECT_EQ(says(kLength, std::int64_t{18}),
            "has " + std::to_string(bytes.size()) + " bytes, expected " +
                std::to_string(bytes.size() - 24) + " (its table's)");
  EXPECT_EQ(says(kLength, std::int64_t{30}),
            "has " + std::to_string(bytes.size()) + " bytes, expected at least " +
                std::to_string(bytes.size() + 120) + " (its table's)");
}

TEST(KvCacheDamage, OwnersThatShareNothingShareNoBlocks) {
  const TempFolder folder;
  Rng rng(1);
  PagedKvCache cache(tiny_shape());
  const Sequence s = cache.create({.owner = "ann"});
  append_random(cache, s, 16, rng);
  cache.fork(s);
  cache.save_all(folder / "pool");
  std::string bytes = read_bytes(folder / "pool");
  bytes.replace(bytes.rfind("ann"), 3, "bob");
  EXPECT_NE(Refusals()(with_right_checksums(bytes, tiny_shape()))
                .find("a block is 0, expected one of its own place and owner"),
            std::string::npos);
}

TEST(KvCacheDamage, AnOwnersNameStaysOnItsLine) {
  const TempFolder folder;
  Rng rng(1);
  PagedKvCache cache(tiny_shape());
  append_random(cache, cache.create({.owner = "a\nb"}), 200, rng);
  cache.save_all(folder / "pool");
  EXPECT_EQ(Bystander(tiny_shape()).says(folder / "pool"),
            "kv_cache: owner \"a?b\" needs 13 more pages of 192 bytes, 10 of 11 are left; used: "
            "\"\" 1 in 1 sequence");
}

TEST(KvCacheDamage, ScalesAreFiniteAndNotNegative) {
  const TempFolder folder;
  save_tiny_sequence(folder / "cache", DType::kI8);
  const std::string bytes = read_bytes(folder / "cache");
  Refusals refusals(tiny_shape(DType::kI8));
  const std::size_t records = kBlocks + 8 + 4;
  for (const auto& [scale, text] :
       {std::pair{-1.0F, "-1.000000"}, std::pair{std::numeric_limits<float>::infinity(), "inf"},
        std::pair{std::nanf(""), "nan"}}) {
    const std::string changed =
        with_right_checksums(with(bytes, records + 2, scale), tiny_shape(DType::kI8));
    EXPECT_EQ(refusals(changed), "byte " + std::to_string(records + 2) +
                                     ": a scale of block 0 is " + text +
                                     ", expected a finite number, 0 or more");
  }
}

TEST(KvCacheDamage, WhatIsNoFileIsRefused) {
  const TempFolder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  Bystander bystander(tiny_shape());
  const auto says = [&](const char* name) {
    return bystander.says(folder / name).substr((folder / name).string().size());
  };
  EXPECT_EQ(says("nothing"), ": cannot be opened: No such file or directory");
  EXPECT_EQ(says("pipe"), ": is not a regular file");
  EXPECT_EQ(says("."), ": is not a regular file");
  EXPECT_EQ(bystander.says("/dev/zero"), "/dev/zero: is not a regular file");
}

TEST(KvCacheDamage, AFileThatIsLargerThanItsDiskTakesNoMemory) {
  const TempFolder folder;
  save_tiny_sequence(folder / "cache");
  constexpr std::uint64_t kSize = std::uint64_t{1} << 42;  // of nothing, which the header admits to
  std::string bytes = with(with(read_bytes(folder / "cache"), 16, kSize), 24, kSize - 68);
  bytes = with(bytes, 60, cache::crc32c(std::as_bytes(std::span(bytes)).first(60)));
  write_bytes(folder / "sparse", bytes);
  std::filesystem::resize_file(folder / "sparse", kSize);
  Bystander bystander(tiny_shape());
  EXPECT_EQ(bystander.says(folder / "sparse"),
            (folder / "sparse").string() +
                ": byte 24: table_bytes is 4398046511036, expected at most 1073741824");
}

}  // namespace
}  // namespace regard::test
