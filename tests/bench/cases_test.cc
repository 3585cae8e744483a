// tests/bench/cases_test.cc - every case has a bar, every bar a case, and the names that others
// rely on are there.
#include "bench/cases.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "bench/bars.h"

namespace regard::bench {
namespace {

TEST(Cases, HaveNamesOfTheirOwn) {
  std::set<std::string> names;
  for (const Case& c : all_cases()) EXPECT_TRUE(names.insert(c.name).second) << c.name;
}

TEST(Cases, HaveTheNamesThatWereAgreedOn) {
  const std::vector<Case> cases = all_cases();
  for (const char* name :
       {"prefill.fp32.d128.n4096.full", "prefill.bf16.d64.n1024.causal",
        "decode.bf16.ratio4.n65536", "prefill.fp16.d128.n1024.full", "rows.fp32.q16.n4096",
        "rows.fp32.q63.n4096.per_row", "decode.int8.ratio4.n65536", "pages.bf16.p16.n65536",
        "window.fp32.w256.n65536", "threads2.prefill.fp32.d128.n4096", "memory.fp32.n65536.h8"}) {
    EXPECT_EQ(std::ranges::count(cases, name, &Case::name), 1) << name;
  }
}

TEST(Bars, EveryCaseHasOne) {
  for (const Case& c : all_cases()) {
    const Bar& bar = bar_of(c.name);
    EXPECT_GT(bar.bar, 0) << c.name;
    EXPECT_TRUE(bar.at_most ? bar.beyond <= bar.bar : bar.beyond >= bar.bar) << c.name;
  }
  EXPECT_THROW(bar_of("dance.fp32"), std::logic_error);
}

TEST(Bars, EveryOneHasACase) {
  for (const Bar& bar : bars()) {
    const auto has_it = [&](const Case& c) { return &bar_of(c.name) == &bar; };
    EXPECT_TRUE(std::ranges::any_of(all_cases(), has_it)) << bar.cases;
  }
}

TEST(Bars, AreThoseOfTheTable) {
  EXPECT_EQ(bar_of("prefill.fp32.d128.n1024.full").bar, 0.87);
  EXPECT_EQ(bar_of("prefill.fp32.d64.n4096.full").bar, 0.84);
  EXPECT_EQ(bar_of("prefill.fp32.d64.n384.full").bar, 0.80);
  EXPECT_EQ(bar_of("prefill.fp32.d64.n384.causal").bar, 0.68);
  EXPECT_EQ(bar_of("decode.fp32.ratio4.n65536").bar, 0.80);
  EXPECT_EQ(bar_of("decode.fp16.ratio4.n65536").bar, 0.85);
  EXPECT_EQ(bar_of("decode.fp32.ratio16.n65536").bar, 0.70);
  EXPECT_EQ(bar_of("rows.fp32.q2.n4096.per_row").bar, 1.0);
}

TEST(Bars, LessMemoryIsBetter) {
  const Bar& memory = bar_of("memory.fp32.n65536.h8");
  EXPECT_TRUE(memory.met(0.9));
  EXPECT_FALSE(memory.met(1.1));
  EXPECT_TRUE(memory.surpassed(0.4));
  const Bar& rate = bar_of("prefill.fp32.d128.n1024.full");
  EXPECT_TRUE(rate.met(0.9));
  EXPECT_FALSE(rate.met(0.8));
  EXPECT_FALSE(rate.surpassed(0.9));
}

}  // namespace
}  // namespace regard::bench
