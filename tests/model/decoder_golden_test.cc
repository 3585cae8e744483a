// tests/model/decoder_golden_test.cc - small models of every family against transformers in
// float64, however their files are cut and whatever their weights are stored as, and files that are
// refused.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>

#include "model/gguf_writer.h"
#include "model/golden_bert.h"
#include "model/temp_folder.h"
#include "regard/model/decoder.h"
#include "regard/model/safetensors.h"
#include "regard/rope.h"

namespace regard::model {
namespace {

using nlohmann::json;
using testing::message_of;
using testing::TempFolder;

std::filesystem::path golden(const std::string& name) {
  return testing::golden_folder() / "decoder" / name;
}

struct Prompt {
  std::vector<std::int32_t> ids;
  std::vector<std::int64_t> rows;  ///< of the logits that are kept
  std::vector<float> logits;       ///< (rows, vocabulary), transformers' in float64
};

struct Case {
  json config, config_4;  ///< config.json as transformers 5 and 4 write it
  double error_f32 = 0;   ///< largest error of transformers in float32
  std::vector<Prompt> prompts;

  /// Its sums err as ours may, in another order, and its rotary angles are float32 even in float64.
  double bound() const { return 4 * error_f32; }
};

std::vector<Case> cases_of(const std::string& model, std::size_t vocab_size) {
  std::ifstream numbers(golden(model + ".logits"), std::ios::binary);
  const json file = testing::read_golden_json(golden(model + ".json"));
  std::vector<Case> cases;
  for (const json& entry : file.at("cases")) {
    Case each{.config = entry.value("config", json()),
              .config_4 = entry.value("config_4", json()),
              .error_f32 = entry.at("error_f32"),
              .prompts = {}};
    for (const json& prompt : entry.at("prompts")) {
      Prompt p{.ids = prompt.at("ids"), .rows = prompt.at("rows"), .logits = {}};
      p.logits.resize(p.rows.size() * vocab_size);
      numbers.read(reinterpret_cast<char*>(p.logits.data()),
                   static_cast<std::streamsize>(p.logits.size() * sizeof(float)));
      if (!numbers) throw std::runtime_error(model + ".logits is too short");
      each.prompts.push_back(std::move(p));
    }
    cases.push_back(std::move(each));
  }
  return cases;
}

/// Logits of every token, run in pieces of `piece` tokens.
std::vector<float> logits(const Decoder& decoder, std::span<const std::int32_t> ids,
                          std::int64_t piece = 1000, int threads = 1) {
  PagedKvCache cache(decoder.cache_shape(DType::kF32));
  const auto sequence = cache.create();
  const auto executor = make_thread_pool(threads);
  const std::int64_t words = decoder.config().vocab_size, n = std::ssize(ids);
  std::vector<float> out(static_cast<std::size_t>(n * words));
  DecoderOptions options;
  options.all_logits = true;
  options.executor = executor.get();
  for (std::int64_t at = 0; at < n; at += piece) {
    const std::int64_t count = std::min(piece, n - at);
    const DecoderInput input{
        sequence, ids.subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(count))};
    decoder.run(cache, std::span(&input, 1), {out.data() + at * words, {count, words}}, options);
  }
  return out;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

/// How far the decoder's logits are from a case's.
double error_of(const Decoder& decoder, const Case& each) {
  const auto words = static_cast<std::size_t>(decoder.config().vocab_size);
  double error = 0;
  for (const Prompt& prompt : each.prompts) {
    const auto ours = logits(decoder, prompt.ids);
    for (std::size_t i = 0; i < prompt.logits.size(); ++i) {
      const auto row = static_cast<std::size_t>(prompt.rows[i / words]);
      error = std::max(error, std::abs(double{ours[row * words + i % words]} - prompt.logits[i]));
    }
  }
  return error;
}

struct Tensor {
  std::vector<std::int64_t> shape;
  std::vector<float> numbers;
};
using Tensors = std::map<std::string, Tensor>;

Tensors tensors_of(const std::string& model) {
  const SafetensorsFile file(golden(model + ".safetensors"));
  Tensors tensors;
  for (const auto& [name, info] : file.tensors())
    tensors[name] = {info.shape, file.read_f32(name, info.shape)};
  return tensors;
}

template <class T>
void append(std::string& bytes, T x) {
  bytes.append(reinterpret_cast<const char*>(&x), sizeof x);
}

/// The bytes of a safetensors file.
std::string safetensors(const Tensors& tensors, DType dtype) {
  json header = json::object();
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    const std::size_t begin = data.size();
    for (const float x : tensor.numbers) {
      if (dtype == DType::kF32)
        append(data, x);
      else if (dtype == DType::kF16)
        append(data, f16(x));
      else
        append(data, bf16(x));
    }
    header[name] = {{"dtype", dtype == DType::kF32   ? "F32"
                              : dtype == DType::kF16 ? "F16"
                                                     : "BF16"},
                    {"shape", tensor.shape},
                    {"data_offsets", {begin, data.size()}}};
  }
  const std::string text = header.dump();
  std::string file;
  append(file, std::uint64_t{text.size()});
  return file + text + data;
}

Decoder load(const json& config, const Tensors& tensors, DType dtype = DType::kBf16) {
  const TempFolder folder;
  folder.write("config.json", config.dump());
  folder.write("model.safetensors", safetensors(tensors, dtype));
  return Decoder::load(folder.path());
}

/// The same in two files and an index.
Decoder load_sharded(const json& config, const Tensors& tensors, DType dtype) {
  const TempFolder folder;
  folder.write("config.json", config.dump());
  std::array<Tensors, 2> shards;
  json index{{"weight_map", json::object()}};
  for (const auto& [name, tensor] : tensors) {
    const std::size_t shard = index["weight_map"].size() % 2;
    shards.at(shard)[name] = tensor;
    index["weight_map"][name] = shard == 0 ? "a.safetensors" : "b.safetensors";
  }
  folder.write("a.safetensors", safetensors(shards[0], dtype));
  folder.write("b.safetensors", safetensors(shards[1], dtype));
  folder.write("model.safetensors.index.json", index.dump());
  return Decoder::load(folder.path());
}

class DecoderGolden : public ::testing::TestWithParam<const char*> {};

TEST_P(DecoderGolden, LogitsAreThoseOfTransformers) {
  const Tensors tensors = tensors_of(GetParam());
  for (const Case& each : cases_of(GetParam(), 128)) {
    SCOPED_TRACE(each.config.dump());
    EXPECT_LE(error_of(load(each.config, tensors), each), each.bound());
    EXPECT_LE(error_of(load(each.config_4, tensors), each), each.bound());
  }
}

TEST_P(DecoderGolden, EverySettingMatters) {
  const Tensors tensors = tensors_of(GetParam());
  const auto cases = cases_of(GetParam(), 128);
  for (const Case& each : cases) {
    for (const Case& other : cases) {
      if (&each != &other) {
        EXPECT_NE(load(each.config, tensors).fingerprint(),
                  load(other.config, tensors).fingerprint());
        EXPECT_GT(error_of(load(other.config, tensors), each), 20 * each.bound());
      }
    }
  }
}

TEST_P(DecoderGolden, TheSameBitsForAnyCuttingAndStorage) {
  const Tensors tensors = tensors_of(GetParam());
  const Case each = cases_of(GetParam(), 128)[0];
  const auto& ids = each.prompts.back().ids;
  const Decoder decoder = load(each.config, tensors);
  const auto whole = logits(decoder, ids);
  EXPECT_TRUE(same_bits(logits(decoder, ids, 1), whole));
  EXPECT_TRUE(same_bits(logits(decoder, ids, 7, 2), whole));
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBf16}) {
    EXPECT_TRUE(same_bits(logits(load(each.config, tensors, dtype), ids), whole)) << name_of(dtype);
    EXPECT_TRUE(same_bits(logits(load_sharded(each.config, tensors, dtype), ids), whole))
        << name_of(dtype);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, DecoderGolden,
                         ::testing::Values("gpt2", "llama", "mistral", "qwen2", "qwen2_untied"),
                         [](const auto& each) { return std::string(each.param); });

