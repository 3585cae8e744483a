// tests/model/bert_run.h - one run of a BERT model with everything it can show.
#pragma once

#include <memory>
#include <numeric>
#include <vector>

#include "regard/model/bert.h"

namespace regard::model::testing {

struct BertRun {
  std::int64_t length, num_heads, head_dim;
  std::vector<float> weights;                        // [layer][head][query][key]
  std::vector<std::vector<float>> values, attended;  // of each layer, [head][token][dim]
  std::vector<float> hidden;

  const float* weight_row(std::int64_t layer, std::int64_t head, std::int64_t query) const {
    return weights.data() + ((layer * num_heads + head) * length + query) * length;
  }
};

inline std::vector<float> flat(TensorView<const float, 3> view) {
  std::vector<float> numbers;
  for (std::int64_t h = 0; h < view.shape[0]; ++h) {
    for (std::int64_t i = 0; i < view.shape[1]; ++i) {
      for (std::int64_t d = 0; d < view.shape[2]; ++d) numbers.push_back(view(h, i, d));
    }
  }
  return numbers;
}

inline BertRun run_bert(const Bert& bert, std::span<const std::int32_t> ids,
                        Executor* executor = nullptr) {
  const BertConfig& config = bert.config();
  const auto n = static_cast<std::int64_t>(ids.size());
  BertRun run{n, config.num_heads, config.head_dim(), {}, {}, {}, {}};
  run.weights.resize(static_cast<std::size_t>(config.num_layers * config.num_heads * n * n));
  std::vector<std::int64_t> heads(static_cast<std::size_t>(config.num_heads)), queries(ids.size());
  std::iota(heads.begin(), heads.end(), 0);
  std::iota(queries.begin(), queries.end(), 0);
  std::unique_ptr<WeightsProbe> probe;
  const BertObserver observer{
      .probe =
          [&](std::int64_t layer) {
            float* to = run.weights.data() + layer * config.num_heads * n * n;
            probe = std::make_unique<WeightsProbe>(
                0, heads, queries, TensorView<float, 3>(to, {config.num_heads, n, n}));
            return probe.get();
          },
      .attended =
          [&](std::int64_t, TensorView<const float, 3> values, TensorView<const float, 3> out) {
            run.values.push_back(flat(values));
            run.attended.push_back(flat(out));
          }};
  run.hidden = bert.run(ids, observer, executor);
  return run;
}

}  // namespace regard::model::testing
