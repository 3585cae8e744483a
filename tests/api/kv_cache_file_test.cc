// tests/api/kv_cache_file_test.cc - a sequence in a file: the same bits back, damage refused, whole
// after a kill at any instant.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "cache/crc32c.h"
#include "regard/kv_cache.h"
#include "support/dense.h"
#include "support/random.h"

namespace regard::test {
namespace {

namespace fs = std::filesystem;
using Sequence = PagedKvCache::Sequence;

/// A folder that lives as long as a test.
class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "regard-cache-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make " + name);
    path_ = name;
  }
  ~Folder() { fs::remove_all(path_); }
  fs::path file() const { return path_ / "cache"; }
  std::int64_t num_files() const {
    return std::distance(fs::directory_iterator(path_), fs::directory_iterator());
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

KvCacheShape shape_of(DType dtype, std::int64_t page_size = 16) {
  KvCacheShape shape;
  shape.num_layers = 2;
  shape.num_kv_heads = 2;
  shape.head_dim = 24;
  shape.value_dim = 16;
  shape.dtype = dtype;
  shape.page_size = page_size;
  shape.fingerprint = "a model";
  return shape;
}

/// `n` random tokens at the end.
void append(PagedKvCache& cache, Sequence s, std::int64_t n, Rng& rng) {
  Dense<float> key({1, 2, n, 24}, rng), value({1, 2, n, 16}, rng);
  const std::int64_t at = cache.extend(s, n);
  for (std::int64_t layer = 0; layer < 2; ++layer)
    cache.write(layer, s, at, InputView<3>(key.data.data(), {2, n, 24}),
                InputView<3>(value.data.data(), {2, n, 16}));
}

std::vector<float> contents(const PagedKvCache& cache, Sequence s) {
  const std::int64_t n = cache.length(s);
  std::vector<float> all;
  for (std::int64_t layer = 0; layer < 2; ++layer) {
    std::vector<float> key(static_cast<std::size_t>(2 * n * 24)),
        value(static_cast<std::size_t>(2 * n * 16));
    cache.read(layer, s, {key.data(), {2, n, 24}}, {value.data(), {2, n, 16}});
    all.insert(all.end(), key.begin(), key.end());
    all.insert(all.end(), value.begin(), value.end());
  }
  return all;
}

std::string bytes_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}
void write_bytes(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

std::string refusal_of(PagedKvCache& cache, const fs::path& file) {
  const KvCacheStats before = cache.stats();
  try {
    cache.load(file);
  } catch (const std::runtime_error& error) {
    EXPECT_EQ(cache.stats().used_pages, before.used_pages);
    EXPECT_EQ(cache.stats().num_sequences, before.num_sequences);
    return error.what();
  }
  return "nothing thrown";
}

TEST(KvCacheFile, TheChecksumIsCrc32c) {
  const char* digits = "123456789";
  cache::Crc32c crc;
  crc.add(std::as_bytes(std::span(digits, 9)));
  EXPECT_EQ(crc.value(), 0xE3069283U);  // the published check value
}

TEST(KvCacheFile, D6SaveLoadAndContinue) {
  const Folder folder;
  for (const DType dtype : {DType::kF32, DType::kBf16, DType::kF16, DType::kI8}) {
    for (const std::int64_t length : {0, 1, 63, 64, 65, 200}) {
      Rng rng(static_cast<std::uint64_t>(length) + 1);
      PagedKvCache cache(shape_of(dtype)), other(shape_of(dtype, 48));
      const Sequence s = cache.create();
      append(cache, s, length, rng);
      std::vector<std::int32_t> ids(static_cast<std::size_t>(length), 7), found;
      cache.save(s, folder.file(), ids);
      EXPECT_EQ(folder.num_files(), 1);
      struct stat status{};
      ASSERT_EQ(::stat(folder.file().c_str(), &status), 0);
      EXPECT_EQ(status.st_mode & 0777U, 0600U);
      const Sequence back = cache.load(folder.file(), {}, &found);
      const Sequence far = other.load(folder.file(), {.owner = "ann", .share_with = ""});
      EXPECT_EQ(found, ids);
      EXPECT_EQ(other.options(far).owner, "ann");
      EXPECT_EQ(contents(cache, back), contents(cache, s));
      EXPECT_EQ(contents(other, far), contents(cache, s));
      Rng again(9), once_more(9);
      append(cache, s, 20, again);
      append(other, far, 20, once_more);
      EXPECT_EQ(contents(other, far), contents(cache, s));
    }
  }
}

TEST(KvCacheFile, EvictedTokensStayAway) {
  const Folder folder;
  Rng rng(1);
  PagedKvCache cache(shape_of(DType::kF16));
  const Sequence s = cache.create();
  append(cache, s, 200, rng);
  cache.evict(s, 4, 60);
  cache.save(s, folder.file());
  const Sequence back = cache.load(folder.file());
  EXPECT_EQ(contents(cache, back), contents(cache, s));
  EXPECT_EQ(cache.view(back).evicted_begin[0], 4);
  EXPECT_EQ(cache.view(back).evicted_end[0], 140);
}

TEST(KvCacheFile, EveryFlippedBitAndEveryLengthIsRefused) {
  const Folder folder;
  Rng rng(2);
  KvCacheShape shape = shape_of(DType::kI8);
  PagedKvCache cache(shape);
  const Sequence s = cache.create();
  append(cache, s, 3, rng);
  const std::vector<std::int32_t> ids{1, 2, 3};
  cache.save(s, folder.file(), ids);
  const std::string good = bytes_of(folder.file());
  for (std::size_t i = 0; i < good.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ (1 << bit));
      write_bytes(folder.file(), bad);
      const std::string said = refusal_of(cache, folder.file());
      ASSERT_EQ(said.find(folder.file().string()), 0U)
          << "byte " << i << " bit " << bit << ": " << said;
    }
    write_bytes(folder.file(), good.substr(0, i));
    const std::string said = refusal_of(cache, folder.file());
    ASSERT_TRUE(said.find("ends at byte") != std::string::npos ||
                said.find("speaks of more than the file holds") != std::string::npos)
        << i << ": " << said;
  }
  write_bytes(folder.file(), good + "x");
  EXPECT_NE(refusal_of(cache, folder.file()).find("has 1 bytes after its end"), std::string::npos);
  write_bytes(folder.file(), good);
  EXPECT_EQ(refusal_of(cache, folder.file()), "nothing thrown");
}