/// What is said of the model's folder with a changed configuration, without the folder's name.
std::string refused(const std::string& model, const json& change,
                    const Tensors* tensors = nullptr) {
  json config = cases_of(model, 128)[0].config;
  config.merge_patch(change);
  const Tensors own = tensors == nullptr ? tensors_of(model) : Tensors();
  const std::string said =
      message_of<std::runtime_error>([&] { load(config, tensors == nullptr ? own : *tensors); });
  const std::size_t at = said.find(": ");
  return at == std::string::npos ? said : said.substr(at + 2);
}

TEST(DecoderFiles, AConfigurationThatIsNotRunIsRefused) {
  const auto rope = [](const json& parameters) { return json{{"rope_parameters", parameters}}; };
  EXPECT_EQ(refused("llama", {{"model_type", "mamba"}}),
            "model_type is \"mamba\", expected \"llama\", \"mistral\", \"qwen2\", \"gpt2\" or "
            "\"bert\"");
  EXPECT_EQ(refused("llama", rope({{"rope_type", "longrope"}})),
            "rope_parameters.rope_type is \"longrope\", expected \"default\", \"linear\", "
            "\"yarn\" or \"llama3\"");
  EXPECT_EQ(refused("llama", rope({{"factor", "8"}})),
            "rope_parameters.factor is \"8\", expected a number above 0");
  EXPECT_EQ(refused("llama", rope({{"low_freq_factor", nullptr}})),
            "rope_parameters.low_freq_factor is missing");
  EXPECT_EQ(refused("llama", rope({{"partial_rotary_factor", 0.5}})),
            "rope_parameters.partial_rotary_factor is 0.5, expected 1 (all of a head is "
            "turned)");
  EXPECT_EQ(refused("llama", rope({{"low_freq_factor", 4.0}, {"high_freq_factor", 1.0}})),
            "Rope: scaling.high_freq_factor is 1, expected a finite number above 4");
  EXPECT_EQ(refused("llama", rope({{"rope_theta", 0.5}})),
            "Rope: base is 0.5, expected a finite number above 1");
  EXPECT_EQ(refused("llama", {{"hidden_act", "gelu"}}),
            "hidden_act is \"gelu\", expected \"silu\"");
  EXPECT_EQ(refused("llama", {{"num_key_value_heads", 3}}),
            "num_attention_heads is 4, expected a multiple of num_key_value_heads");
  EXPECT_EQ(refused("mistral", {{"head_dim", 13}}),
            "head_dim is 13, expected heads of an even number of at most 1024");
  EXPECT_EQ(refused("mistral", {{"sliding_window", 0}}),
            "sliding_window is 0, expected an integer from 1 to 2147483647");
  EXPECT_EQ(refused("qwen2", {{"use_sliding_window", true}, {"sliding_window", 8}}),
            "use_sliding_window is true, expected false (windows of some layers only are not "
            "run)");
  EXPECT_EQ(refused("gpt2", {{"scale_attn_weights", false}}),
            "scale_attn_weights is false, expected true");
  EXPECT_EQ(refused("gpt2", {{"tie_word_embeddings", false}}),
            "tie_word_embeddings is false, expected true");
  EXPECT_EQ(refused("gpt2", {{"layer_norm_epsilon", "1e-5"}}),
            "layer_norm_epsilon is \"1e-5\", expected a number above 0 and at most 1");
  EXPECT_EQ(refused("gpt2", {{"activation_function", "mish"}}),
            "activation_function is \"mish\", expected \"gelu_new\", \"gelu\", \"relu\" or "
            "\"silu\"");
  EXPECT_EQ(refused("gpt2", {{"n_head", 5}}), "n_embd is 32, expected a multiple of n_head (5)");
}

