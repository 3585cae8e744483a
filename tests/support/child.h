// tests/support/child.h - a process made by fork(), which must end in time.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <string>

namespace regard::test {

#if defined(__SANITIZE_THREAD__)
inline constexpr bool kMayFork = false;  // ThreadSanitizer ends a forked child that starts threads
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
inline constexpr bool kMayFork = false;
#else
inline constexpr bool kMayFork = true;
#endif
#else
inline constexpr bool kMayFork = true;
#endif

/// In children: what a parent's threads own cannot be found there, and is no leak.
extern bool is_child;

/// What became of a child that runs f: "exit code n" with the number that f returns, or "signal n"
/// (14: it hung).
template <class F>
std::string in_child(F f) {
  const pid_t child = fork();
  if (child == 0) {
    is_child = true;
    alarm(120);
    _exit(f());
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) return "no child";
  return WIFSIGNALED(status) ? "signal " + std::to_string(WTERMSIG(status))
                             : "exit code " + std::to_string(WEXITSTATUS(status));
}

}  // namespace regard::test
