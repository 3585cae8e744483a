// python/bindings/attend.cc - attention and its plan.
#include "attend.h"

#include <nanobind/stl/string.h>

#include <cstring>
#include <memory>

#include "arguments.h"
#include "convert.h"
#include "docstrings.h"
#include "regard/plan.h"
#include "run.h"

namespace regard::python {
namespace {

// NOLINTNEXTLINE(readability-function-size): Python's arguments, one by one
nb::object attention(nb::handle query, nb::handle key, nb::handle value, nb::handle causal,
                     nb::handle window, nb::handle mask, nb::handle bias, nb::handle scale,
                     nb::handle softcap, nb::handle alibi_slopes, nb::handle sinks,
                     nb::handle q_offset, nb::handle kv_lens, nb::handle cu_seqlens_q,
                     nb::handle cu_seqlens_kv, nb::handle return_lse, nb::handle out,
                     nb::handle num_threads) {
  const Arguments a(query, key, value,
                    {causal, window, mask, bias, scale, softcap, alibi_slopes, sinks, q_offset,
                     kv_lens, cu_seqlens_q, cu_seqlens_kv, num_threads});
  const bool wants_lse = to_bool("attention: return_lse", return_lse), is_new = out.is_none();
  const std::int64_t value_dim = a.value.shape[3];
  nb::object result = is_new
                          ? new_array(a.like, element_of(a.query.dtype), a.result_shape(value_dim))
                          : nb::borrow(out);
  const Array result_array = import_array("attention: out", result, true);
  const OutputView<4> view = a.result_view(result_array, value_dim);
  if (is_new && !a.covers_queries())  // queries of no sequence: 0, as where nothing is seen
    std::memset(view.data, 0, static_cast<std::size_t>(view.size()) * size_of(view.dtype));
  nb::object lse;
  RunOptions run;
  if (wants_lse) {
    lse = new_array(a.like, Element::kF32, a.lse_shape());
    run.lse = a.lse_view(import_array("attention: lse", lse, true));
  }
  run_interruptibly(a.flops(), [&](const std::atomic<bool>* cancel) {
    run.cancel = cancel;
    regard::attention(a.query, a.key, a.value, view, a.options, run);
  });
  if (is_new) result = finish_array(a.like, result);
  if (!wants_lse) return result;
  return nb::make_tuple(result, finish_array(a.like, lse));
}

/// A plan, and the arrays that its masks may point to.
struct PlanObject {
  std::unique_ptr<Arguments> arguments;
  Plan plan;
};

// NOLINTNEXTLINE(readability-function-size): Python's arguments, one by one
PlanObject make_plan(nb::handle query, nb::handle key, nb::handle value, nb::handle causal,
                     nb::handle window, nb::handle mask, nb::handle bias, nb::handle scale,
                     nb::handle softcap, nb::handle alibi_slopes, nb::handle sinks,
                     nb::handle q_offset, nb::handle kv_lens, nb::handle cu_seqlens_q,
                     nb::handle cu_seqlens_kv, nb::handle num_threads) {
  auto a = std::make_unique<Arguments>(
      query, key, value,
      Keywords{causal, window, mask, bias, scale, softcap, alibi_slopes, sinks, q_offset, kv_lens,
               cu_seqlens_q, cu_seqlens_kv, num_threads});
  Plan plan(a->shape(), a->options);
  return {std::move(a), std::move(plan)};
}

}  // namespace

void bind_attention(nb::module_& module) {
  module.def("attention", &attention, nb::arg("query").none(), nb::arg("key").none(),
             nb::arg("value").none(), nb::kw_only(), REGARD_SHARED_ARGS,
             nb::arg("sinks") = nb::none(), nb::arg("q_offset") = nb::none(),
             nb::arg("kv_lens") = nb::none(), nb::arg("cu_seqlens_q") = nb::none(),
             nb::arg("cu_seqlens_kv") = nb::none(), nb::arg("return_lse").none() = false,
             nb::arg("out") = nb::none(), nb::arg("num_threads") = nb::none(),
             docstrings::kAttention, nb::sig(docstrings::kAttentionSignature));
  module.def("plan", &make_plan, nb::arg("query").none(), nb::arg("key").none(),
             nb::arg("value").none(), nb::kw_only(), REGARD_SHARED_ARGS,
             nb::arg("sinks") = nb::none(), nb::arg("q_offset") = nb::none(),
             nb::arg("kv_lens") = nb::none(), nb::arg("cu_seqlens_q") = nb::none(),
             nb::arg("cu_seqlens_kv") = nb::none(), nb::arg("num_threads") = nb::none(),
             docstrings::kPlan, nb::sig(docstrings::kPlanSignature));
  nb::class_<PlanObject>(module, "Plan", docstrings::kPlanClass)
      .def("explain", [](const PlanObject& p) { return p.plan.explain(); })
      .def("__str__", [](const PlanObject& p) { return p.plan.explain(); })
      .def("__repr__",
           [](const PlanObject& p) { return "<regard plan\n" + p.plan.explain() + ">"; })
      .def_prop_ro("mask", [](const PlanObject& p) { return p.arguments->options.mask; })
      .def_prop_ro("isa", [](const PlanObject& p) { return p.plan.isa(); })
      .def_prop_ro("workspace_bytes", [](const PlanObject& p) { return p.plan.workspace_bytes(); })
      .def_prop_ro("tiles_full", [](const PlanObject& p) { return p.plan.count_tiles().full; })
      .def_prop_ro("tiles_partial",
                   [](const PlanObject& p) { return p.plan.count_tiles().partial; })
      .def_prop_ro("tiles_skipped", [](const PlanObject& p) { return p.plan.count_tiles().empty; })
      .def_prop_ro("flops", [](const PlanObject& p) { return p.plan.cost().useful_flops; })
      .def_prop_ro("cache_bytes", [](const PlanObject& p) { return p.plan.cost().cache_bytes; });
}

}  // namespace regard::python
