// python/bindings/weights.cc - what rows attend to, from the engine's probe.
#include <memory>
#include <numeric>
#include <variant>
#include <vector>

#include "arguments.h"
#include "attend.h"
#include "convert.h"
#include "docstrings.h"
#include "regard/plan.h"
#include "regard/probe.h"
#include "run.h"

namespace regard::python {
namespace {

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

}  // namespace

void bind_weights(nb::module_& module) {
  module.def("weights", &weights, nb::arg("query").none(), nb::arg("key").none(), nb::kw_only(),
             nb::arg("rows") = nb::none(), REGARD_SHARED_ARGS, nb::arg("sinks") = nb::none(),
             nb::arg("q_offset") = nb::none(), nb::arg("kv_lens") = nb::none(),
             nb::arg("num_threads") = nb::none(), docstrings::kWeights,
             nb::sig(docstrings::kWeightsSignature));
}

}  // namespace regard::python
