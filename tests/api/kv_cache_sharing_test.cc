// tests/api/kv_cache_sharing_test.cc - sequences that share, copy, forget and give back pages; who
// may see whose; the budget.
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <memory_resource>
#include <new>
#include <numeric>

#include "regard/kv_cache.h"
#include "support/random.h"
#include "support/refusal.h"

namespace regard::test {
namespace {

using Sequence = PagedKvCache::Sequence;
using Ids = std::vector<std::int32_t>;

constexpr std::int64_t kPage = 16;

KvCacheShape tiny_shape(std::int64_t pages) {
  KvCacheShape shape;
  shape.num_layers = 1;
  shape.num_kv_heads = 1;
  shape.head_dim = shape.value_dim = 16;
  shape.page_size = kPage;
  shape.budget_bytes = pages * 2 * 16 * kPage * 4;
  return shape;
}

/// Appends one token whose key and value are all `x`.
void append(PagedKvCache& cache, Sequence s, float x) {
  const std::vector<float> row(16, x);
  const std::int64_t at = cache.extend(s, 1);
  cache.write(0, s, at, InputView<3>(row.data(), {1, 1, 16}), InputView<3>(row.data(), {1, 1, 16}));
}

void append_all(PagedKvCache& cache, Sequence s, const Ids& ids) {
  for (const std::int32_t id : ids) append(cache, s, static_cast<float>(id));
}

/// The first number of every key; all numbers of a row must be it, in keys and values.
std::vector<float> contents(const PagedKvCache& cache, Sequence s) {
  const std::int64_t n = cache.length(s);
  std::vector<float> key(static_cast<std::size_t>(n * 16)), value(key.size());
  cache.read(0, s, {key.data(), {1, n, 16}}, {value.data(), {1, n, 16}});
  EXPECT_EQ(key, value);
  std::vector<float> firsts;
  for (std::int64_t i = 0; i < n; ++i) {
    firsts.push_back(key[static_cast<std::size_t>(i * 16)]);
    for (std::int64_t j = 0; j < 16; ++j)
      EXPECT_EQ(key[static_cast<std::size_t>(i * 16 + j)], firsts.back());
  }
  return firsts;
}

Ids range(std::int32_t first, std::int32_t count) {
  Ids ids(static_cast<std::size_t>(count));
  std::iota(ids.begin(), ids.end(), first);
  return ids;
}

std::vector<float> floats(const Ids& ids) { return {ids.begin(), ids.end()}; }

template <class Error, class F>
std::string message_of(F f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing thrown";
}

TEST(KvCacheSharing, ForksShareUntilOneWrites) {
  PagedKvCache cache(tiny_shape(100));
  const Sequence a = cache.create();
  append_all(cache, a, range(0, 40));
  const Sequence b = cache.fork(a);
  EXPECT_EQ(cache.stats().used_pages, 3);
  EXPECT_EQ(cache.stats().saved_pages, 3);
  append(cache, b, 1000);
  EXPECT_EQ(cache.stats().used_pages, 4) << "only the last page was copied";
  append(cache, a, 2000);
  EXPECT_EQ(cache.stats().used_pages, 4) << "the other's last page is its own by now";
  EXPECT_EQ(contents(cache, a).back(), 2000);
  EXPECT_EQ(contents(cache, b).back(), 1000);
  EXPECT_EQ(contents(cache, a)[39], 39);
  const std::vector<float> row(16, 7.0F);
  cache.write(0, b, 3, InputView<3>(row.data(), {1, 1, 16}), InputView<3>(row.data(), {1, 1, 16}));
  EXPECT_EQ(contents(cache, a)[3], 3) << "a page in the middle is copied too";
  EXPECT_EQ(contents(cache, b)[3], 7);
  cache.release(a);
  EXPECT_EQ(contents(cache, b)[38], 38);
  cache.release(b);
  EXPECT_EQ(cache.stats().used_pages, 0);
}

TEST(KvCacheSharing, TruncateForgetsAndGoesOn) {
  PagedKvCache cache(tiny_shape(100));
  const Sequence a = cache.create();
  append_all(cache, a, range(0, 50));
  const Sequence b = cache.fork(a);
  cache.truncate(a, 20);
  EXPECT_EQ(cache.length(a), 20);
  append_all(cache, a, range(500, 20));
  Ids expected = range(0, 20);
  for (const std::int32_t id : range(500, 20)) expected.push_back(id);
  EXPECT_EQ(contents(cache, a), floats(expected));
  EXPECT_EQ(contents(cache, b), floats(range(0, 50)));
  cache.truncate(a, 0);
  EXPECT_EQ(contents(cache, a), std::vector<float>());
}

TEST(KvCacheSharing, EvictGivesBackPagesAndKeepsPositions) {
  PagedKvCache cache(tiny_shape(100));
  const Sequence s = cache.create();
  append_all(cache, s, range(0, 200));
  EXPECT_EQ(cache.stats().used_pages, 13);
  cache.evict(s, 4, 40);
  // Whole pairs of pages (32 keys) within [4, 160): 32..160.
  EXPECT_EQ(cache.stats().used_pages, 13 - 8);
  EXPECT_EQ(cache.length(s), 200);
  const auto left = contents(cache, s);
  EXPECT_EQ(left[3], 3);
  EXPECT_EQ(left[160], 160);
  append(cache, s, 200);
  EXPECT_EQ(contents(cache, s)[200], 200);
  const std::vector<float> row(16, 7.0F);
  const InputView<3> view(row.data(), {1, 1, 16});
  EXPECT_EQ(refusal([&] { cache.write(0, s, 50, view, view); }),
            "kv_cache: position is 50, expected outside of 4..159, which were evicted");
  cache.evict(s, 4, 1000);  // nothing to do
  EXPECT_EQ(cache.stats().used_pages, 5);
}

TEST(KvCacheSharing, PrefixesAreFoundByTheirIds) {
  PagedKvCache cache(tiny_shape(100));
  const Ids ids = range(0, 50);
  const Sequence a = cache.create({.owner = "ann", .share_with = ""});
  append_all(cache, a, ids);
  cache.publish(a, ids);
  const Sequence b = cache.create({.owner = "ann", .share_with = ""});
  EXPECT_EQ(cache.adopt(b, ids), 48);
  EXPECT_EQ(cache.length(b), 48);
  EXPECT_EQ(contents(cache, b), floats(range(0, 48)));
  Ids other = ids;
  other[20] = 999;
  const Sequence c = cache.create({.owner = "ann", .share_with = ""});
  EXPECT_EQ(cache.adopt(c, other), 16) << "the first page is the same";
  const Sequence d = cache.create({.owner = "ann", .share_with = ""});
  EXPECT_EQ(cache.adopt(d, range(0, 48)), 32) << "something must be left to run";
  other[0] = 999;
  EXPECT_EQ(cache.adopt(cache.create({.owner = "ann", .share_with = ""}), other), 0);
  EXPECT_EQ(cache.stats().used_pages, 4);
  EXPECT_EQ(cache.stats().looked_up_tokens, 50 + 50 + 48 + 50);
  EXPECT_EQ(cache.stats().found_tokens, 48 + 16 + 32);
}

TEST(KvCacheSharing, OwnersSeeNothingOfEachOther) {
  PagedKvCache cache(tiny_shape(100));
  const Ids ids = range(0, 64);
  const auto fill = [&](SequenceOptions options) {
    const Sequence s = cache.create(std::move(options));
    append_all(cache, s, ids);
    cache.publish(s, ids);
  };
  const auto found = [&](SequenceOptions options) {
    return cache.adopt(cache.create(std::move(options)), ids);
  };
  fill({.owner = "ann", .share_with = ""});
  EXPECT_EQ(found({.owner = "bob", .share_with = ""}), 0);
  EXPECT_EQ(found({.owner = "bob", .share_with = "ann"}), 0) << "to ask alone does not do";
  EXPECT_EQ(found({.owner = "", .share_with = "owner ann"}), 0) << "nor does a clever name";
  fill({.owner = "ann", .share_with = "team"});
  EXPECT_EQ(found({.owner = "bob", .share_with = ""}), 0);
  EXPECT_EQ(found({.owner = "bob", .share_with = "club"}), 0);
  EXPECT_EQ(found({.owner = "bob", .share_with = "team"}), 48);
}

TEST(KvCacheSharing, EqualPagesAreKeptOnce) {
  PagedKvCache cache(tiny_shape(100));
  const Ids ids = range(0, 48);
  const Sequence a = cache.create(), b = cache.create();
  append_all(cache, a, ids);
  append_all(cache, b, ids);
  EXPECT_EQ(cache.stats().used_pages, 6);
  cache.publish(a, ids);
  cache.publish(b, ids);
  EXPECT_EQ(cache.stats().used_pages, 3);
  EXPECT_EQ(contents(cache, b), floats(ids));
}

TEST(KvCacheSharing, PublishedPagesAreKeptUntilTheirRoomIsNeeded) {
  PagedKvCache cache(tiny_shape(6));
  const auto fill = [&](std::int32_t first) {
    const Sequence s = cache.create();
    append_all(cache, s, range(first, 48));
    cache.publish(s, range(first, 48));
    cache.release(s);
  };
  fill(0);
  fill(100);
  EXPECT_EQ(cache.stats().kept_pages, 6);
  EXPECT_EQ(cache.stats().used_pages, 0);
  const Sequence user = cache.create();
  EXPECT_EQ(cache.adopt(user, range(0, 49)), 48) << "what is of use gets younger";
  cache.release(user);
  const Sequence big = cache.create();
  append_all(cache, big, range(1000, 32));  // two pages: the oldest leaves go
  EXPECT_EQ(cache.stats().kept_pages, 4);
  EXPECT_EQ(cache.adopt(cache.create(), range(100, 49)), 16) << "its root was the last to go";
  EXPECT_EQ(cache.adopt(cache.create(), range(0, 49)), 48);
}

TEST(KvCacheSharing, TheBudgetIsABoundAndNothingIsLostAtIt) {
  PagedKvCache cache(tiny_shape(4));
  const Sequence a = cache.create({.owner = "ann", .share_with = ""}),
                 b = cache.create({.owner = "bob", .share_with = ""});
  append_all(cache, a, range(0, 40));
  append_all(cache, b, range(100, 16));
  EXPECT_EQ(message_of<CacheFull>([&] { cache.extend(b, 17); }),
            "kv_cache: owner \"bob\" needs 2 more pages of 2048 bytes, 0 of 4 are left; used: "
            "\"ann\" 3 in 1 sequence, \"bob\" 1 in 1 sequence");
  EXPECT_EQ(cache.length(b), 16);
  EXPECT_EQ(contents(cache, a), floats(range(0, 40)));
  EXPECT_EQ(contents(cache, b), floats(range(100, 16)));
  const Sequence c = cache.fork(a);
  EXPECT_THROW(cache.extend(c, 1), CacheFull) << "the copy of a shared page needs one";
  EXPECT_EQ(cache.extend(a, 0), 40);
  cache.release(b);
  EXPECT_EQ(cache.extend(c, 1), 40);
  EXPECT_EQ(contents(cache, a), floats(range(0, 40)));
}

/// Memory that can be looked at after it was given back, and that fails when told to.
class WatchedMemory : public std::pmr::memory_resource {
 public:
  std::int64_t fail_after = -1;  ///< so many allocations succeed
  std::int64_t outstanding = 0;

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    if (fail_after == 0) throw std::bad_alloc();
    if (fail_after > 0) --fail_after;
    ++outstanding;
    return ::operator new(bytes, std::align_val_t(alignment));
  }
  void do_deallocate(void* p, std::size_t, std::size_t alignment) override {
    --outstanding;
    ::operator delete(p, std::align_val_t(alignment));
  }
  bool do_is_equal(const memory_resource& other) const noexcept override { return this == &other; }
};

TEST(KvCacheSharing, FreedPagesAreWiped) {
  PagedKvCache cache(tiny_shape(3));
  const Sequence a = cache.create({.owner = "ann", .share_with = ""});
  append_all(cache, a, range(1, 48));
  cache.release(a);
  const Sequence b = cache.create({.owner = "bob", .share_with = ""});
  cache.extend(b, 48);
  EXPECT_EQ(contents(cache, b), std::vector<float>(48, 0.0F));
}

TEST(KvCacheSharing, AFailedAllocationLosesAndLeaksNothing) {
  WatchedMemory memory;
  {
    KvCacheShape shape = tiny_shape(100);
    shape.memory = &memory;
    PagedKvCache cache(shape);
    const Sequence a = cache.create();
    append_all(cache, a, range(0, 20));
    const Sequence b = cache.fork(a);
    for (std::int64_t n = 0; n < 4; ++n) {
      memory.fail_after = n == 0 ? 0 : 1;  // what was got stays in the pool
      EXPECT_THROW(cache.extend(b, 40 * kPage), std::bad_alloc);
      EXPECT_EQ(cache.length(b), 20);
      EXPECT_EQ(contents(cache, a), floats(range(0, 20)));
      EXPECT_EQ(contents(cache, b), floats(range(0, 20)));
    }
    memory.fail_after = -1;
    cache.extend(b, 40 * kPage);
    PagedKvCache moved = std::move(cache);
    EXPECT_EQ(contents(moved, a), floats(range(0, 20)));
  }
  EXPECT_EQ(memory.outstanding, 0);
}

TEST(KvCacheSharing, RandomOperationsAgreeWithASlowModel) {
  for (const std::uint64_t seed : trial_seeds(4)) {
    REGARD_TRIAL(seed);
    Rng rng(seed);
    PagedKvCache cache(tiny_shape(60));
    std::map<Sequence, Ids> model;
    const auto any = [&] {
      return std::next(model.begin(), rng.integer(0, std::ssize(model) - 1));
    };
    for (int step = 0; step < 1500; ++step) {
      const std::int64_t what = model.empty() ? 0 : rng.integer(0, 9);
      if (what == 0) {
        const Sequence s = cache.create();
        Ids ids = range(0, static_cast<std::int32_t>(rng.integer(1, 80)));
        ids.resize(static_cast<std::size_t>(cache.adopt(s, ids)));
        model[s] = ids;
      } else if (what <= 4) {
        const auto at = any();
        const auto count = rng.integer(0, 30);
        try {
          for (std::int64_t i = 0; i < count; ++i) {
            // Mostly the same continuation, so that prefixes meet.
            const auto id = rng.chance(0.97) ? static_cast<std::int32_t>(at->second.size())
                                             : static_cast<std::int32_t>(rng.integer(500, 505));
            append(cache, at->first, static_cast<float>(id));
            at->second.push_back(id);
          }
        } catch (const CacheFull&) {
        }
      } else if (what == 5) {
        const auto at = any();
        const auto length = rng.integer(0, std::ssize(at->second));
        cache.truncate(at->first, length);
        at->second.resize(static_cast<std::size_t>(length));
      } else if (what == 6) {
        const auto at = any();
        model[cache.fork(at->first)] = at->second;
      } else if (what == 7) {
        const auto at = any();
        cache.publish(at->first, at->second);
      } else {
        const auto at = any();
        if (model.size() < 4 && rng.chance(0.5)) continue;
        cache.release(at->first);
        model.erase(at);
      }
      for (const auto& [s, ids] : model) ASSERT_EQ(contents(cache, s), floats(ids)) << step;
      const KvCacheStats stats = cache.stats();
      ASSERT_LE(stats.used_pages + stats.kept_pages, stats.num_pages);
      ASSERT_GE(stats.saved_pages, 0);
    }
    for (const auto& [s, ids] : model) cache.release(s);
    EXPECT_EQ(cache.stats().used_pages, 0);
  }
}

TEST(KvCacheSharing, TenThousandSequencesCostOnePrefixAndTheirTails) {
  PagedKvCache cache(tiny_shape(256 + 10'000));
  const Ids ids = range(0, 4096);
  const Sequence first = cache.create();
  append_all(cache, first, ids);
  for (int i = 1; i < 10'000; ++i) append(cache, cache.fork(first), 1.0F);
  EXPECT_EQ(cache.stats().used_pages, 256 + 9'999);
  EXPECT_EQ(cache.stats().saved_pages, 256 * 9'999);
}

}  // namespace
}  // namespace regard::test
