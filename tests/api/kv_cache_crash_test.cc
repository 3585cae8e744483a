// tests/api/kv_cache_crash_test.cc - a process killed at any moment, and a disk that is full, leave
// the old file or the new one, whole.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <iostream>
#include <map>
#include <thread>

#include "regard/kv_cache.h"
#include "support/child.h"
#include "support/random_cache.h"
#include "support/saved_cache.h"

namespace regard::test {
namespace {

using Sequence = PagedKvCache::Sequence;
constexpr int kNotPossibleHere = 77;
#if defined(SYS_renameat)
constexpr std::uint64_t kRenameat = SYS_renameat;
#else
constexpr std::uint64_t kRenameat = SYS_renameat2;
#endif

KvCacheShape shape_of_files() {
  return {.num_layers = 4,
          .num_kv_heads = 4,
          .head_dim = 64,
          .value_dim = 64,
          .page_size = 64,
          .budget_bytes = std::int64_t{1} << 24,
          .fingerprint = "model"};
}

/// Two sequences, either of which a file may hold: one of 1.6 MB and one of 2.4 MB, so that saving
/// takes some writes.
struct OldAndNew {
  PagedKvCache cache{shape_of_files()};
  Sequence old_one, new_one;
  OldAndNew() {
    Rng rng(1);
    old_one = cache.create();
    append_random(cache, old_one, 200, rng);
    new_one = cache.create();
    append_random(cache, new_one, 300, rng);
  }
  /// "old", "new", or what is wrong with the file.
  std::string in(const std::filesystem::path& file) {
    try {
      const Sequence loaded = cache.load(file);
      const std::string got = contents(cache, loaded);
      cache.release(loaded);
      return got == contents(cache, old_one)   ? "old"
             : got == contents(cache, new_one) ? "new"
                                               : "something else";
    } catch (const std::runtime_error& error) {
      return error.what();
    }
  }
};

/// A child that waits to be traced and then saves the new sequence.
pid_t start_traced(const OldAndNew& both, const std::filesystem::path& file) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) ::_exit(kNotPossibleHere);
  ::alarm(120);
  ::raise(SIGSTOP);
  both.cache.save(both.new_one, file);
  ::_exit(0);
}

/// What became of a traced child that saves and is to be killed when it has made `stops` steps (a
/// system call begins or ends).
enum class Traced : std::uint8_t { kKilled, kEnded, kNotAllowed };
Traced kill_after(int stops, const OldAndNew& both, const std::filesystem::path& file) {
  const pid_t child = start_traced(both, file);
  int status = 0;
  for (int stop = 0; stop <= stops; ++stop) {
    if (::waitpid(child, &status, 0) != child) return Traced::kNotAllowed;
    if (WIFEXITED(status))
      return WEXITSTATUS(status) == kNotPossibleHere ? Traced::kNotAllowed : Traced::kEnded;
    if (stop < stops) ::ptrace(PTRACE_SYSCALL, child, nullptr, nullptr);
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, &status, 0);
  return Traced::kKilled;
}

TEST(KvCacheCrash, KilledAtEverySystemCall) {
  if (!kMayFork) GTEST_SKIP() << "ThreadSanitizer";
  const TempFolder folder;
  const std::filesystem::path file = folder / "cache";
  OldAndNew both;
  int stops = 1, old_ones = 0, new_ones = 0;
  for (;; ++stops) {
    both.cache.save(both.old_one, file);
    const Traced traced = kill_after(stops, both, file);
    if (traced == Traced::kNotAllowed) GTEST_SKIP() << "ptrace is not permitted here";
    const std::string there = both.in(file);
    ASSERT_TRUE(there == "old" || there == "new") << "killed at stop " << stops << ": " << there;
    if (traced == Traced::kEnded) break;
    ++(there == "old" ? old_ones : new_ones);
    ASSERT_LT(stops, 2000);
  }
  EXPECT_EQ(both.in(file), "new") << "undisturbed";
  EXPECT_GE(old_ones, 10) << "before the file is renamed";
  EXPECT_GE(new_ones, 2) << "after it";
  RecordProperty("kills", stops - 1);
  std::cout << stops - 1 << " kills, " << old_ones << " left the old file, " << new_ones
            << " the new one\n";
}

