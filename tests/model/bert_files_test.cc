// tests/model/bert_files_test.cc - model folders with one thing wrong: a line that says what.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>

#include "model/bert_config.h"
#include "model/golden_bert.h"
#include "model/temp_folder.h"
#include "regard/model/safetensors.h"

namespace regard::model {
namespace {

using nlohmann::json;
using testing::golden_folder;
using testing::message_of;
using testing::TempFolder;

std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// What loading the tiny model says once its config and its safetensors header were changed.
std::string said(const std::function<void(json& config)>& change_config,
                 const std::function<void(json& header)>& change_header = {},
                 const std::function<void(std::string& data)>& change_data = {}) {
  json config = testing::read_golden_json(golden_folder() / "tiny_bert_gelu" / "config.json");
  if (change_config) change_config(config);
  std::string bytes = bytes_of(golden_folder() / "tiny_bert_gelu" / "model.safetensors");
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  json header = json::parse(bytes.substr(sizeof length, length));
  std::string data = bytes.substr(sizeof length + length);
  if (change_header) change_header(header);
  if (change_data) change_data(data);
  const std::string text = header.dump();
  length = text.size();
  std::string start(sizeof length, '\0');
  std::memcpy(start.data(), &length, sizeof length);

  const TempFolder folder;
  folder.write("config.json", config.dump());
  folder.write("model.safetensors", start + text + data);
  const std::string message = message_of<std::runtime_error>([&] { Bert::load(folder.path()); });
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  if (message.empty()) return "";
  EXPECT_TRUE(message.starts_with(folder.path().string())) << message;
  return message.substr(folder.path().string().size() + 1);
}

struct BadConfig {
  const char* key;
  json value;
  const char* message;
};

std::vector<BadConfig> bad_configs() {
  return {
      {"model_type", "gpt2", "model_type is \"gpt2\", expected \"bert\""},
      {"model_type", 7, "model_type is 7, expected a string"},
      {"num_attention_heads", 5,
       "hidden_size is 24, expected a multiple of 5 (num_attention_heads)"},
      {"num_attention_heads", 0,
       "num_attention_heads is 0, expected an integer from 1 to 2147483647"},
      {"num_attention_heads", -3, "num_attention_heads is -3, expected an integer from 1"},
      {"hidden_size", 1e300, "hidden_size is 1e+300, expected an integer"},
      {"hidden_size", 24.0, "hidden_size is 24.0, expected an integer"},
      {"hidden_size", 18446744073709551615U,
       "hidden_size is 18446744073709551615, expected an integer"},
      {"hidden_size", "24", "hidden_size is \"24\", expected an integer"},
      {"hidden_size", 3 * 513, "hidden_size is 1539, expected at most 512 times 3"},
      {"num_hidden_layers", 0, "num_hidden_layers is 0, expected an integer from 1"},
      {"num_hidden_layers", 2147483647,
       "tensor \"encoder.layer.2.attention.self.query.weight\" is missing, expected F32, F16 or "
       "BF16 (24, 24)"},
      {"vocab_size", json::array({1}), "vocab_size is an array of 1, expected an integer"},
      {"vocab_size", 41,
       "\"embeddings.word_embeddings.weight\" is F32 (40, 24), expected F32, F16 or BF16 (41, 24)"},
      {"intermediate_size", 2147483647,
       "is F32 (40, 24), expected F32, F16 or BF16 (2147483647, 24)"},
      {"max_position_embeddings", 512,
       "\"embeddings.position_embeddings.weight\" is F32 (20, 24), expected F32, F16 or BF16 (512, "
       "24)"},
      {"type_vocab_size", 1,
       "\"embeddings.token_type_embeddings.weight\" is F32 (2, 24), expected F32, F16 or BF16 (1, "
       "24)"},
      {"layer_norm_eps", "small", "layer_norm_eps is \"small\", expected a number above 0"},
      {"layer_norm_eps", 0, "layer_norm_eps is 0, expected a number above 0"},
      {"layer_norm_eps", -1e-12, "layer_norm_eps is -1e-12, expected a number above 0"},
      {"hidden_act", "swish", "hidden_act is \"swish\", expected \"gelu\""},
      {"hidden_act", true, "hidden_act is true, expected a string"},
      {"is_decoder", true, "is_decoder is true, expected false"},
      {"add_cross_attention", "no", "add_cross_attention is \"no\", expected true or false"},
      {"position_embedding_type", "relative_key",
       "position_embedding_type is \"relative_key\", expected \"absolute\""},
  };
}

TEST(BertFiles, UntouchedOnesLoad) { EXPECT_EQ(said({}), ""); }

TEST(BertFiles, BadConfigsAreRefused) {
  for (const BadConfig& bad : bad_configs()) {
    const std::string message = said([&](json& config) { config[bad.key] = bad.value; });
    EXPECT_NE(message.find(bad.message), std::string::npos)
        << bad.key << " = " << bad.value << ": " << message;
  }
}

TEST(BertFiles, MissingConfigEntries) {
  for (const char* key :
       {"model_type", "num_hidden_layers", "num_attention_heads", "hidden_size",
        "intermediate_size", "vocab_size", "max_position_embeddings", "type_vocab_size"}) {
    EXPECT_EQ(said([&](json& config) { config.erase(key); }),
              std::string("config.json: ") + key + " is missing");
  }
  for (const char* key :
       {"layer_norm_eps", "hidden_act", "position_embedding_type", "is_decoder"}) {
    EXPECT_EQ(said([&](json& config) { config.erase(key); }), "") << key;
    EXPECT_EQ(said([&](json& config) { config[key] = nullptr; }), "") << key;
  }
}

TEST(BertFiles, ConfigThatIsNoConfig) {
  EXPECT_THROW(parse_bert_config("", "config.json"), std::runtime_error);
  EXPECT_THROW(parse_bert_config("[]", "config.json"), std::runtime_error);
  EXPECT_THROW(parse_bert_config(std::string(1 << 20, '['), "config.json"), std::runtime_error);
  EXPECT_EQ(message_of<std::runtime_error>(
                [] { parse_bert_config(R"({"model_type": "bert", "model_type": "bert"})", "c"); }),
            "c: JSON key \"model_type\" comes twice");
}

TEST(BertFiles, BadTensorsAreRefused) {
  const std::string name = "encoder.layer.1.output.dense.weight";
  const auto with = [&](const std::function<void(json&)>& change) { return said({}, change); };
  EXPECT_EQ(
      with([&](json& header) { header["x"] = header[name], header.erase(name); }),
      "model.safetensors: tensor \"" + name + "\" is missing, expected F32, F16 or BF16 (24, 40)");
  EXPECT_EQ(with([&](json& header) { header[name]["dtype"] = "I32"; }),
            "model.safetensors: tensor \"" + name +
                "\" is I32 (24, 40), expected F32, F16 or BF16 (24, 40)");
  EXPECT_EQ(with([&](json& header) { header[name]["shape"] = {40, 24}; }),
            "model.safetensors: tensor \"" + name +
                "\" is F32 (40, 24), expected F32, F16 or BF16 (24, 40)");
  EXPECT_EQ(with([&](json& header) { header[name]["shape"] = {1, 24, 40}; }),
            "model.safetensors: tensor \"" + name +
                "\" is F32 (1, 24, 40), expected F32, F16 or BF16 (24, 40)");
  const auto dtype_of_half_size = with([&](json& header) { header[name]["dtype"] = "F16"; });
  EXPECT_NE(dtype_of_half_size.find("data_offsets span 3840 bytes, expected 1920"),
            std::string::npos);
  EXPECT_EQ(with([&](json& header) {
              header["x"] = {{"dtype", "F32"}, {"shape", {0}}, {"data_offsets", {0, 0}}};
            }),
            "");
}

TEST(BertFiles, WeightsThatAreNotFinite) {
  const std::string message = said({}, {}, [](std::string& data) {
    std::memcpy(data.data(), "\0\0\xc0\x7f", 4);  // NaN as the first element of the first tensor
  });
  EXPECT_NE(message.find("holds nan at element 0, expected finite numbers"), std::string::npos)
      << message;
}

TEST(BertFiles, WeightsThatOverflowWhenTheyRun) {
  // Finite weights of 1e38 everywhere: the numbers they make are not, and must not be shown.
  const auto source = golden_folder() / "tiny_bert_gelu";
  std::string bytes = bytes_of(source / "model.safetensors");
  const TensorInfo tensor = SafetensorsFile(source / "model.safetensors")
                                .tensors()
                                .find("encoder.layer.0.attention.self.query.weight")
                                ->second;
  const float huge = 1e38F;
  for (std::uint64_t at = tensor.begin; at < tensor.end; at += 4) std::memcpy(&bytes[at], &huge, 4);
  const TempFolder folder;
  folder.write("config.json", bytes_of(source / "config.json"));
  folder.write("model.safetensors", bytes);
  const Bert bert = Bert::load(folder.path());
  int layers_shown = 0;
  BertObserver observer;
  observer.attended = [&](std::int64_t, auto, auto) { ++layers_shown; };
  const std::string message = message_of<std::runtime_error>(
      [&] { bert.run(std::vector<std::int32_t>{1, 2, 3}, observer); });
  EXPECT_NE(message.find("bert: layer 0 computed a number that is not finite"), std::string::npos)
      << message;
  EXPECT_EQ(layers_shown, 0);
}

TEST(BertFiles, MissingFiles) {
  const TempFolder folder;
  const auto load = [&] {
    return message_of<std::runtime_error>([&] { Bert::load(folder.path()); });
  };
  EXPECT_EQ(load(), (folder.path() / "config.json").string() + ": No such file or directory");
  folder.write("config.json", bytes_of(golden_folder() / "tiny_bert_gelu" / "config.json"));
  EXPECT_EQ(load(), (folder.path() / "model.safetensors").string() +
                        ": cannot be opened: No such file or directory");
}

}  // namespace
}  // namespace regard::model