TEST(KvCacheFile, SaysWhatDiffersAndWhatCannotBeDone) {
  const Folder folder;
  Rng rng(3);
  PagedKvCache cache(shape_of(DType::kF16));
  const Sequence s = cache.create();
  append(cache, s, 30, rng);
  cache.save(s, folder.file());
  const auto said = [&](auto change) {
    KvCacheShape shape = shape_of(DType::kF16);
    change(shape);
    PagedKvCache other(shape);
    const std::string text = refusal_of(other, folder.file());
    return text.substr(std::min(text.size(), folder.file().string().size() + 2));
  };
  EXPECT_EQ(said([](auto& x) { x.dtype = DType::kF32; }),
            "holds f16, expected f32 (the cache's dtype)");
  EXPECT_EQ(said([](auto& x) { x.num_layers = 3; }), "has num_layers 2, expected 3 (the cache's)");
  EXPECT_EQ(said([](auto& x) { x.head_dim = 32; }), "has head_dim 24, expected 32 (the cache's)");
  EXPECT_NE(said([](auto& x) { x.fingerprint = "b model"; }).find("was made by another model"),
            std::string::npos);
  EXPECT_THROW(cache.load(folder.path() / "none"), std::runtime_error);
  EXPECT_THROW(cache.load(folder.path()), std::runtime_error);
  EXPECT_THROW(cache.save(s, folder.path() / "none" / "cache"), std::runtime_error);
  KvCacheShape small = shape_of(DType::kF16);
  small.budget_bytes = 6'000;
  PagedKvCache full(small);
  EXPECT_THROW(full.load(folder.file()), CacheFull);
  EXPECT_EQ(full.stats().num_sequences, 0);
  const std::vector<std::int32_t> ids(3);
  EXPECT_THROW(cache.save(s, folder.file(), ids), std::invalid_argument);
}

