// bench/cases.cc - what the kinds of cases share.
#include "bench/cases.h"

#include "bench/clock.h"

namespace regard::bench {

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  add_prefill_cases(cases);
  add_cache_cases(cases);
  add_page_cases(cases);
  add_window_cases(cases);
  add_machine_cases(cases);
  return cases;
}

std::string name_in_case(DType dtype) {
  if (dtype == DType::kBf16) return "bf16";
  return dtype == DType::kF16 ? "fp16" : "fp32";
}

double run_seconds(Problem& problem) {
  return seconds_of(cpu_seconds, kLeastSeconds, [&] { problem.run_all_copies(); }) /
         static_cast<double>(problem.num_copies());
}

}  // namespace regard::bench
