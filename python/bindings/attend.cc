// python/bindings/attend.cc - attention, its plan, its weights, its parts.
#include "attend.h"

#include <nanobind/stl/string.h>

#include <cstring>
#include <memory>
#include <numeric>
#include <optional>
#include <vector>

#include "arguments.h"
#include "convert.h"
#include "docstrings.h"
#include "regard/plan.h"
#include "regard/probe.h"
#include "regard/state.h"
#include "run.h"

namespace regard::python {
namespace {

Element element_of(DType dtype) {
  return dtype == DType::kF32    ? Element::kF32
         : dtype == DType::kBf16 ? Element::kBf16
                                 : Element::kF16;
}

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
    lse = new_array(a.like, Element::kF32, a.result_shape(0));
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

/// A WeightsProbe for each sequence.
class BatchProbe final : public Probe {
 public:
  explicit BatchProbe(const TensorView<float, 4>& out) {
    std::vector<std::int64_t> heads(static_cast<std::size_t>(out.shape[1])),
        queries(static_cast<std::size_t>(out.shape[2]));
    std::iota(heads.begin(), heads.end(), 0);
    std::iota(queries.begin(), queries.end(), 0);
    for (std::int64_t b = 0; b < out.shape[0]; ++b) {
      const TensorView<float, 3> one(out.data + b * out.strides[0],
                                     {out.shape[1], out.shape[2], out.shape[3]},
                                     {out.strides[1], out.strides[2], out.strides[3]});
      probes_.push_back(std::make_unique<WeightsProbe>(b, heads, queries, one));
    }
  }
  void tile(const WeightTile& tile) noexcept override {
    probes_[static_cast<std::size_t>(tile.batch)]->tile(tile);
  }
  void finished(const FinishedRows& rows) noexcept override {
    probes_[static_cast<std::size_t>(rows.batch)]->finished(rows);
  }