/// The system calls of a traced child that saves, a letter for each kind: write, fsync, close and
/// rename; repeated ones once.
std::string calls_of_saving(const OldAndNew& both, const std::filesystem::path& file) {
  const pid_t child = start_traced(both, file);
  std::string calls;
  for (int status = 0; ::waitpid(child, &status, 0) == child && WIFSTOPPED(status);) {
    // Only with this option do stops say which call it is.
    ::ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_TRACESYSGOOD);
    __ptrace_syscall_info info{};
    ::ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof info, &info);
    if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
      const std::uint64_t call = info.entry.nr;
      const char letter = call == SYS_write   ? 'w'
                          : call == SYS_fsync ? 'f'
                          : call == SYS_close ? 'c'
                          : call == kRenameat ? 'r'
                                              : '-';
      if (letter != '-' && !calls.ends_with(letter)) calls += letter;
    }
    ::ptrace(PTRACE_SYSCALL, child, nullptr, nullptr);
  }
  return calls;
}

/// A killed process does not show it, but a machine without power would.
TEST(KvCacheCrash, FlushedBeforeItHasItsNameAndTheFolderAfter) {
  if (!kMayFork) GTEST_SKIP() << "ThreadSanitizer";
  const TempFolder folder;
  const OldAndNew both;
  const std::string calls = calls_of_saving(both, folder / "cache");
  if (calls.empty()) GTEST_SKIP() << "ptrace is not permitted here";
  EXPECT_EQ(calls, "wfcrfc");
}

/// A child that saves the new sequence and the old one in turn, killed after so many microseconds.
void kill_after_a_while(const OldAndNew& both, const std::filesystem::path& file,
                        std::int64_t microseconds) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(120);
    for (;;) {
      both.cache.save(both.new_one, file);
      both.cache.save(both.old_one, file);
    }
  }
  std::this_thread::sleep_for(std::chrono::microseconds(microseconds));
  ::kill(child, SIGKILL);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
}

TEST(KvCacheCrash, KilledAtAnyMoment) {
  if (!kMayFork) GTEST_SKIP() << "ThreadSanitizer";
  const TempFolder folder;
  const std::filesystem::path file = folder / "cache";
  OldAndNew both;
  Rng rng(7);
  std::map<std::string, int> seen;
  for (int kills = 0; kills < 200 || (seen.size() < 2 && kills < 2000); ++kills) {
    const auto begin = std::chrono::steady_clock::now();
    both.cache.save(rng.chance(0.5) ? both.old_one : both.new_one, file);
    const std::chrono::duration<double, std::micro> once = std::chrono::steady_clock::now() - begin;
    kill_after_a_while(both, file, rng.integer(0, static_cast<std::int64_t>(3 * once.count())));
    const std::string there = both.in(file);
    ASSERT_TRUE(there == "old" || there == "new") << there;
    ++seen[there];
    for (const std::string& name : folder.names()) {
      if (name != "cache") std::filesystem::remove(folder / name.c_str());
    }
  }
  EXPECT_EQ(seen.size(), 2U);
}

TEST(KvCacheCrash, WhatKilledProcessesLeftIsInNobodysWay) {
  const TempFolder folder;
  OldAndNew both;
  for (int i = 0; i < 3000; ++i)
    write_bytes(folder.path() / (".regard-" + std::to_string(::getpid()) + "-" + std::to_string(i)),
                "stale");
  both.cache.save(both.old_one, folder / "cache");
  EXPECT_EQ(both.in(folder / "cache"), "old");
  EXPECT_EQ(folder.names().size(), 3001U);
}

/// In a child: as somebody who is not root, in a folder that only may be read.
int save_where_nobody_may(const OldAndNew& both, const std::filesystem::path& file) {
  if (::getuid() == 0 && (::setgid(65534) != 0 || ::setuid(65534) != 0)) return kNotPossibleHere;
  return failure([&] { both.cache.save(both.new_one, file); }) ==
                 file.string() + ": cannot be written: Permission denied"
             ? 0
             : 1;
}

TEST(KvCacheCrash, AFolderThatMayNotBeWritten) {
  if (!kMayFork) GTEST_SKIP() << "ThreadSanitizer";
  const TempFolder folder;
  OldAndNew both;
  both.cache.save(both.old_one, folder / "cache");
  ASSERT_EQ(::chmod(folder.path().c_str(), 0555), 0);
  const std::string ended = in_child([&] { return save_where_nobody_may(both, folder / "cache"); });
  ASSERT_EQ(::chmod(folder.path().c_str(), 0700), 0);
  if (ended == "exit code 77") GTEST_SKIP() << "root may not become somebody else here";
  EXPECT_EQ(ended, "exit code 0");
  EXPECT_EQ(both.in(folder / "cache"), "old");
}

