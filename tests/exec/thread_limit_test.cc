// tests/exec/thread_limit_test.cc - a system that gives no more threads: an error, or the same bits
// without them.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <string>
#include <system_error>
#include <thread>

#include "regard/c/regard.h"
#include "support/child.h"
#include "support/problem.h"

namespace regard::test {
namespace {

constexpr int kLimitDoesNotBind = 77;

/// No thread more for this process. Root is free of the limit: then as somebody else.
bool forbid_threads() {
  constexpr uid_t kNobody = 65534;
  if (geteuid() == 0 && setresuid(kNobody, kNobody, kNobody) != 0) return false;
  const rlimit limit{1, 1};
  if (setrlimit(RLIMIT_NPROC, &limit) != 0) return false;
  try {
    std::thread([] {}).join();
    return false;
  } catch (const std::system_error&) {
    return true;
  }
}

template <class F>
void expect_right_without_threads(F f) {
  if (!kMayFork) GTEST_SKIP() << "ThreadSanitizer allows no threads in a forked child";
  const std::string ended = in_child([&] { return forbid_threads() ? f() : kLimitDoesNotBind; });
  if (ended == "exit code 77") GTEST_SKIP() << "RLIMIT_NPROC does not bind here";
  EXPECT_EQ(ended, "exit code 0");
}

TEST(ThreadLimit, APoolSaysThatItCannotBe) {
  expect_right_without_threads([] {
    try {
      make_thread_pool(4);
      return 1;
    } catch (const std::system_error& error) {
      const std::string words = error.what();
      return words.starts_with("make_thread_pool: num_threads is 4, the system gives 1: ") ? 0 : 2;
    }
  });
}

TEST(ThreadLimit, COfPoolsTheSame) {
  expect_right_without_threads([] {
    regard_executor* executor = nullptr;
    if (regard_executor_create(4, &executor) != REGARD_SYSTEM_ERROR || executor != nullptr)
      return 1;
    return std::string(regard_last_error()).starts_with("make_thread_pool: ") ? 0 : 2;
  });
}

TEST(ThreadLimit, OneThreadNeedsNone) {
  expect_right_without_threads([] { return make_thread_pool(1)->num_threads() - 1; });
}

TEST(ThreadLimit, TheDefaultExecutorComputesAlone) {
  Rng rng(1);
  const Problem p = make_problem(rng, {1, 4, 2, 200, 700, 16, 16});
  const std::vector<float> expected = run_attention(p).out.values();
  expect_right_without_threads([&] {
    for (int run = 0; run < 3; ++run) {
      if (!same_bits(run_attention(p).out.values(), expected)) return 1;
    }
    return 0;
  });
}

}  // namespace
}  // namespace regard::test
