// src/api/attention.cc - attention in one call: a plan, run once.
#include "regard/attention.h"

#include "api/call.h"
#include "regard/plan.h"

namespace regard {

void attention(InputView<4> query, InputView<4> key, InputView<4> value, OutputView<4> out,
               const AttentionOptions& options, const RunOptions& run) {
  const Plan plan(api::shape_of(query, key, value, out.dtype), options);
  plan.run(query, key, value, out, run);
}

void attention(InputView<4> query, const PagedView& pages, OutputView<4> out,
               const AttentionOptions& options, const RunOptions& run) {
  const Plan plan(api::shape_of(query, pages, out.dtype), options);
  plan.run(query, pages, out, run);
}

}  // namespace regard
