// tests/api/kv_cache_memory_test.cc - when memory ends, a cache stays as it was, whichever
// allocation fails; what it costs beside its pages.
#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <memory_resource>
#include <new>
#include <numeric>

#include "regard/kv_cache.h"
#include "regard/plan.h"
#include "support/allocations.h"

namespace regard::test {
namespace {

using Sequence = PagedKvCache::Sequence;
using Ids = std::vector<std::int32_t>;

/// Memory for pages, which fails when told to, like everything else.
class Pages : public std::pmr::memory_resource {
 public:
  std::int64_t outstanding = 0;

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    count_allocation();
    void* memory = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    if (memory == nullptr) throw std::bad_alloc();
    ++outstanding;
    return memory;
  }
  void do_deallocate(void* memory, std::size_t, std::size_t) override {
    --outstanding;
    std::free(memory);
  }
  bool do_is_equal(const memory_resource& other) const noexcept override { return this == &other; }
};

KvCacheShape shape_of(std::int64_t pages, Pages* memory = nullptr) {
  KvCacheShape shape;
  shape.head_dim = shape.value_dim = 16;
  shape.page_size = 16;
  shape.budget_bytes = pages * 2 * 16 * 16 * 4;
  shape.memory = memory;
  return shape;
}

Ids range(std::int32_t first, std::int32_t count) {
  Ids ids(static_cast<std::size_t>(count));
  std::iota(ids.begin(), ids.end(), first);
  return ids;
}

void append(PagedKvCache& cache, Sequence s, const Ids& ids) {
  for (const std::int32_t id : ids) {
    const std::vector<float> row(16, static_cast<float>(id));
    const InputView<3> view(row.data(), {1, 1, 16});
    cache.write(0, s, cache.extend(s, 1), view, view);
  }
}

/// Everything that can be seen of a cache.
struct Seen {
  std::vector<std::vector<float>> numbers;
  std::vector<std::int64_t> counts;
  bool operator==(const Seen&) const = default;
};

Seen look(const PagedKvCache& cache, std::initializer_list<Sequence> sequences) {
  const KvCacheStats s = cache.stats();
  Seen seen{{},
            {s.used_pages, s.kept_pages, s.saved_pages, s.wasted_bytes, s.num_sequences,
             s.looked_up_tokens, s.found_tokens}};
  for (const Sequence sequence : sequences) {
    const std::int64_t n = cache.length(sequence);
    std::vector<float> key(static_cast<std::size_t>(n * 16)), value(key.size());
    cache.read(0, sequence, {key.data(), {1, n, 16}}, {value.data(), {1, n, 16}});
    seen.numbers.push_back(key);
    seen.numbers.push_back(value);
  }
  return seen;
}

/// A cache in which most things have happened: `a` is published; `b` and `d` go on from it and
/// share all they have; `c` has the tokens of `a` computed once more; three pages are kept.
struct Used {
  explicit Used(Pages* memory) : cache(shape_of(24, memory)) {
    const Sequence gone = cache.create();
    append(cache, gone, range(500, 48));
    cache.publish(gone, range(500, 48));
    cache.release(gone);
    a = cache.create();
    append(cache, a, range(0, 40));
    b = cache.fork(a);
    cache.publish(a, range(0, 40));
    append(cache, b, range(40, 30));
    c = cache.create();
    append(cache, c, range(0, 40));
    d = cache.fork(b);
    empty = cache.create();
  }
  Seen seen() const { return look(cache, {a, b, c, d, empty}); }

