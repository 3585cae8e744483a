// src/model/bert.cc - the forward pass of BERT on the engine's attention and linear layers.
#include "regard/model/bert.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include "model/bert_config.h"
#include "model/bert_weights.h"
#include "regard/plan.h"

namespace regard::model {
namespace {

using Rows = TensorView<float, 2>;

/// Everything that one run writes to; n tokens.
struct Buffers {
  Buffers(std::int64_t n, const BertConfig& config)
      : storage(static_cast<std::size_t>(n * (6 * config.hidden_size + config.intermediate_size))) {
    float* next = storage.data();
    const auto take = [&](std::int64_t features) {
      return Rows(std::exchange(next, next + n * features), {n, features});
    };
    hidden = take(config.hidden_size);
    query_key_value = take(3 * config.hidden_size);
    attended = take(config.hidden_size);
    projected = take(config.hidden_size);
    intermediate = take(config.intermediate_size);
  }

  std::vector<float> storage;
  Rows hidden, query_key_value, attended, projected, intermediate;
};

/// Columns [begin, begin + heads * head_dim) of rows as (1, heads, rows, head_dim), without a copy.
TensorView<float, 4> heads_of(Rows rows, std::int64_t begin, const BertConfig& config) {
  const std::int64_t n = rows.shape[0];
  const std::int64_t stride = rows.strides[0];
  return {rows.data + begin,
          {1, config.num_heads, n, config.head_dim()},
          {n * stride, config.head_dim(), stride, 1}};
}

TensorView<const float, 3> without_batch(TensorView<float, 4> view) {
  return {view.data,
          {view.shape[1], view.shape[2], view.shape[3]},
          {view.strides[1], view.strides[2], view.strides[3]}};
}

/// Weights that are finite can still make activations that are not; nobody shall be shown those.
void check_finite(Rows rows, std::int64_t layer) {
  const std::span values(rows.data, static_cast<std::size_t>(rows.size()));
  if (!all_finite(values)) {
    throw std::runtime_error(
        "bert: layer " + std::to_string(layer) +
        " computed a number that is not finite, expected weights of a trained model");
  }
}

Plan plan_attention(std::int64_t length, const BertConfig& config, Executor& executor) {
  const AttentionShape shape{.num_heads = config.num_heads,
                             .num_kv_heads = config.num_heads,
                             .q_len = length,
                             .kv_len = length,
                             .head_dim = config.head_dim(),
                             .value_dim = config.head_dim()};
  AttentionOptions options;
  options.executor = &executor;
  return Plan(shape, options);
}

}  // namespace

struct Bert::Impl {
  std::filesystem::path folder;
  BertConfig config;
  BertWeights weights;

  void check_ids(std::span<const std::int32_t> ids) const;
  void embed(std::span<const std::int32_t> ids, Buffers& buffers, Executor& executor) const;
  void attend(std::int64_t layer, const Plan& plan, const BertObserver& observer, Buffers& buffers,
              Executor& executor) const;
  void feed_forward(std::int64_t layer, Buffers& buffers, Executor& executor) const;
};

void Bert::Impl::check_ids(std::span<const std::int32_t> ids) const {
  const auto length = static_cast<std::int64_t>(ids.size());
  if (length < 1 || length > config.max_positions) {
    throw std::invalid_argument("bert: ids has " + std::to_string(length) +
                                " tokens, expected 1 to " + std::to_string(config.max_positions));
  }
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= config.vocab_size) {
      throw std::invalid_argument("bert: ids[" + std::to_string(i) + "] is " +
                                  std::to_string(ids[i]) + ", expected 0 to " +
                                  std::to_string(config.vocab_size - 1));
    }
  }
}

void Bert::Impl::embed(std::span<const std::int32_t> ids, Buffers& buffers,
                       Executor& executor) const {
  const std::int64_t hidden = config.hidden_size;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    std::copy_n(weights.words.data() + ids[i] * hidden, hidden,
                buffers.hidden.data + static_cast<std::int64_t>(i) * hidden);
  }
  const TensorView<const float, 2> positions(weights.positions.data(), buffers.hidden.shape);
  weights.embedding_norm.run_sum(buffers.hidden, positions, buffers.hidden, executor);
}

void Bert::Impl::attend(std::int64_t layer, const Plan& plan, const BertObserver& observer,
                        Buffers& buffers, Executor& executor) const {
  const BertLayer& part = weights.layers[static_cast<std::size_t>(layer)];
  const std::int64_t hidden = config.hidden_size;
  part.query_key_value.run(buffers.hidden, buffers.query_key_value, &executor);
  const auto value = heads_of(buffers.query_key_value, 2 * hidden, config);
  const auto out = heads_of(buffers.attended, 0, config);
  plan.run(heads_of(buffers.query_key_value, 0, config),
           heads_of(buffers.query_key_value, hidden, config), value, out,
           {.probe = observer.probe ? observer.probe(layer) : nullptr});
  check_finite(buffers.attended, layer);
  if (observer.attended) observer.attended(layer, without_batch(value), without_batch(out));
  part.attention_out.run(buffers.attended, buffers.projected, &executor);
  part.attention_norm.run_sum(buffers.projected, buffers.hidden, buffers.hidden, executor);
}

void Bert::Impl::feed_forward(std::int64_t layer, Buffers& buffers, Executor& executor) const {
  const BertLayer& part = weights.layers[static_cast<std::size_t>(layer)];
  part.intermediate.run(buffers.hidden, buffers.intermediate, &executor);
  weights.activation.run(buffers.intermediate, executor);
  part.out.run(buffers.intermediate, buffers.projected, &executor);
  part.out_norm.run_sum(buffers.projected, buffers.hidden, buffers.hidden, executor);
  check_finite(buffers.hidden, layer);
}

Bert::Bert(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Bert::~Bert() = default;
Bert::Bert(Bert&&) noexcept = default;
Bert& Bert::operator=(Bert&&) noexcept = default;

Bert Bert::load(const std::filesystem::path& folder) {
  BertConfig config = read_bert_config(folder);
  BertWeights weights = load_bert_weights(folder / "model.safetensors", config);
  return Bert(std::make_unique<Impl>(Impl{folder, std::move(config), std::move(weights)}));
}

const BertConfig& Bert::config() const { return impl_->config; }

void Bert::check_vocabulary(std::int64_t num_ids) const {
  if (num_ids <= impl_->config.vocab_size) return;
  throw std::runtime_error(impl_->folder.string() + ": tokenizer.json has ids up to " +
                           std::to_string(num_ids - 1) + ", expected at most " +
                           std::to_string(impl_->config.vocab_size - 1) +
                           " (vocab_size of config.json)");
}

std::vector<float> Bert::run(std::span<const std::int32_t> ids, const BertObserver& observer,
                             Executor* executor) const {
  impl_->check_ids(ids);
  Executor& where = executor != nullptr ? *executor : default_executor();
  const auto length = static_cast<std::int64_t>(ids.size());
  Buffers buffers(length, impl_->config);
  const Plan plan = plan_attention(length, impl_->config, where);
  impl_->embed(ids, buffers, where);
  for (std::int64_t layer = 0; layer < impl_->config.num_layers; ++layer) {
    impl_->attend(layer, plan, observer, buffers, where);
    impl_->feed_forward(layer, buffers, where);
  }
  return {buffers.hidden.data, buffers.hidden.data + buffers.hidden.size()};
}

}  // namespace regard::model
