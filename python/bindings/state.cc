// python/bindings/state.cc - attention over a part of the keys, and the parts put together.
#include "regard/state.h"

#include <memory>
#include <utility>
#include <vector>

#include "arguments.h"
#include "attend.h"
#include "convert.h"
#include "docstrings.h"
#include "run.h"

namespace regard::python {
namespace {

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

}  // namespace

void bind_state(nb::module_& module) {
  module.def("partial_attention", &partial_attention, nb::arg("query").none(),
             nb::arg("key").none(), nb::arg("value").none(), nb::kw_only(),
             nb::arg("kv_offset").none() = 0, REGARD_SHARED_ARGS, nb::arg("q_offset") = nb::none(),
             nb::arg("kv_lens") = nb::none(), nb::arg("num_threads") = nb::none(),
             docstrings::kPartialAttention, nb::sig(docstrings::kPartialAttentionSignature));
  module.def("merge", &merge, nb::arg("states").none(), docstrings::kMerge,
             nb::sig(docstrings::kMergeSignature));

  nb::class_<StateObject>(module, "AttentionState", docstrings::kState)
      .def("finish", &finish, nb::arg("sinks") = nb::none(), docstrings::kFinish,
           nb::sig(docstrings::kFinishSignature))
      .def_prop_ro("shape", [](const StateObject& s) {
        return nb::make_tuple(s.state.batch, s.state.num_heads, s.state.q_len, s.state.value_dim);
      });
}

}  // namespace regard::python