/// In a child: saves again and again.
[[noreturn]] void save_for_ever(PagedKvCache& cache, Sequence a, Sequence b, const fs::path& file) {
  for (;;) {
    cache.save(a, file);
    cache.save(b, file);
  }
}

TEST(KvCacheFile, AFullDiskLeavesTheOldFile) {
  const Folder folder;
  Rng rng(4);
  PagedKvCache cache(shape_of(DType::kF32));
  const Sequence s = cache.create(), larger = cache.create();
  append(cache, s, 10, rng);
  append(cache, larger, 300, rng);
  cache.save(s, folder.file());
  const std::string before = bytes_of(folder.file());
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{50'000, 50'000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    try {
      cache.save(larger, folder.file());
    } catch (const std::runtime_error&) {
      ::_exit(7);
    }
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 7);
  EXPECT_EQ(bytes_of(folder.file()), before);
  EXPECT_EQ(folder.num_files(), 1) << "the temporary file is gone";
}

TEST(KvCacheFile, AKillAtAnyMomentLeavesAWholeFile) {
  const Folder folder;
  Rng rng(5);
  PagedKvCache cache(shape_of(DType::kF16));
  const Sequence a = cache.create(), b = cache.create();
  append(cache, a, 100, rng);
  append(cache, b, 150, rng);
  cache.save(a, folder.file());
  const std::string first = bytes_of(folder.file());
  cache.save(b, folder.file());
  const std::string second = bytes_of(folder.file());
  for (int i = 0; i < 60; ++i) {
    const pid_t child = ::fork();
    if (child == 0) save_for_ever(cache, a, b, folder.file());
    std::this_thread::sleep_for(std::chrono::microseconds(rng.integer(0, 20'000)));
    ::kill(child, SIGKILL);
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    const std::string now = bytes_of(folder.file());
    ASSERT_TRUE(now == first || now == second);
  }
}

TEST(KvCacheFile, AKillAtEverySystemCallLeavesAWholeFile) {
  const Folder folder;
  Rng rng(6);
  PagedKvCache cache(shape_of(DType::kF16));
  const Sequence a = cache.create(), b = cache.create();
  append(cache, a, 20, rng);
  append(cache, b, 30, rng);
  cache.save(b, folder.file());
  const std::string second = bytes_of(folder.file());
  cache.save(a, folder.file());
  const std::string first = bytes_of(folder.file());
  int kills = 0, whole_new = 0;
  for (int stop = 0;; ++stop) {
    write_bytes(folder.file(), first);
    const pid_t child = ::fork();
    if (child == 0) {
      if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) ::_exit(9);
      ::raise(SIGSTOP);
      cache.save(b, folder.file());
      ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 9) GTEST_SKIP() << "ptrace is not permitted";
    for (int at = 0; at <= stop && !WIFEXITED(status); ++at) {
      ASSERT_EQ(::ptrace(PTRACE_SYSCALL, child, nullptr, nullptr), 0);
      ASSERT_EQ(::waitpid(child, &status, 0), child);
    }
    const bool done = WIFEXITED(status);
    if (!done) {
      ::kill(child, SIGKILL);
      ASSERT_EQ(::waitpid(child, &status, 0), child);
      ++kills;
    }
    const std::string now = bytes_of(folder.file());
    ASSERT_TRUE(now == first || now == second) << "killed at stop " << stop;
    whole_new += now == second;
    if (done) break;
  }
  EXPECT_GE(kills, 14) << "open, write, fsync, close, rename, open, fsync: before and after each";
  EXPECT_GE(whole_new, 3);
  // What killed processes left does not stand in the way of the next.
  cache.save(b, folder.file());
  EXPECT_EQ(bytes_of(folder.file()), second);
}

}  // namespace
}  // namespace regard::test