TEST(DecoderFiles, TensorsThatDoNotFitAreRefused) {
  const auto changed = [](const std::string& model, const auto& change) {
    Tensors tensors = tensors_of(model);
    change(tensors);
    return refused(model, json::object(), &tensors);
  };
  EXPECT_EQ(changed("llama", [](Tensors& t) { t.erase("model.layers.1.mlp.up_proj.weight"); }),
            "tensor \"model.layers.1.mlp.up_proj.weight\" is missing, expected (48, 32)");
  EXPECT_EQ(changed("llama", [](Tensors& t) { t.erase("lm_head.weight"); }),
            "tensor \"lm_head.weight\" is missing, expected (128, 32)");
  EXPECT_EQ(changed("llama",
                    [](Tensors& t) { t["model.norm.weight"] = {{31}, std::vector<float>(31, 1)}; }),
            "tensor \"model.norm.weight\" is (31), expected (32)");
  EXPECT_EQ(changed("qwen2",
                    [](Tensors& t) { t["model.layers.0.self_attn.k_proj.bias"].numbers[3] = NAN; }),
            "tensor \"model.layers.0.self_attn.k_proj.bias\" holds a number that is not finite");
  EXPECT_EQ(changed("gpt2", [](Tensors& t) { t["transformer.wpe.weight"].shape = {32, 64}; }),
            "tensor \"transformer.wpe.weight\" is (32, 64), expected (64, 32)");
  const json config = cases_of("llama", 128)[0].config;
  const TempFolder folder;
  folder.write("config.json", config.dump());
  folder.write("model.safetensors.index.json", R"({"weight_map": {"a": "../b.safetensors"}})");
  EXPECT_NE(message_of<std::runtime_error>([&] {
              Decoder::load(folder.path());
            }).find("weight_map.a is \"../b.safetensors\", expected a file name"),
            std::string::npos);
}

