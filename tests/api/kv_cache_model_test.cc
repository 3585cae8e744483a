// tests/api/kv_cache_model_test.cc - random lives of many sequences beside a model that copies
// everything; what is forgotten is gone; pages are found by all that came before them.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iterator>
#include <map>

#include "regard/kv_cache.h"
#include "support/random.h"
#include "support/refusal.h"

namespace regard::test {
namespace {

using Sequence = PagedKvCache::Sequence;
using Ids = std::vector<std::int32_t>;

constexpr std::int64_t kHeads = 2, kDim = 8, kValueDim = 4;

KvCacheShape model_shape(std::int64_t page_size, std::int64_t pages) {
  KvCacheShape shape;
  shape.num_kv_heads = kHeads;
  shape.head_dim = kDim;
  shape.value_dim = kValueDim;
  shape.page_size = page_size;
  shape.budget_bytes = pages * kHeads * page_size * (kDim + kValueDim) * 4;
  return shape;
}

/// What a model would compute at the end of `ids`: it depends on all of them.
float number_of(std::span<const std::int32_t> ids) {
  std::uint32_t hash = 1;
  for (const std::int32_t id : ids) hash = hash * 31 + static_cast<std::uint32_t>(id) + 7;
  return static_cast<float>(hash % 0xFFFFFFU + 1);
}

void write(PagedKvCache& cache, Sequence s, std::int64_t position, std::span<const float> numbers) {
  const auto n = std::ssize(numbers);
  std::vector<float> key(static_cast<std::size_t>(kHeads * n * kDim)),
      value(static_cast<std::size_t>(kHeads * n * kValueDim));
  for (std::int64_t row = 0; row < kHeads * n; ++row) {
    const float x = numbers[static_cast<std::size_t>(row % n)];
    std::fill_n(key.begin() + row * kDim, kDim, x);
    std::fill_n(value.begin() + row * kValueDim, kValueDim, -x);
  }
  cache.write(0, s, position, InputView<3>(key.data(), {kHeads, n, kDim}),
              InputView<3>(value.data(), {kHeads, n, kValueDim}));
}

/// One number for each token, NaN where it was evicted; all its rows must agree.
std::vector<float> read(const PagedKvCache& cache, Sequence s) {
  const std::int64_t n = cache.length(s);
  const float none = std::nanf("");
  std::vector<float> key(static_cast<std::size_t>(kHeads * n * kDim), none),
      value(static_cast<std::size_t>(kHeads * n * kValueDim), none), numbers;
  cache.read(0, s, {key.data(), {kHeads, n, kDim}}, {value.data(), {kHeads, n, kValueDim}});
  const auto same = [](float a, float b) { return a == b || (std::isnan(a) && std::isnan(b)); };
  for (std::int64_t i = 0; i < n; ++i) {
    const float x = key[static_cast<std::size_t>(i * kDim)];
    for (std::int64_t row = i; row < kHeads * n; row += n) {
      for (std::int64_t d = 0; d < kDim; ++d)
        EXPECT_TRUE(same(key[static_cast<std::size_t>(row * kDim + d)], x));
      for (std::int64_t d = 0; d < kValueDim; ++d)
        EXPECT_TRUE(same(-value[static_cast<std::size_t>(row * kValueDim + d)], x));
    }
    numbers.push_back(x);
  }
  return numbers;
}

/// A sequence as the model has it. Of `written` tokens it knows the ids; the rest are zeros.
struct Modelled {
  SequenceOptions options;
  Ids ids;
  std::vector<float> numbers;
  std::int64_t evicted_begin = 0, evicted_end = 0;
};

class Lives {
 public:
  explicit Lives(std::uint64_t seed)
      : rng_(seed), page_(rng_.pick({16, 48})), cache_(model_shape(page_, rng_.integer(6, 60))) {}

  void step() {
    const auto what = model_.empty() ? 0 : rng_.integer(0, 11);
    try {
      if (what <= 1) return create();
      const auto at = std::next(model_.begin(), rng_.integer(0, std::ssize(model_) - 1));
      if (what <= 4) return go_on(at->first, at->second);
      if (what == 5) return rewrite(at->first, at->second);
      if (what == 6) return truncate(at->first, at->second);
      if (what == 7) return evict(at->first, at->second);
      if (what == 8) return fork(at->first, at->second);
      if (what <= 10) return publish(at->first, at->second);
      cache_.release(at->first);
      model_.erase(at);
    } catch (const CacheFull&) {
      ++full_;
    }
  }

  void expect_same() const {
    for (const auto& [s, m] : model_) {
      std::vector<float> want = m.numbers;
      for (std::int64_t i = m.evicted_begin; i < m.evicted_end; ++i)
        want[static_cast<std::size_t>(i)] = std::nanf("");
      const std::vector<float> got = read(cache_, s);
      ASSERT_EQ(got.size(), want.size());
      for (std::size_t i = 0; i < got.size(); ++i)
        ASSERT_TRUE(got[i] == want[i] || (std::isnan(got[i]) && std::isnan(want[i])))
            << "sequence " << s << ", token " << i << ": " << got[i] << ", not " << want[i];
      ASSERT_EQ(cache_.options(s).owner, m.options.owner);
    }
    const KvCacheStats stats = cache_.stats();
    ASSERT_LE(stats.used_pages + stats.kept_pages, stats.num_pages);
    ASSERT_GE(stats.saved_pages, 0);
    ASSERT_GE(stats.wasted_bytes, 0);
    ASSERT_LT(stats.wasted_bytes, stats.used_bytes() + 1);
    ASSERT_EQ(stats.num_sequences, std::ssize(model_));
  }

