// include/regard/model/bert.h - encoder models of the BERT family on the engine.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "regard/executor.h"
#include "regard/probe.h"
#include "regard/tensor_view.h"

namespace regard::model {

/// What config.json says of a BERT model.
struct BertConfig {
  std::int64_t num_layers = 0;
  std::int64_t num_heads = 0;
  std::int64_t hidden_size = 0;
  std::int64_t intermediate_size = 0;
  std::int64_t vocab_size = 0;
  std::int64_t max_positions = 0;
  std::int64_t type_vocab_size = 0;
  double layer_norm_eps = 1e-12;
  std::string activation = "gelu";

  std::int64_t head_dim() const { return hidden_size / num_heads; }
};

/// What a caller may watch while the model runs. Both may be empty.
struct BertObserver {
  /// Asked before each layer's attention; the returned probe (may be null) sees that layer's tiles.
  std::function<Probe*(std::int64_t layer)> probe;
  /// Called after each layer's attention, before its output projection: values and the attention
  /// output, each (num_heads, length, head_dim), views of the run's own memory, valid during the
  /// call. All numbers are finite then, and so are that layer's weights.
  std::function<void(std::int64_t layer, TensorView<const float, 3> values,
                     TensorView<const float, 3> attention_out)>
      attended;
};

/// A loaded model. Immutable; thread safe.
/// Errors are std::runtime_error: one line with the file, the thing, what came and what was wanted.
class Bert {
 public:
  /// folder holds config.json and model.safetensors (Hugging Face names, with or without a "bert."
  /// prefix, LayerNorm's numbers as weight and bias or, in older files, gamma and beta). Tensors
  /// that an encoder does not need are ignored.
  static Bert load(const std::filesystem::path& folder);
  ~Bert();
  Bert(Bert&&) noexcept;
  Bert& operator=(Bert&&) noexcept;

  const BertConfig& config() const;

  /// Throws when a tokenizer with ids in [0, num_ids) could name a token that this model does not
  /// have.
  void check_vocabulary(std::int64_t num_ids) const;

  /// Final hidden states (ids.size(), hidden_size) of one sequence, all tokens visible to all,
  /// segment 0. Throws std::invalid_argument for no ids, more than max_positions, or an id outside
  /// the vocabulary; std::runtime_error when the weights make a number overflow. An exception of
  /// the observer's passes through.
  std::vector<float> run(std::span<const std::int32_t> ids, const BertObserver& observer = {},
                         Executor* executor = nullptr) const;

 private:
  struct Impl;
  explicit Bert(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace regard::model