// OpenAI's own files: no prefix, and each layer's mask as a tensor.
TEST(DecoderFiles, Gpt2WithoutAPrefix) {
  Tensors tensors;
  for (auto& [name, tensor] : tensors_of("gpt2"))
    tensors[name.substr(name.find('.') + 1)] = std::move(tensor);
  tensors["h.0.attn.bias"] = {{1, 1, 2, 2}, {1, 0, 1, 1}};
  const Case each = cases_of("gpt2", 128)[0];
  EXPECT_LE(error_of(load(each.config, tensors), each), each.bound());
}

TEST(GgufGolden, QuantisedMatricesMeanTheirNumbers) {
  for (const std::string model : {"gguf_llama", "gguf_qwen2"}) {
    const Decoder decoder = Decoder::load(golden(model + ".gguf"));
    const Case each = cases_of(model, 64).at(0);
    EXPECT_LE(error_of(decoder, each), each.bound()) << model;
    const auto& ids = each.prompts.back().ids;
    EXPECT_TRUE(same_bits(logits(decoder, ids, 1), logits(decoder, ids, 10, 2))) << model;
  }
}

/// What is said of a GGUF file in which `from` stands as `to`, of the same length.
/// Rows of each head in the order of Llama's own files, pairs side by side.
Tensor with_neighbours(const Tensor& matrix, std::int64_t heads) {
  Tensor turned = matrix;
  const std::int64_t columns = matrix.shape[1], rows = matrix.shape[0] / heads;
  for (std::int64_t row = 0; row < matrix.shape[0]; ++row) {
    const std::int64_t in_head = row % rows;
    const std::int64_t from = row - in_head + in_head / 2 + in_head % 2 * (rows / 2);
    std::copy_n(matrix.numbers.begin() + from * columns, columns,
                turned.numbers.begin() + row * columns);
  }
  return turned;
}

/// The model "llama" as GGUF with these factors of its frequencies.
std::string llama_gguf(const json& config, std::span<const float> factors,
                       const char* scaling = "none") {
  testing::GgufWriter file;
  file.text("general.architecture", "llama");
  const auto number = [&](const char* key, const char* from) {
    file.integer(std::string("llama.") + key, config.at(from).get<std::uint32_t>());
  };
  number("block_count", "num_hidden_layers");
  number("embedding_length", "hidden_size");
  number("feed_forward_length", "intermediate_size");
  number("attention.head_count", "num_attention_heads");
  number("attention.head_count_kv", "num_key_value_heads");
  number("context_length", "max_position_embeddings");
  file.real("llama.attention.layer_norm_rms_epsilon", config.at("rms_norm_eps").get<float>());
  file.real("llama.rope.freq_base", config.at("rope_parameters").at("rope_theta").get<float>());
  file.text("llama.rope.scaling.type", scaling);
  file.real("llama.rope.scaling.factor", 2);
  const std::map<std::string, std::string> names{
      {"input_layernorm", "attn_norm"},    {"self_attn.q_proj", "attn_q"},
      {"self_attn.k_proj", "attn_k"},      {"self_attn.v_proj", "attn_v"},
      {"self_attn.o_proj", "attn_output"}, {"post_attention_layernorm", "ffn_norm"},
      {"mlp.gate_proj", "ffn_gate"},       {"mlp.up_proj", "ffn_up"},
      {"mlp.down_proj", "ffn_down"}};
  Tensors tensors = tensors_of("llama");
  const auto put = [&](const std::string& name, const std::string& from) {
    const Tensor& tensor = tensors.at(from + ".weight");
    file.tensor(name + ".weight", tensor.shape, tensor.numbers);
  };
  put("token_embd", "model.embed_tokens");
  put("output_norm", "model.norm");
  put("output", "lm_head");
  for (int layer = 0; layer < config.at("num_hidden_layers"); ++layer) {
    const std::string number_text = std::to_string(layer), folder = "model.layers." + number_text;
    for (const auto& [from, name] : names) {
      Tensor& tensor = tensors.at(folder + "." + from + ".weight");
      if (name == "attn_q") tensor = with_neighbours(tensor, config.at("num_attention_heads"));
      if (name == "attn_k") tensor = with_neighbours(tensor, config.at("num_key_value_heads"));
      put("blk." + number_text + "." + name, folder + "." + from);
    }
  }
  const std::array shape{std::ssize(factors)};
  file.tensor("rope_freqs.weight", shape, factors);
  return file.file();
}