  void end() {
    for (const auto& [s, m] : model_) cache_.release(s);
    EXPECT_EQ(cache_.stats().used_pages, 0);
    EXPECT_EQ(cache_.stats().saved_pages, 0);
  }

  std::int64_t found() const { return cache_.stats().found_tokens; }
  std::int64_t full() const { return full_; }

 private:
  /// Mostly the same ids at the same places, so that prefixes meet.
  std::int32_t next_id(const Ids& ids) {
    return rng_.chance(0.98) ? static_cast<std::int32_t>(ids.size() % 7)
                             : static_cast<std::int32_t>(rng_.integer(10, 12));
  }
  static std::vector<float> numbers_of(const Ids& ids) {
    std::vector<float> numbers;
    for (std::size_t i = 0; i < ids.size(); ++i)
      numbers.push_back(number_of(std::span(ids).first(i + 1)));
    return numbers;
  }

  void create() {
    Modelled m;
    m.options = {rng_.pick({"ann", "bob"}), rng_.pick({"", "", "team"})};
    const Sequence s = cache_.create(m.options);
    for (std::int64_t n = rng_.integer(0, 150); n > 0; --n) m.ids.push_back(next_id(m.ids));
    m.ids.resize(static_cast<std::size_t>(cache_.adopt(s, m.ids)));
    m.numbers = numbers_of(m.ids);
    model_[s] = m;
  }
  void go_on(Sequence s, Modelled& m) {
    const std::int64_t count = rng_.integer(0, 60), at = cache_.extend(s, count);
    const bool writes = m.ids.size() == m.numbers.size() && rng_.chance(0.9);
    m.numbers.resize(m.numbers.size() + static_cast<std::size_t>(count), 0.0F);
    if (!writes) return;
    for (std::int64_t n = 0; n < count; ++n) m.ids.push_back(next_id(m.ids));
    m.numbers = numbers_of(m.ids);
    write(cache_, s, at, std::span(m.numbers).subspan(static_cast<std::size_t>(at)));
  }
  void rewrite(Sequence s, Modelled& m) {
    if (m.ids.empty() || m.evicted_end > 0) return;
    const auto at = static_cast<std::size_t>(rng_.integer(0, std::ssize(m.ids) - 1));
    Ids ids = m.ids;
    ids[at] = static_cast<std::int32_t>(rng_.integer(10, 12));
    const std::vector<float> numbers = numbers_of(ids);
    write(cache_, s, static_cast<std::int64_t>(at), std::span(numbers).subspan(at));
    m.ids = ids;
    std::ranges::copy(numbers, m.numbers.begin());
  }
  void truncate(Sequence s, Modelled& m) {
    const std::int64_t length = rng_.integer(0, std::ssize(m.numbers));
    cache_.truncate(s, length);
    m.numbers.resize(static_cast<std::size_t>(length));
    m.ids.resize(std::min(m.ids.size(), m.numbers.size()));
    m.evicted_end = std::min(m.evicted_end, length);
    if (m.evicted_begin >= m.evicted_end) m.evicted_begin = m.evicted_end = 0;
  }
  void evict(Sequence s, Modelled& m) {
    const std::int64_t first = rng_.integer(0, 40), last = rng_.integer(0, 60);
    const std::int64_t end = std::ssize(m.numbers) - last;
    const bool touches = m.evicted_end == 0 || (first <= m.evicted_end && end >= m.evicted_begin);
    if (first < end && !touches) {
      EXPECT_THROW(cache_.evict(s, first, last), std::invalid_argument);
      return;
    }
    cache_.evict(s, first, last);
    if (first >= end) return;
    m.evicted_begin = m.evicted_end == 0 ? first : std::min(m.evicted_begin, first);
    m.evicted_end = std::max(m.evicted_end, end);
  }
  void fork(Sequence s, const Modelled& m) {
    if (model_.size() < 40) model_[cache_.fork(s)] = m;
  }
  void publish(Sequence s, const Modelled& m) {
    if (m.ids.size() == m.numbers.size()) cache_.publish(s, m.ids);
  }

