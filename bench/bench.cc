// bench/bench.cc - regard bench: cases and limits measured in turns, one row for each case.
#include "bench/bench.h"

#include <algorithm>
#include <new>
#include <vector>

#include "bench/clock.h"

namespace regard::bench {
namespace {

constexpr std::size_t kLeastTurns = 3;

/// The turn in the middle rather than medians of values and limits: the two belong together.
Pair median_pair(std::vector<Pair>& pairs) {
  const auto middle = pairs.begin() + static_cast<std::ptrdiff_t>((pairs.size() - 1) / 2);
  const auto ratio = [](const Pair& pair) { return pair.value / pair.limit; };
  std::ranges::nth_element(pairs, middle, {}, ratio);
  return *middle;
}

Row measure(const Case& c, const Options& options, const Context& context) {
  const Prepared prepared = c.prepare(context);
  const std::size_t least = c.takes_a_minute ? 1 : kLeastTurns;
  std::vector<Pair> pairs;
  for (const double end = wall_seconds() + options.seconds;
       pairs.size() < least || wall_seconds() < end;) {
    pairs.push_back(prepared.turn());
    if (context.stop) break;
  }
  const Pair pair = median_pair(pairs);
  return {.name = c.name,
          .unit = c.unit,
          .value = pair.value,
          .limit = pair.limit,
          .bar = bar_of(c.name),
          .note = prepared.note,
          .predicted =
              prepared.predicted ? prepared.predicted(context.machine.limits(), pair.limit) : 0};
}

}  // namespace

void run(std::span<const Case> cases, const Options& options, const Context& context,
         const Observer& observer) {
  for (const Case& c : cases) {
    if (context.stop) return;
    observer.begins(c);
    if (c.takes_a_minute && options.leave_out_long) {
      observer.left_out(c, "it takes a minute");
      continue;
    }
    try {
      observer.measured(measure(c, options, context));
    } catch (const Cancelled&) {
      return;
    } catch (const std::bad_alloc&) {
      observer.left_out(c, "there is not enough memory");
    } catch (const std::exception& error) {
      observer.left_out(c, error.what());
    }
  }
}

}  // namespace regard::bench