 private:
  std::vector<std::unique_ptr<WeightsProbe>> probes_;
};

/// Weights of the queries [first, first + out.shape[2]) into out (B, H, those, M).
void weights_of_run(const Arguments& a, std::int64_t first, const TensorView<float, 4>& out,
                    const std::atomic<bool>* cancel) {
  AttentionOptions options = a.options;
  std::vector<std::int64_t> q_offsets(options.q_offsets.begin(), options.q_offsets.end());
  for (std::int64_t& offset : q_offsets) offset += first;
  options.q_offsets = q_offsets;
  if (q_offsets.empty()) options.q_offset = options.q_offset.value_or(0) + first;
  for (ScoreMod& mod : options.score_mods) {
    if (auto* bias = std::get_if<Bias>(&mod)) {
      auto& v = bias->values;
      v.data = static_cast<const char*>(v.data) +
               first * v.strides[2] * static_cast<std::int64_t>(size_of(v.dtype));
      v.shape[2] = out.shape[2];
    }
  }
  InputView<4> query = a.query, value = a.key;
  query.data = static_cast<const char*>(query.data) +
               first * query.strides[2] * static_cast<std::int64_t>(size_of(query.dtype));
  query.shape[2] = out.shape[2];
  value.shape[3] = 1;  // outputs are of no interest: one number of each key stands for its value
  std::vector<float> ignored(static_cast<std::size_t>(out.shape[0] * out.shape[1] * out.shape[2]));
  BatchProbe probe(out);
  const OutputView<4> view(ignored.data(), {out.shape[0], out.shape[1], out.shape[2], 1});
  regard::attention(query, a.key, value, view, options,
                    {.lse = {},
                     .probe = &probe,
                     .cancel = cancel,
                     .q_offsets = {},
                     .kv_lens = {},
                     .workspace = {}});
}

// NOLINTNEXTLINE(readability-function-size): Python's arguments, one by one
nb::object weights(nb::handle query, nb::handle key, nb::handle rows, nb::handle causal,
                   nb::handle window, nb::handle mask, nb::handle bias, nb::handle scale,
                   nb::handle softcap, nb::handle alibi_slopes, nb::handle sinks,
                   nb::handle q_offset, nb::handle kv_lens, nb::handle num_threads) {
  const Arguments a(query, key, {},
                    {causal, window, mask, bias, scale, softcap, alibi_slopes, sinks, q_offset,
                     kv_lens, nb::none(), nb::none(), num_threads});
  const Plan checked(a.shape(), a.options);  // says of the whole call what would be wrong with it
  const std::int64_t q_len = a.query.shape[2], kv_len = a.key.shape[2];
  std::vector<std::int64_t> chosen;
  if (rows.is_none()) {
    chosen.resize(static_cast<std::size_t>(q_len));
    std::iota(chosen.begin(), chosen.end(), 0);
  } else if (const auto row = as_int64("weights: rows", rows)) {
    chosen = {*row};
  } else {
    chosen = to_int64s("weights: rows", rows);
  }
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    std::int64_t& row = chosen[i];
    if (row < -q_len || row >= q_len)
      refuse("weights: rows[" + std::to_string(i) + "]", std::to_string(row),
             std::to_string(-q_len) + ".." + std::to_string(q_len - 1) + " (q_len)");
    if (row < 0) row += q_len;
  }
  const auto count = static_cast<std::int64_t>(chosen.size());
  std::vector<std::int64_t> shape = a.result_shape(kv_len);
  shape[shape.size() - 2] = count;
  nb::object result = new_array(a.like, Element::kF32, shape);
  const Array array = import_array("weights: result", result, true);
  const TensorView<float, 4> out(static_cast<float*>(array.data),
                                 {a.query.shape[0], a.query.shape[1], count, kv_len});
  run_interruptibly(a.flops(), [&](const std::atomic<bool>* cancel) {
    for (std::size_t i = 0, end = 0; i < chosen.size(); i = end) {  // neighbours in one go
      for (end = i + 1; end < chosen.size() && chosen[end] == chosen[end - 1] + 1;) ++end;
      TensorView<float, 4> part = out;
      part.data += static_cast<std::int64_t>(i) * part.strides[2];
      part.shape[2] = static_cast<std::int64_t>(end - i);
      weights_of_run(a, chosen[i], part, cancel);
    }
  });
  return finish_array(a.like, result);
}

/// A state and the kind of array that its results are to be.
struct StateObject {
  AttentionState state;
  std::shared_ptr<const Array> like;
};

std::shared_ptr<const Array> kind_of(const Array& like, Element element) {
  const std::vector<std::int64_t> nothing{0};
  auto kind = std::make_shared<Array>();
  kind->object = finish_array(like, new_array(like, element, nothing));
  kind->exchange = like.exchange;
  kind->element = element;
  return kind;
}

// NOLINTNEXTLINE(readability-function-size): Python's arguments, one by one
StateObject partial_attention(nb::handle query, nb::handle key, nb::handle value,
                              nb::handle kv_offset, nb::handle causal, nb::handle window,
                              nb::handle mask, nb::handle bias, nb::handle scale,
                              nb::handle softcap, nb::handle alibi_slopes, nb::handle q_offset,
                              nb::handle kv_lens, nb::handle num_threads) {
  Arguments a(query, key, value,
              {causal, window, mask, bias, scale, softcap, alibi_slopes, nb::none(), q_offset,
               kv_lens, nb::none(), nb::none(), num_threads});
  if (a.like.rank != 4)
    refuse("partial_attention: query", "of shape " + a.like.describe_shape(),
           "(batch, heads, q_len, head_dim)");
  a.options.kv_offset = to_int64("partial_attention: kv_offset", kv_offset);
  StateObject made{{}, kind_of(a.like, element_of(a.query.dtype))};
  run_interruptibly(a.flops(), [&](const std::atomic<bool>* cancel) {
    RunOptions run;
    run.cancel = cancel;
    made.state = regard::partial_attention(a.query, a.key, a.value, a.options, run);
  });
  return made;
}

/// Neighbours first: (0 1) (2 3), then these.
StateObject merge(nb::handle states) {
  if (!nb::isinstance<nb::sequence>(states))
    refuse_type("merge: states", "a " + class_name(states),
                "a list of what partial_attention returned");
  std::vector<StateObject> level;
  for (nb::handle item : nb::borrow<nb::sequence>(states)) {
    const StateObject* state = nullptr;
    if (!nb::try_cast(item, state, false))
      refuse_type("merge: states[" + std::to_string(level.size()) + "]", "a " + class_name(item),
                  "what partial_attention returned");
    level.push_back(*state);
  }
  if (level.empty()) refuse("merge: states", "empty", "one or more");
  while (level.size() > 1) {
    std::vector<StateObject> next;
    for (std::size_t i = 0; i + 1 < level.size(); i += 2)
      next.push_back({regard::merge(level[i].state, std::move(level[i + 1].state)), level[i].like});
    if (level.size() % 2 == 1) next.push_back(std::move(level.back()));
    level = std::move(next);
  }
  return std::move(level[0]);
}

nb::tuple finish(const StateObject& s, nb::handle sinks) {
  const std::vector<float> logits = to_floats("finish: sinks", sinks);
  const AttentionState& state = s.state;
  nb::object out = new_array(*s.like, s.like->element,
                             {state.batch, state.num_heads, state.q_len, state.value_dim});
  nb::object lse = new_array(*s.like, Element::kF32, {state.batch, state.num_heads, state.q_len});
  const Array out_array = import_array("finish: out", out, true),
              lse_array = import_array("finish: lse", lse, true);
  OutputView<4> view(static_cast<float*>(out_array.data),
                     {state.batch, state.num_heads, state.q_len, state.value_dim});
  view.dtype = dtype_of(out_array);
  regard::finish(state, view,
                 TensorView<float, 3>(static_cast<float*>(lse_array.data),
                                      {state.batch, state.num_heads, state.q_len}),
                 logits);
  return nb::make_tuple(finish_array(*s.like, out), finish_array(*s.like, lse));
}

#define REGARD_SHARED_ARGS                                                                        \
  nb::arg("causal").none() = false, nb::arg("window") = nb::none(), nb::arg("mask") = nb::none(), \
  nb::arg("bias") = nb::none(), nb::arg("scale") = nb::none(), nb::arg("softcap") = nb::none(),   \
  nb::arg("alibi_slopes") = nb::none()

}  // namespace

