// src/model/bert_config.cc - config.json of a BERT model, checked.
#include "model/bert_config.h"

#include <limits>
#include <optional>
#include <string>

#include "model/json_field.h"
#include "model/layers.h"

namespace regard::model {
namespace {

constexpr std::int64_t kMaxHeadDim = 512;  // the engine's
constexpr std::uint64_t kMaxConfigBytes = 16 << 20;

/// The member, or nothing when it is missing or null, which mean the same to transformers.
std::optional<JsonField> find(const JsonField& config, std::string_view key) {
  auto field = config.find(key);
  return field && field->is_null() ? std::nullopt : field;
}

std::int64_t extent(const JsonField& config, std::string_view key) {
  return config.at(key).integer(1, std::numeric_limits<std::int32_t>::max());
}

double layer_norm_eps(const JsonField& config) {
  const auto field = find(config, "layer_norm_eps");
  if (!field) return 1e-12;
  const double eps = field->value().is_number() ? field->value().get<double>() : 0;
  if (!(eps > 0 && eps <= 1)) field->fail("a number above 0 and at most 1");
  return eps;
}

std::string activation(const JsonField& config) {
  const auto field = find(config, "hidden_act");
  if (!field) return "gelu";
  if (!Activation::find(field->text())) {
    field->fail("\"gelu\", \"gelu_new\", \"gelu_pytorch_tanh\" or \"relu\"");
  }
  return field->text();
}

/// Refuses what would make it another computation than the one that we run.
void check_kind(const JsonField& config) {
  config.at("model_type").only("bert");
  for (const char* key : {"is_decoder", "add_cross_attention"}) {
    const auto field = find(config, key);
    if (field && field->boolean()) field->fail("false (an encoder)");
  }
  if (const auto field = find(config, "position_embedding_type")) field->only("absolute");
}

}  // namespace

BertConfig parse_bert_config(std::string_view json, std::string_view name) {
  const Json root = parse_json(json, name);
  const JsonField field(name, root);
  check_kind(field);
  BertConfig config;
  config.num_layers = extent(field, "num_hidden_layers");
  config.num_heads = extent(field, "num_attention_heads");
  config.hidden_size = extent(field, "hidden_size");
  config.intermediate_size = extent(field, "intermediate_size");
  config.vocab_size = extent(field, "vocab_size");
  config.max_positions = extent(field, "max_position_embeddings");
  config.type_vocab_size = extent(field, "type_vocab_size");
  config.layer_norm_eps = layer_norm_eps(field);
  config.activation = activation(field);
  const std::string heads = std::to_string(config.num_heads) + " (num_attention_heads)";
  const JsonField hidden = field.at("hidden_size");
  if (config.hidden_size % config.num_heads != 0) hidden.fail("a multiple of " + heads);
  if (config.head_dim() > kMaxHeadDim) {
    hidden.fail("at most " + std::to_string(kMaxHeadDim) + " times " + heads);
  }
  return config;
}

BertConfig read_bert_config(const std::filesystem::path& folder) {
  const std::string path = (folder / "config.json").string();
  return parse_bert_config(read_file(path, kMaxConfigBytes), path);
}

}  // namespace regard::model