TEST(KvCacheCrash, PlacesWhereNoFileCanBe) {
  const TempFolder folder;
  OldAndNew both;
  write_bytes(folder / "file", "x");
  std::filesystem::create_directory(folder / "folder");
  std::filesystem::create_symlink(folder / "file", folder / "link");
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  const auto says = [&](const char* name) {
    const std::string words = failure([&] { both.cache.save(both.new_one, folder / name); });
    return words.substr((folder / name).string().size());
  };
  EXPECT_EQ(says("none/cache"), ": its folder cannot be opened: No such file or directory");
  EXPECT_EQ(says("file/cache"), ": its folder cannot be opened: Not a directory");
  EXPECT_EQ(says("folder"), ": is there and no regular file");
  EXPECT_EQ(says("folder/"), ": is no name of a file");
  EXPECT_EQ(says("link"), ": is there and no regular file");
  EXPECT_EQ(says("pipe"), ": is there and no regular file");
  EXPECT_EQ(says(std::string(300, 'x').c_str()), ": cannot be written: File name too long");
  EXPECT_EQ(read_bytes(folder / "file"), "x");
  EXPECT_EQ(folder.names(), (std::vector<std::string>{"file", "folder", "link", "pipe"}));
}

/// Files may grow to so many bytes, as if the disk were full then: the last write is a short one.
int save_with_limit(const OldAndNew& both, const std::filesystem::path& file, rlim_t bytes) {
  ::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{bytes, bytes};
  if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return kNotPossibleHere;
  const std::string words = failure([&] { both.cache.save(both.new_one, file); });
  return words == file.string() + ": cannot be written: File too large" ? 0 : 1;
}

TEST(KvCacheCrash, NoRoomAtAnySize) {
  if (!kMayFork) GTEST_SKIP() << "ThreadSanitizer";
  const TempFolder folder;
  OldAndNew both;
  both.cache.save(both.new_one, folder / "cache");
  const std::uintmax_t size = std::filesystem::file_size(folder / "cache");
  both.cache.save(both.old_one, folder / "cache");
  std::vector<std::uintmax_t> sizes{0, 1, 63, 64, 68, size - 1};
  for (std::uintmax_t bytes = 4096; bytes < size; bytes += 99'991) sizes.push_back(bytes);
  for (const std::uintmax_t bytes : sizes) {
    const std::string ended =
        in_child([&] { return save_with_limit(both, folder / "cache", bytes); });
    if (ended == "exit code 77") GTEST_SKIP() << "RLIMIT_FSIZE cannot be set here";
    EXPECT_EQ(ended, "exit code 0") << bytes << " bytes";
    EXPECT_EQ(both.in(folder / "cache"), "old") << bytes << " bytes";
    EXPECT_EQ(folder.names(), std::vector<std::string>{"cache"}) << "nothing is left behind";
  }
}

/// A file system of its own, for this process alone, with room for one file but not for two.
int save_on_a_full_disk(OldAndNew& both, const TempFolder& folder) {
  if (::unshare(CLONE_NEWNS) != 0 ||
      ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      ::mount("tmpfs", folder.path().c_str(), "tmpfs", 0, "size=3m") != 0)
    return kNotPossibleHere;
  const std::filesystem::path file = folder / "cache";
  both.cache.save(both.old_one, file);
  const std::string words = failure([&] { both.cache.save(both.new_one, file); });
  if (words != file.string() + ": cannot be written: No space left on device") return 1;
  if (both.in(file) != "old") return 2;
  if (folder.names() != std::vector<std::string>{"cache"}) return 3;
  std::filesystem::remove(file);
  both.cache.save(both.new_one, file);
  return both.in(file) == "new" ? 0 : 4;
}

TEST(KvCacheCrash, AFullDisk) {
  if (!kMayFork) GTEST_SKIP() << "ThreadSanitizer";
  const TempFolder folder;
  OldAndNew both;
  const std::string ended = in_child([&] { return save_on_a_full_disk(both, folder); });
  if (ended == "exit code 77") GTEST_SKIP() << "no file system may be mounted here";
  EXPECT_EQ(ended, "exit code 0");
}

}  // namespace
}  // namespace regard::test