void bind_attention(nb::module_& module) {
  module.def("attention", &attention, nb::arg("query").none(), nb::arg("key").none(),
             nb::arg("value").none(), nb::kw_only(), REGARD_SHARED_ARGS,
             nb::arg("sinks") = nb::none(), nb::arg("q_offset") = nb::none(),
             nb::arg("kv_lens") = nb::none(), nb::arg("cu_seqlens_q") = nb::none(),
             nb::arg("cu_seqlens_kv") = nb::none(), nb::arg("return_lse").none() = false,
             nb::arg("out") = nb::none(), nb::arg("num_threads") = nb::none(),
             docstrings::kAttention);
  module.def("plan", &make_plan, nb::arg("query").none(), nb::arg("key").none(),
             nb::arg("value").none(), nb::kw_only(), REGARD_SHARED_ARGS,
             nb::arg("sinks") = nb::none(), nb::arg("q_offset") = nb::none(),
             nb::arg("kv_lens") = nb::none(), nb::arg("cu_seqlens_q") = nb::none(),
             nb::arg("cu_seqlens_kv") = nb::none(), nb::arg("num_threads") = nb::none(),
             docstrings::kPlan);
  module.def("weights", &weights, nb::arg("query").none(), nb::arg("key").none(), nb::kw_only(),
             nb::arg("rows") = nb::none(), REGARD_SHARED_ARGS, nb::arg("sinks") = nb::none(),
             nb::arg("q_offset") = nb::none(), nb::arg("kv_lens") = nb::none(),
             nb::arg("num_threads") = nb::none(), docstrings::kWeights);
  module.def("partial_attention", &partial_attention, nb::arg("query").none(),
             nb::arg("key").none(), nb::arg("value").none(), nb::kw_only(),
             nb::arg("kv_offset").none() = 0, REGARD_SHARED_ARGS, nb::arg("q_offset") = nb::none(),
             nb::arg("kv_lens") = nb::none(), nb::arg("num_threads") = nb::none(),
             docstrings::kPartialAttention);
  module.def("merge", &merge, nb::arg("states").none(), docstrings::kMerge);

  nb::class_<StateObject>(module, "AttentionState", docstrings::kState)
      .def("finish", &finish, nb::arg("sinks") = nb::none(), docstrings::kFinish)
      .def_prop_ro("shape", [](const StateObject& s) {
        return nb::make_tuple(s.state.batch, s.state.num_heads, s.state.q_len, s.state.value_dim);
      });
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
