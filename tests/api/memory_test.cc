// tests/api/memory_test.cc - memory beyond inputs and outputs does not grow with q_len * kv_len.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <vector>

#include "regard/plan.h"

namespace regard::test {
namespace {

constexpr std::int64_t kMiB = std::int64_t{1} << 20;
constexpr std::int64_t kLength = 32'768, kHeads = 8, kDim = 64;

TEST(Memory, WorkspaceOfALongProblem) {
  for (int threads = 1; threads <= 4; ++threads) {
    const std::unique_ptr<Executor> pool = make_thread_pool(threads);
    AttentionOptions options;
    options.executor = pool.get();
    const Plan plan({1, kHeads, kHeads, kLength, kLength, kDim, kDim}, options);
    EXPECT_LT(plan.workspace_bytes(), 64 * kMiB);
    EXPECT_GT(plan.workspace_bytes(), 0);
  }
}

// Twice the keys cost at most one more level of the merge tree.
TEST(Memory, WorkspaceGrowsWithTheLogarithmOfKeys) {
  AttentionOptions options;
  options.executor = &serial_executor();
  const auto bytes = [&](std::int64_t q_len, std::int64_t kv_len) {
    return Plan({1, 1, 1, q_len, kv_len, kDim, kDim}, options).workspace_bytes();
  };
  const std::int64_t level = bytes(4096, 1 << 16) - bytes(4096, 1 << 15);
  EXPECT_GT(level, 0);
  for (int n = 16; n < 30; ++n) {
    EXPECT_EQ(bytes(4096, std::int64_t{2} << n) - bytes(4096, std::int64_t{1} << n), level);
  }
  EXPECT_EQ(bytes(4096, 1 << 15), bytes(1 << 20, 1 << 15));
}

// The most memory that this process ever had, in bytes.
std::int64_t peak_resident() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmHWM:", 0) == 0) return std::stoll(line.substr(6)) * 1024;
  }
  return -1;
}

// What run() adds to the peak, or -1. Heads share one query, key and value, so that inputs are
// small beside the limit; documents of 512 tokens keep the arithmetic short, while every pair of
// blocks is planned.
std::int64_t growth_of_a_run() {
  std::vector<float> input(static_cast<std::size_t>(kLength * kDim), 0.5F);
  std::vector<float> out(static_cast<std::size_t>(kHeads * kLength * kDim), 1.0F);
  std::vector<std::int64_t> documents;
  for (std::int64_t i = 0; i < kLength; ++i) documents.push_back(i / 512);
  const std::array<std::int64_t, 4> shape{1, kHeads, kLength, kDim};
  const TensorView<const float, 4> in(input.data(), shape, {0, 0, kDim, 1});
  AttentionOptions options;
  options.mask = DocumentMask(documents) & CausalMask{};
  const std::unique_ptr<Executor> pool = make_thread_pool(2);
  options.executor = pool.get();
  const std::int64_t before = peak_resident();
  const Plan plan({1, kHeads, kHeads, kLength, kLength, kDim, kDim}, options);
  plan.run(in, in, in, {out.data(), shape});
  const std::int64_t after = peak_resident();
  return before < 0 || out.front() != 0.5F || out.back() != 0.5F ? -1 : after - before;
}

// In a process of its own, because the peak of this one has a history. The pool is made after the
// fork.
TEST(Memory, MeasuredPeakOfALongRun) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const std::int64_t growth = growth_of_a_run();
    const bool sent = write(ends[1], &growth, sizeof growth) == sizeof growth;
    _exit(sent ? 0 : 1);
  }
  std::int64_t growth = -1;
  EXPECT_EQ(read(ends[0], &growth, sizeof growth), static_cast<ssize_t>(sizeof growth));
  int status = 1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_GE(growth, 0);
  EXPECT_LT(growth, 64 * kMiB);
}

}  // namespace
}  // namespace regard::test
