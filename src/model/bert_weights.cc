// src/model/bert_weights.cc - the layers of a BERT model, filled from a safetensors file.
#include "model/bert_weights.h"

#include <array>
#include <span>
#include <string>

#include "regard/model/safetensors.h"

namespace regard::model {
namespace {

class Reader {
 public:
  Reader(const std::filesystem::path& path, const BertConfig& config)
      : file_(path),
        config_(config),
        prefix_(file_.has("bert.embeddings.word_embeddings.weight") ? "bert." : "") {}

  BertWeights read() const {
    const std::int64_t hidden = config_.hidden_size;
    BertWeights weights{
        .words = table("embeddings.word_embeddings", config_.vocab_size),
        .positions = table("embeddings.position_embeddings", config_.max_positions),
        .embedding_norm = layer_norm("embeddings.LayerNorm"),
        // NOLINTNEXTLINE(bugprone-unchecked-optional-access): config.json was refused otherwise
        .activation = Activation::find(config_.activation).value(),
        .layers = {},
    };
    const auto segments = table("embeddings.token_type_embeddings", config_.type_vocab_size);
    for (std::size_t i = 0; i < weights.positions.size(); ++i) {
      weights.positions[i] += segments[i % static_cast<std::size_t>(hidden)];
    }
    for (std::int64_t i = 0; i < config_.num_layers; ++i) {
      weights.layers.push_back(layer("encoder.layer." + std::to_string(i) + "."));
    }
    return weights;
  }

 private:
  BertLayer layer(const std::string& name) const {
    const std::int64_t hidden = config_.hidden_size;
    const std::int64_t wide = config_.intermediate_size;
    const std::string self = name + "attention.self.";
    return {
        .query_key_value = linear({self + "query", self + "key", self + "value"}, hidden, hidden),
        .attention_out = linear({name + "attention.output.dense"}, hidden, hidden),
        .attention_norm = layer_norm(name + "attention.output.LayerNorm"),
        .intermediate = linear({name + "intermediate.dense"}, wide, hidden),
        .out = linear({name + "output.dense"}, hidden, wide),
        .out_norm = layer_norm(name + "output.LayerNorm"),
    };
  }

  /// One layer whose outputs are those of the named layers, (out, in) each, one after another.
  Linear linear(const std::vector<std::string>& names, std::int64_t out, std::int64_t in) const {
    const std::array weight_shape{out, in};
    const std::array bias_shape{out};
    for (const std::string& name : names) {  // before memory is asked for what config.json says
      file_.expect(prefix_ + name + ".weight", weight_shape);
      file_.expect(prefix_ + name + ".bias", bias_shape);
    }
    const auto num_rows = static_cast<std::size_t>(out);
    const auto num_weights = static_cast<std::size_t>(out * in);
    std::vector<float> weight(names.size() * num_weights);
    std::vector<float> bias(names.size() * num_rows);
    for (std::size_t i = 0; i < names.size(); ++i) {
      file_.read_f32(prefix_ + names[i] + ".weight", weight_shape,
                     std::span(weight).subspan(i * num_weights, num_weights));
      file_.read_f32(prefix_ + names[i] + ".bias", bias_shape,
                     std::span(bias).subspan(i * num_rows, num_rows));
    }
    const auto rows = static_cast<std::int64_t>(bias.size());
    return {TensorView<const float, 2>(weight.data(), {rows, in}), bias};
  }

  LayerNorm layer_norm(const std::string& name) const {
    const std::array shape{config_.hidden_size};
    // Files converted from TensorFlow keep its names.
    const bool old_names = file_.has(prefix_ + name + ".gamma");
    return {.weight = file_.read_f32(prefix_ + name + (old_names ? ".gamma" : ".weight"), shape),
            .bias = file_.read_f32(prefix_ + name + (old_names ? ".beta" : ".bias"), shape),
            .eps = config_.layer_norm_eps};
  }

  std::vector<float> table(const std::string& name, std::int64_t rows) const {
    return file_.read_f32(prefix_ + name + ".weight", std::array{rows, config_.hidden_size});
  }

  SafetensorsFile file_;
  const BertConfig& config_;
  std::string prefix_;
};

}  // namespace

BertWeights load_bert_weights(const std::filesystem::path& file, const BertConfig& config) {
  return Reader(file, config).read();
}

}  // namespace regard::model
