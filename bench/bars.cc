// bench/bars.cc - how much of a limit is enough: the table of bars, as data.
#include "bench/bars.h"

#include <fnmatch.h>

#include <algorithm>
#include <stdexcept>

namespace regard::bench {
namespace {

constexpr Bar kBars[] = {
    {"prefill fp32 full, N >= 1024", "prefill.fp32.d128.n????.full", 0.87, 0.93},
    {"prefill fp32 full, N >= 1024", "prefill.fp32.d64.n????.full", 0.84, 0.93},
    {"prefill fp32 full, N < 1024", "prefill.fp32.*.n???.full", 0.80, 0.88},
    {"prefill fp32 causal", "prefill.fp32.*.n????.causal", 0.80, 0.90},
    {"prefill fp32 causal", "prefill.fp32.*.n???.causal", 0.68, 0.90},
    {"prefill bf16", "prefill.bf16.d128.*.full", 0.85, 0.92},
    {"prefill bf16", "prefill.bf16.d128.*.causal", 0.80, 0.92},
    {"prefill bf16", "prefill.bf16.d64.*", 0.78, 0.92},
    {"prefill fp16", "prefill.fp16.*", 0.80, 0.90},
    {"decode from an int8 cache", "decode.int8.*", 0.70, 0.90},
    {"decode from pages, over one page", "pages.*", 0.95, 1.0},
    {"decode", "decode.fp32.ratio4.*", 0.80, 0.92},
    {"decode", "decode.*.ratio[14].*", 0.85, 0.92},
    {"decode", "decode.*", 0.70, 0.85},
    {"a few query rows, per row", "rows.*.per_row", 1.0, 1.0},
    {"a few query rows", "rows.*", 0.75, 0.85},
    {"sliding window", "window.*", 0.75, 0.85},
    {"two threads over one", "threads2.*", 0.95, 0.99},
    {"extra memory", "memory.*", 1.0, 0.5, true},
};

}  // namespace

std::span<const Bar> bars() { return kBars; }

const Bar& bar_of(const std::string& name) {
  const auto* found =
      std::ranges::find_if(kBars, [&](const Bar& bar) { return matches(bar.cases, name); });
  if (found == std::end(kBars)) throw std::logic_error(name + " has no bar");
  return *found;
}

bool matches(const char* pattern, const std::string& name) {
  return ::fnmatch(pattern, name.c_str(), 0) == 0;
}

}  // namespace regard::bench
