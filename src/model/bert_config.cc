// src/model/bert_config.cc - config.json of a BERT model, checked.
#include "model/bert_config.h"

#include <limits>
#include <stdexcept>
#include <string>

#include "model/json.h"
#include "model/layers.h"

namespace regard::model {
namespace {

constexpr std::int64_t kMaxHeadDim = 512;  // the engine's
constexpr std::uint64_t kMaxConfigBytes = 16 << 20;

/// Typed access to one JSON object; every error names the file, the key, what came and what was
/// wanted.
class ConfigReader {
 public:
  ConfigReader(std::string_view json, std::string_view name)
      : where_(std::string(name) + ": "), json_(parse_json(json, name)) {
    if (!json_.is_object()) fail(std::string("is ") + json_.type_name() + ", expected an object");
  }

  [[noreturn]] void fail(const std::string& what) const { throw std::runtime_error(where_ + what); }

  /// Null when the key is missing or null, which mean the same to transformers.
  const Json* find(const char* key) const {
    const auto found = json_.find(key);
    return found == json_.end() || found->is_null() ? nullptr : &*found;
  }

  [[noreturn]] void wrong(const char* key, const char* wanted) const {
    const Json* value = find(key);
    fail(std::string(key) + " is " +
         (value == nullptr ? "missing" : value->dump(-1, ' ', true).substr(0, 80)) + ", expected " +
         wanted);
  }

  std::int64_t extent(const char* key) const {
    const Json* value = find(key);
    constexpr std::uint64_t kMost = std::numeric_limits<std::int32_t>::max();
    if (value == nullptr || !value->is_number_unsigned() || value->get<std::uint64_t>() < 1 ||
        value->get<std::uint64_t>() > kMost) {
      wrong(key, "an integer from 1 to 2147483647");
    }
    return value->get<std::int64_t>();
  }

  double positive(const char* key, double when_missing) const {
    const Json* value = find(key);
    if (value == nullptr) return when_missing;
    if (!value->is_number() || !(value->get<double>() > 0 && value->get<double>() <= 1)) {
      wrong(key, "a number above 0 and at most 1");
    }
    return value->get<double>();
  }

  std::string text(const char* key, const char* when_missing) const {
    const Json* value = find(key);
    if (value == nullptr) return when_missing;
    if (!value->is_string()) wrong(key, "a string");
    return value->get<std::string>();
  }

  /// Refuses what would make it another computation than the one that we run.
  void must_be_false(const char* key) const {
    const Json* value = find(key);
    if (value != nullptr && *value != Json(false)) wrong(key, "false (an encoder)");
  }

 private:
  std::string where_;
  Json json_;
};

}  // namespace

BertConfig parse_bert_config(std::string_view json, std::string_view name) {
  const ConfigReader reader(json, name);
  if (reader.text("model_type", "") != "bert") reader.wrong("model_type", "\"bert\"");
  reader.must_be_false("is_decoder");
  reader.must_be_false("add_cross_attention");
  if (reader.text("position_embedding_type", "absolute") != "absolute") {
    reader.wrong("position_embedding_type", "\"absolute\"");
  }
  BertConfig config;
  config.num_layers = reader.extent("num_hidden_layers");
  config.num_heads = reader.extent("num_attention_heads");
  config.hidden_size = reader.extent("hidden_size");
  config.intermediate_size = reader.extent("intermediate_size");
  config.vocab_size = reader.extent("vocab_size");
  config.max_positions = reader.extent("max_position_embeddings");
  config.type_vocab_size = reader.extent("type_vocab_size");
  config.layer_norm_eps = reader.positive("layer_norm_eps", 1e-12);
  config.activation = reader.text("hidden_act", "gelu");
  if (find_activation(config.activation) == nullptr) {
    reader.wrong("hidden_act", "\"gelu\", \"gelu_new\", \"gelu_pytorch_tanh\" or \"relu\"");
  }
  const std::string heads = std::to_string(config.num_heads) + " (num_attention_heads)";
  if (config.hidden_size % config.num_heads != 0) {
    reader.wrong("hidden_size", ("a multiple of " + heads).c_str());
  }
  if (config.head_dim() > kMaxHeadDim) {
    reader.wrong("hidden_size",
                 ("at most " + std::to_string(kMaxHeadDim) + " times " + heads).c_str());
  }
  return config;
}

BertConfig read_bert_config(const std::filesystem::path& folder) {
  const std::string path = (folder / "config.json").string();
  return parse_bert_config(read_file(path, kMaxConfigBytes), path);
}

}  // namespace regard::model