  PagedKvCache cache;
  Sequence a, b, c, d, empty;
};

struct Operation {
  const char* name;
  std::function<void(Used&)> run;
  bool by_page = false;  ///< what it has done of its pages stays done
};

std::vector<Operation> operations() {
  static const std::vector<float> row(16, 7.0F);
  static const InputView<3> view(row.data(), {1, 1, 16});
  return {
      {"create", [](Used& u) { u.cache.create({std::string(100, 'x'), std::string(100, 'y')}); }},
      {"fork", [](Used& u) { u.cache.fork(u.b); }},
      {"extend", [](Used& u) { u.cache.extend(u.c, 100); }},
      {"extend a shared page", [](Used& u) { u.cache.extend(u.d, 100); }},
      {"extend into kept pages", [](Used& u) { u.cache.extend(u.empty, 16 * 12); }},
      {"write", [](Used& u) { u.cache.write(0, u.b, 3, view, view); }},
      {"truncate", [](Used& u) { u.cache.truncate(u.a, 10); }},
      {"evict", [](Used& u) { u.cache.evict(u.b, 0, 2); }},
      {"publish", [](Used& u) { u.cache.publish(u.b, range(0, 70)); }, true},
      {"publish again", [](Used& u) { u.cache.publish(u.c, range(0, 40)); }, true},
      {"adopt", [](Used& u) { u.cache.adopt(u.empty, range(500, 49)); }},
      {"release", [](Used& u) { u.cache.release(u.a); }},
  };
}

/// Runs the operation with `most` allocations; false when they were not enough.
bool runs_with(const Operation& operation, std::int64_t most, Used& used) {
  allocations_left = most;
  try {
    operation.run(used);
    allocations_left = -1;
    return true;
  } catch (const std::bad_alloc&) {
    allocations_left = -1;
    return false;
  }
}

TEST(KvCacheMemory, WhicheverAllocationFailsNothingHasChanged) {
  if (!kCountsAllocations) GTEST_SKIP() << "sanitizers have their own allocator";
  for (const Operation& operation : operations()) {
    bool done = false;
    for (std::int64_t n = 0; !done; ++n) {
      SCOPED_TRACE(std::string(operation.name) + ", allocation " + std::to_string(n));
      ASSERT_LT(n, 200);
      Pages memory;
      {
        Used used(&memory);
        const Seen before = used.seen();
        done = runs_with(operation, n, used);
        if (!done) {
          const Seen after = used.seen();
          EXPECT_EQ(after.numbers, before.numbers);
          if (!operation.by_page) {
            EXPECT_EQ(after.counts, before.counts);
          }
          EXPECT_TRUE(runs_with(operation, -1, used));
        }
        append(used.cache, used.b, range(200, 3));
        for (const Sequence s : {used.b, used.c, used.d, used.empty}) used.cache.release(s);
        if (operation.name == std::string("release")) continue;
        used.cache.release(used.a);
        if (operation.name == std::string("fork") || operation.name == std::string("create"))
          used.cache.release(used.empty + 1);
        EXPECT_EQ(used.cache.stats().used_pages, 0);
      }
      EXPECT_EQ(memory.outstanding, 0);
    }
  }
}

TEST(KvCacheMemory, ReleaseAndTruncateNeedNone) {
  if (!kCountsAllocations) GTEST_SKIP() << "sanitizers have their own allocator";
  Pages memory;
  Used used(&memory);
  allocations_left = 0;
  EXPECT_NO_THROW(used.cache.truncate(used.d, 33));
  EXPECT_NO_THROW(used.cache.evict(used.b, 4, 0));
  for (const Sequence s : {used.a, used.b, used.c, used.d, used.empty})
    EXPECT_NO_THROW(used.cache.release(s));
  allocations_left = -1;
  EXPECT_EQ(used.cache.stats().used_pages, 0);
}

/// 10,000 sequences with a common beginning of 4,096 tokens: one beginning and the tails, and a few
/// KiB for each in lists of pages (here the smallest pages, so the longest lists).
TEST(KvCacheMemory, ASequenceCostsItsListOfPages) {
  if (!kCountsAllocations) GTEST_SKIP() << "sanitizers have their own allocator";
  constexpr std::int64_t kSequences = 10'000, kPages = 4096 / 16;
  Pages memory;
  PagedKvCache cache(shape_of(kPages + kSequences, &memory));
  const Sequence first = cache.create();
  append(cache, first, range(0, 4096));
  const std::int64_t before = allocated_bytes;
  for (std::int64_t i = 1; i < kSequences; ++i) append(cache, cache.fork(first), {1});
  EXPECT_EQ(cache.stats().used_pages, kPages + kSequences - 1);
  EXPECT_EQ(cache.stats().saved_pages, kPages * (kSequences - 1));
  const std::int64_t each = (allocated_bytes - before) / kSequences;
  RecordProperty("bytes_per_sequence", static_cast<int>(each));
  EXPECT_LE(each, kPages * 12 * 2 + 1024);
}

/// Checking a view of pages costs no memory either.
TEST(KvCacheMemory, ARunOverPagesAllocatesNothing) {
  if (!kCountsAllocations) GTEST_SKIP() << "sanitizers have their own allocator";
  Pages memory;
  PagedKvCache cache(shape_of(100, &memory));
  const Sequence s = cache.create();
  append(cache, s, range(0, 300));
  cache.evict(s, 4, 40);
  std::vector<float> query(16), out(16);
  const Plan plan({.q_len = 1, .kv_len = 512, .head_dim = 16, .value_dim = 16, .page_size = 16},
                  {.mask = CausalMask{} & (PrefixMask{4} | WindowMask{39, 0}),
                   .q_offset = 299,
                   .executor = &serial_executor()});
  const PagedView view = cache.view(s);
  const auto run = [&] {
    plan.run(InputView<4>(query.data(), {1, 1, 1, 16}), view,
             OutputView<4>(out.data(), {1, 1, 1, 16}));
  };
  run();  // takes the plan's workspace
  const std::int64_t before = allocations;
  run();
  EXPECT_EQ(allocations, before);
}

/// Token by token costs no more than at once: lists of pages grow by doubling.
TEST(KvCacheMemory, ListsOfPagesGrowByDoubling) {
  if (!kCountsAllocations) GTEST_SKIP() << "sanitizers have their own allocator";
  Pages memory;
  PagedKvCache cache(shape_of(2000, &memory));
  const Sequence s = cache.create();
  const std::int64_t before = allocations;
  for (std::int64_t i = 0; i < 2000 * 16; ++i) cache.extend(s, 1);
  EXPECT_LE(allocations - before, 2000 /* pages */ + 2000 /* what take() gives back */ + 100);
}

}  // namespace
}  // namespace regard::test