/// What llama.cpp's converter writes for Llama 3.1's scaling.
std::vector<float> llama3_factors(const json& config) {
  const json& rope = config.at("rope_parameters");
  const auto dim = config.at("hidden_size").get<std::int64_t>() /
                   config.at("num_attention_heads").get<std::int64_t>();
  const double base = rope.at("rope_theta");
  const Rope scaled(dim, {.base = base,
                          .scaling = RopeLlama3{rope.at("factor"), rope.at("low_freq_factor"),
                                                rope.at("high_freq_factor"),
                                                rope.at("original_max_position_embeddings")}});
  const Rope plain(dim, {.base = base});
  std::vector<float> factors;
  for (std::size_t i = 0; i < plain.frequencies().size(); ++i)
    factors.push_back(static_cast<float>(plain.frequencies()[i] / scaled.frequencies()[i]));
  return factors;
}

TEST(GgufRopeFactors, DivideTheFrequencies) {
  const TempFolder folder;
  const auto load_with = [&](const json& config, std::span<const float> factors) {
    return Decoder::load(folder.write("m.gguf", llama_gguf(config, factors)));
  };
  const auto cases = cases_of("llama", 128);
  const Case& llama3 = cases[0];
  const Case& linear = cases[2];
  ASSERT_EQ(llama3.config.at("rope_parameters").at("rope_type"), "llama3");
  ASSERT_EQ(linear.config.at("rope_parameters").at("rope_type"), "linear");
  const std::vector<float> written = llama3_factors(llama3.config), thirds(4, 3.0F), ones(4, 1.0F);
  EXPECT_LE(error_of(load_with(llama3.config, written), llama3), llama3.bound());
  EXPECT_LE(error_of(load_with(linear.config, thirds), linear), linear.bound());
  EXPECT_GT(error_of(load_with(llama3.config, ones), llama3), 20 * llama3.bound());
  EXPECT_NE(load_with(llama3.config, written).fingerprint(),
            load_with(llama3.config, ones).fingerprint());
}

TEST(GgufRopeFactors, AreRefusedByName) {
  const TempFolder folder;
  const json config = cases_of("llama", 128)[0].config;
  const auto refused_with = [&](std::vector<float> factors, const char* scaling = "none") {
    const auto path = folder.write("m.gguf", llama_gguf(config, factors, scaling));
    const std::string error = message_of<std::runtime_error>([&] { (void)Decoder::load(path); });
    return error.substr(std::min(error.size(), path.string().size() + 2));
  };
  EXPECT_EQ(refused_with({1, 2, 0, 4}),
            "tensor \"rope_freqs.weight\" has 0.000000, expected numbers above 0");
  EXPECT_NE(refused_with({1, 2, 4}).find("tensor \"rope_freqs.weight\""), std::string::npos);
  EXPECT_NE(refused_with({1, 2, std::nanf(""), 4}).find("expected finite numbers"),
            std::string::npos);
  EXPECT_EQ(refused_with({1, 2, 3, 4}, "linear"),
            "\"llama.rope.scaling.type\" is \"linear\", expected \"none\" beside the tensor "
            "\"rope_freqs.weight\"");
}

std::string refused_gguf(const std::string& model, const std::string& from, const std::string& to) {
  std::ifstream file(golden(model + ".gguf"), std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(file), {}};
  bytes.replace(bytes.find(from), from.size(), to);
  const TempFolder folder;
  const auto path = folder.write("m.gguf", bytes);
  const std::string said = message_of<std::runtime_error>([&] { Decoder::load(path); });
  return said.substr(std::min(said.size(), path.string().size() + 2));
}

TEST(GgufGolden, FilesThatAreNotRunAreRefused) {
  EXPECT_EQ(
      refused_gguf("gguf_llama", "llama", "mamba"),
      "\"general.architecture\" is \"mamba\", expected \"llama\" (Llama, Mistral, SmolLM2) or "
      "\"qwen2\"");
  EXPECT_EQ(refused_gguf("gguf_llama", "llama.block_count", "llama.block_coins"),
            "\"llama.block_count\" is missing, expected an integer");
  EXPECT_EQ(refused_gguf("gguf_llama", "blk.1.ffn_up.", "blk.1.ffn_pu."),
            "tensor \"blk.1.ffn_up.weight\" is missing, expected (32, 256)");
  EXPECT_EQ(refused_gguf("gguf_qwen2", "yarn", "wool"),
            "\"qwen2.rope.scaling.type\" is \"wool\", expected \"none\", \"linear\" or \"yarn\"");
}

}  // namespace
}  // namespace regard::model