  Rng rng_;
  std::int64_t page_;
  PagedKvCache cache_;
  std::map<Sequence, Modelled> model_;
  std::int64_t full_ = 0;
};

TEST(KvCacheModel, RandomLivesAgreeWithCopies) {
  std::int64_t found = 0, full = 0;
  for (const std::uint64_t seed : trial_seeds(12)) {
    REGARD_TRIAL(seed);
    Lives lives(seed);
    for (int step = 0; step < 1000; ++step) {
      lives.step();
      lives.expect_same();
      if (HasFatalFailure()) return;
    }
    found += lives.found();
    full += lives.full();
    lives.end();
  }
  EXPECT_GT(found, 0) << "no trial ever met a prefix";
  EXPECT_GT(full, 0) << "nor the budget";
}

PagedKvCache::Sequence filled(PagedKvCache& cache, const Ids& ids, const std::string& owner = "") {
  const Sequence s = cache.create({owner, ""});
  std::vector<float> numbers;
  for (std::size_t i = 0; i < ids.size(); ++i)
    numbers.push_back(number_of(std::span(ids).first(i + 1)));
  write(cache, s, cache.extend(s, std::ssize(ids)), numbers);
  return s;
}

TEST(KvCacheModel, WhatWasTruncatedReadsAsZeros) {
  PagedKvCache cache(model_shape(16, 20));
  const Sequence s = filled(cache, Ids(48, 1)), other = cache.fork(s);
  cache.truncate(s, 40);  // the page is shared
  cache.truncate(other, 42);
  cache.extend(s, 3);
  cache.release(s);
  cache.truncate(other, 37);  // and now it is not
  cache.extend(other, 2);
  cache.extend(other, 20);
  const std::vector<float> numbers = read(cache, other);
  EXPECT_NE(numbers[36], 0);
  EXPECT_EQ(std::vector<float>(numbers.begin() + 37, numbers.end()), std::vector<float>(22));
}

TEST(KvCacheModel, WhatWasTruncatedReadsAsZerosAfterAFileToo) {
  PagedKvCache cache(model_shape(16, 20)), other(model_shape(16, 20));
  const Sequence s = filled(cache, Ids(48, 1));
  cache.truncate(cache.fork(s), 40);
  const auto file = std::filesystem::temp_directory_path() /
                    ("regard_kv_cache_model_test." + std::to_string(getpid()));
  cache.save_all(file);
  const std::vector<SavedSequence> loaded = other.load_all(file);
  std::filesystem::remove(file);
  other.release(loaded[0].sequence);
  other.extend(loaded[1].sequence, 8);
  const std::vector<float> numbers = read(other, loaded[1].sequence);
  EXPECT_NE(numbers[39], 0);
  EXPECT_EQ(std::vector<float>(numbers.begin() + 40, numbers.end()), std::vector<float>(8));
}

/// Whoever published a page after others can rely on what it is found by.
TEST(KvCacheModel, APageIsFoundByAllThatCameBeforeIt) {
  PagedKvCache cache(model_shape(16, 20));
  Ids ids(32, 1);
  const Sequence a = filled(cache, ids);
  cache.publish(a, ids);
  const Sequence b = cache.fork(a);
  Ids other = ids;
  other[3] = 2;
  write(cache, a, 0,
        std::vector<float>(16, 5.0F));  // page 0 alone; it says that page 1 still holds
  cache.publish(a, other);
  ids.resize(48, 1);
  write(cache, b, cache.extend(b, 16), std::vector<float>(16, 6.0F));
  cache.publish(b, ids);
  ids.push_back(1);
  EXPECT_EQ(cache.adopt(cache.create(), ids), 48);
  other.resize(49, 1);
  EXPECT_EQ(cache.adopt(cache.create(), other), 16);
}

TEST(KvCacheModel, WhatWasEvictedIsNotPublished) {
  PagedKvCache cache(model_shape(16, 20));
  Ids ids(160, 1);
  const Sequence s = filled(cache, ids);
  cache.evict(s, 0, 40);
  cache.truncate(s, 70);
  cache.extend(s, 90);
  cache.publish(s, ids);
  EXPECT_EQ(cache.adopt(cache.create(), ids), 0);
}

TEST(KvCacheModel, EvictionsMakeOneRange) {
  PagedKvCache cache(model_shape(16, 20));
  const Sequence s = filled(cache, Ids(200, 1));
  cache.evict(s, 20, 100);  // 20..99
  EXPECT_EQ(refusal([&] { cache.evict(s, 101, 10); }),
            "kv_cache: keep_first is 101, expected 0..100");
  EXPECT_EQ(refusal([&] { cache.evict(s, 0, 181); }),
            "kv_cache: length - keep_last is 19, expected 20..200");
  cache.evict(s, 100, 50);
  cache.evict(s, 10, 180);
  const std::vector<float> numbers = read(cache, s);
  for (std::size_t i = 0; i < 200; ++i) EXPECT_EQ(std::isnan(numbers[i]), i >= 10 && i < 150) << i;
}

TEST(KvCacheModel, WastedBytesAreBeyondAllEnds) {
  PagedKvCache cache(model_shape(16, 20));
  const std::int64_t token = cache.stats().page_bytes / 16;
  const Sequence s = filled(cache, Ids(48, 1)), other = cache.fork(s);
  cache.truncate(other, 40);
  EXPECT_EQ(cache.stats().wasted_bytes, 0) << "the other sequence fills the page";
  cache.release(s);
  EXPECT_EQ(cache.stats().wasted_bytes, 8 * token);
  cache.extend(other, 9);
  EXPECT_EQ(cache.stats().wasted_bytes, 15 * token);
}

}  // namespace
}  // namespace regard::test
