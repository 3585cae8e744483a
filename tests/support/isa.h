// tests/support/isa.h - run a piece of test on a named kernel table, and know that it is the one
// running.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "regard/isa.h"
#include "regard/plan.h"

namespace regard::test {

/// Whether the kernel table of this name rounds a multiply-add once.
inline bool has_fma(std::string_view isa) {
  return isa.starts_with("AVX") || isa.starts_with("NEON");
}

/// Plans made during its life use the table `name`; fails the test when they do not.
class ForcedIsa {
 public:
  explicit ForcedIsa(const std::string& name) {
    force_isa(name);
    EXPECT_EQ(active_isa(), name);
    EXPECT_EQ(Plan(AttentionShape{1, 1, 1, 1, 1, 1, 1}).isa(), name);
  }
  ~ForcedIsa() { force_isa(""); }
  ForcedIsa(const ForcedIsa&) = delete;
  ForcedIsa& operator=(const ForcedIsa&) = delete;
};

}  // namespace regard::test

/// Runs the statement that follows once per kernel table of this machine, with its name in failure
/// messages.
#define REGARD_FOR_EACH_ISA(name)                                \
  for (const std::string& name : ::regard::supported_isas())     \
    if (const ::regard::test::ForcedIsa forced_isa_(name); true) \
      if (const ::testing::ScopedTrace isa_trace_(__FILE__, __LINE__, name); true)
