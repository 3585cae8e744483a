// src/model/llama.cc - the Llama family (Llama, Mistral, Qwen2): its configuration and its layers,
// from GGUF and from Hugging Face's files.
#include <algorithm>
#include <array>
#include <limits>
#include <string>
#include <utility>

#include "model/decoder_weights.h"
#include "model/json_field.h"
#include "model/sha256.h"
#include "model/tensor_source.h"
#include "regard/model/gguf.h"

namespace regard::model {
namespace {

constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
constexpr std::int64_t kMaxHeadDim = 1024;  // the engine's

/// What the tensors are called, without ".weight"; # stands for the layer's number.
struct Names {
  std::string words, norm, logits;
  std::string attention_norm, query, key, value, attention_out;
  std::string feed_forward_norm, gate, up, down;
};
const Names kGgufNames{"token_embd",     "output_norm",    "output",       "blk.#.attn_norm",
                       "blk.#.attn_q",   "blk.#.attn_k",   "blk.#.attn_v", "blk.#.attn_output",
                       "blk.#.ffn_norm", "blk.#.ffn_gate", "blk.#.ffn_up", "blk.#.ffn_down"};
const Names kFolderNames{"model.embed_tokens",
                         "model.norm",
                         "lm_head",
                         "model.layers.#.input_layernorm",
                         "model.layers.#.self_attn.q_proj",
                         "model.layers.#.self_attn.k_proj",
                         "model.layers.#.self_attn.v_proj",
                         "model.layers.#.self_attn.o_proj",
                         "model.layers.#.post_attention_layernorm",
                         "model.layers.#.mlp.gate_proj",
                         "model.layers.#.mlp.up_proj",
                         "model.layers.#.mlp.down_proj"};

DecoderLayer read_layer(const TensorSource& source, const DecoderConfig& c, const Names& names,
                        std::int64_t layer) {
  const auto name = [layer](std::string pattern) {
    return pattern.replace(pattern.find('#'), 1, std::to_string(layer));
  };
  const std::int64_t hidden = c.hidden_size, wide = c.intermediate_size,
                     queries = c.num_heads * c.head_dim, keys = c.num_kv_heads * c.head_dim;
  return {
      .attention_norm = source.norm(name(names.attention_norm), hidden, c.norm_eps),
      .query_key_value = source.projection(
          {{name(names.query), queries}, {name(names.key), keys}, {name(names.value), keys}},
          hidden),
      .attention_out = source.linear(name(names.attention_out), hidden, queries),
      .feed_forward_norm = source.norm(name(names.feed_forward_norm), hidden, c.norm_eps),
      .intermediate = source.projection({{name(names.gate), wide}, {name(names.up), wide}}, hidden),
      .out = source.linear(name(names.down), hidden, wide)};
}

DecoderWeights read_weights(const TensorSource& source, const DecoderConfig& c, const Names& names,
                            bool tied) {
  std::vector<DecoderLayer> layers;
  for (std::int64_t layer = 0; layer < c.num_layers; ++layer)
    layers.push_back(read_layer(source, c, names, layer));
  std::optional<Linear> words;
  if (!tied) words = source.linear(names.words, c.vocab_size, c.hidden_size);
  return {.layers = std::move(layers),
          .norm = source.norm(names.norm, c.hidden_size, c.norm_eps),
          .logits = source.linear(tied ? names.words : names.logits, c.vocab_size, c.hidden_size),
          .words = std::move(words),
          .positions = {}};
}

/// All numbers of a scaling, and which it is.
std::string describe(const RopeScaling& scaling) {
  std::vector<double> numbers{static_cast<double>(scaling.index())};
  const auto add = [&](auto... more) { (numbers.push_back(static_cast<double>(more)), ...); };
  if (const auto* linear = std::get_if<RopeLinear>(&scaling)) add(linear->factor);
  if (const auto* yarn = std::get_if<RopeYarn>(&scaling))
    add(yarn->factor, yarn->original_max_len, yarn->beta_fast, yarn->beta_slow,
        yarn->attention_factor.value_or(0), yarn->mscale, yarn->mscale_all_dim, yarn->truncate);
  if (const auto* llama3 = std::get_if<RopeLlama3>(&scaling))
    add(llama3->factor, llama3->low_freq_factor, llama3->high_freq_factor,
        llama3->original_max_len);
  if (const auto* written = std::get_if<RopeFactors>(&scaling))
    numbers.insert(numbers.end(), written->factors.begin(), written->factors.end());
  std::string text;
  for (const double number : numbers) text.append(" ").append(std::to_string(number));
  return text;
}

std::string describe(const DecoderConfig& c) {
  std::string text = c.family;
  for (const std::int64_t number : {c.num_layers, c.num_heads, c.num_kv_heads, c.head_dim,
                                    c.hidden_size, c.intermediate_size, c.vocab_size, c.window})
    text.append(" ").append(std::to_string(number));
  return text + " " + std::to_string(c.rope.base) + " " + std::to_string(c.norm_eps) +
         describe(c.rope.scaling);
}

LoadedDecoder finish(DecoderConfig config, const TensorSource& source, const Names& names,
                     bool tied) {
  DecoderWeights weights = read_weights(source, config, names, tied);
  std::string fingerprint = sha256_text(describe(config) + source.digest());
  return {std::move(config), std::move(weights), std::move(fingerprint)};
}

constexpr std::string_view kFactors = "rope_freqs.weight";

std::string family_of(const GgufFile& file) {
  const std::string& family = file.at<std::string>("general.architecture");
  if (family == "llama" || family == "qwen2") return family;
  file.fail("\"general.architecture\" is " + in_quotes(family) +
            ", expected \"llama\" (Llama, Mistral, SmolLM2) or \"qwen2\"");
}

/// Of Llama 3.1 and later: what the frequencies are divided by.
RopeFactors gguf_factors(const GgufFile& file, std::int64_t rotary_dim) {
  const std::array shape{rotary_dim / 2};
  const std::vector<float> factors = file.read_f32(kFactors, shape);
  for (const float factor : factors) {
    if (!(factor > 0))
      file.fail("tensor " + in_quotes(kFactors) + " has " + std::to_string(factor) +
                ", expected numbers above 0");
  }
  return {{factors.begin(), factors.end()}};
}

RopeScaling gguf_scaling(const GgufFile& file, const std::string& prefix,
                         const DecoderConfig& config) {
  const std::string* type = file.find<std::string>(prefix + "rope.scaling.type");
  const bool is_plain = type == nullptr || *type == "none";
  if (file.has_tensor(kFactors)) {
    if (is_plain) return gguf_factors(file, config.rope.rotary_dim);
    file.fail(in_quotes(prefix + "rope.scaling.type") + " is " + in_quotes(*type) +
              ", expected \"none\" beside the tensor " + in_quotes(kFactors));
  }
  if (is_plain) return {};
  const double factor = file.real(prefix + "rope.scaling.factor");
  if (*type == "linear") return RopeLinear{factor};
  if (*type == "yarn") {
    return RopeYarn{
        .factor = factor,
        .original_max_len = file.integer(prefix + "rope.scaling.original_context_length", 1, kMost,
                                         config.context_length)};
  }
  file.fail(in_quotes(prefix + "rope.scaling.type") + " is " + in_quotes(*type) +
            ", expected \"none\", \"linear\" or \"yarn\"");
}

DecoderConfig gguf_config(const GgufFile& file) {
  DecoderConfig c;
  c.family = family_of(file);
  const std::string prefix = c.family + ".";
  const auto extent = [&](const char* key, std::optional<std::int64_t> otherwise = {}) {
    return file.integer(prefix + key, 1, kMost, otherwise);
  };
  c.num_layers = extent("block_count");
  c.hidden_size = extent("embedding_length");
  c.intermediate_size = extent("feed_forward_length");
  c.num_heads = extent("attention.head_count");
  c.num_kv_heads = extent("attention.head_count_kv", c.num_heads);
  c.head_dim = file.integer(prefix + "attention.key_length", 1, kMaxHeadDim,
                            std::max<std::int64_t>(1, c.hidden_size / c.num_heads));
  c.context_length = extent("context_length");
  c.norm_eps = file.real(prefix + "attention.layer_norm_rms_epsilon");
  c.window = file.integer(prefix + "attention.sliding_window", 0, kMost, 0);
  c.rope.base = file.real(prefix + "rope.freq_base", 10000);
  c.rope.rotary_dim = file.integer(prefix + "rope.dimension_count", 2, c.head_dim, c.head_dim);
  c.rope.scaling = gguf_scaling(file, prefix, c);
  // Llama's rows of queries and keys are stored so that pairs are neighbours; Qwen2's are not.
  c.rope.style = c.family == "llama" ? RopeStyle::kInterleaved : RopeStyle::kHalfSplit;
  const auto words = file.tensors().find("token_embd.weight");
  if (words == file.tensors().end() || words->second.shape.size() != 2)
    file.fail("tensor \"token_embd.weight\" is missing, expected a matrix");
  c.vocab_size = words->second.shape[0];
  if (c.num_heads % c.num_kv_heads != 0) {
    file.fail(in_quotes(prefix + "attention.head_count") + " is " + std::to_string(c.num_heads) +
              ", expected a multiple of head_count_kv (" + std::to_string(c.num_kv_heads) + ")");
  }
  if (!(c.norm_eps > 0 && c.norm_eps <= 1) || !(c.rope.base > 1))
    file.fail("the norm's epsilon or the base of rope is out of range");
  return c;
}

/// config.json of transformers, 4 and 5.
class ConfigReader {
 public:
  explicit ConfigReader(JsonField root) : root_(std::move(root)) {}

  DecoderConfig read() const {
    DecoderConfig c;
    c.family = root_.at("model_type").text();
    if (c.family != "llama" && c.family != "mistral" && c.family != "qwen2")
      root_.at("model_type").fail("\"llama\", \"mistral\", \"qwen2\", \"gpt2\" or \"bert\"");
    c.num_layers = extent("num_hidden_layers");
    c.hidden_size = extent("hidden_size");
    c.intermediate_size = extent("intermediate_size");
    c.num_heads = extent("num_attention_heads");
    c.num_kv_heads = extent("num_key_value_heads", c.num_heads);
    c.vocab_size = extent("vocab_size");
    c.context_length = extent("max_position_embeddings");
    if (c.num_heads % c.num_kv_heads != 0)
      root_.at("num_attention_heads").fail("a multiple of num_key_value_heads");
    c.head_dim = extent("head_dim", std::max<std::int64_t>(1, c.hidden_size / c.num_heads));
    if (c.head_dim > kMaxHeadDim || c.head_dim % 2 != 0)
      root_.at(find("head_dim") ? "head_dim" : "hidden_size")
          .fail("heads of an even number of at most " + std::to_string(kMaxHeadDim));
    c.norm_eps = number("rms_norm_eps", 1e-6);
    c.activation = "silu";
    if (const auto act = find("hidden_act")) act->only("silu");
    c.window = window(c.family);
    c.rope = rope(c.context_length);
    return c;
  }
  /// Whether the logits' matrix is that of the words.
  bool tied() const {
    const auto field = find("tie_word_embeddings");
    return field && field->boolean();
  }

 private:
  std::optional<JsonField> find(std::string_view key) const { return find(root_, key); }
  static std::optional<JsonField> find(const JsonField& object, std::string_view key) {
    auto field = object.find(key);
    return field && field->is_null() ? std::nullopt : field;
  }
  std::int64_t extent(std::string_view key, std::optional<std::int64_t> otherwise = {}) const {
    const auto field = find(key);
    if (!field && otherwise) return *otherwise;
    return root_.at(key).integer(1, kMost);
  }
  static double positive(const JsonField& field) {
    const double x = field.value().is_number() ? field.value().get<double>() : 0;
    if (!(x > 0 && x <= 1e30)) field.fail("a number above 0");
    return x;
  }
  double number(std::string_view key, double otherwise) const {
    const auto field = find(key);
    return field ? positive(*field) : otherwise;
  }
  std::int64_t window(const std::string& family) const {
    const auto field = find("sliding_window");
    if (!field || family == "llama") return 0;
    const auto use = find("use_sliding_window");
    if (family == "qwen2") {  // its layers differ: refused where it is on
      if (use && use->boolean()) use->fail("false (windows of some layers only are not run)");
      return 0;
    }
    return field->integer(1, kMost);
  }
  RopeOptions rope(std::int64_t context) const {
    RopeOptions rope;
    const auto parameters = find("rope_parameters");  // transformers 5
    const auto scaling = parameters ? parameters : find("rope_scaling");
    rope.base = number("rope_theta", 10000);
    if (!scaling) return rope;
    if (const auto theta = find(*scaling, "rope_theta")) rope.base = positive(*theta);
    if (const auto part = find(*scaling, "partial_rotary_factor"); part && positive(*part) != 1)
      part->fail("1 (all of a head is turned)");
    auto type = find(*scaling, "rope_type");
    if (!type) type = find(*scaling, "type");
    if (!type || type->text() == "default") return rope;
    rope.scaling = scaling_of(*scaling, *type, context);
    return rope;
  }
  static RopeScaling scaling_of(const JsonField& f, const JsonField& type, std::int64_t context) {
    const auto original = [&] {
      const auto field = find(f, "original_max_position_embeddings");
      return field ? field->integer(1, kMost) : context;
    };
    if (type.text() == "linear") return RopeLinear{positive(f.at("factor"))};
    if (type.text() == "llama3") {
      return RopeLlama3{.factor = positive(f.at("factor")),
                        .low_freq_factor = positive(f.at("low_freq_factor")),
                        .high_freq_factor = positive(f.at("high_freq_factor")),
                        .original_max_len = original()};
    }
    if (type.text() == "yarn") {
      RopeYarn yarn{.factor = positive(f.at("factor")), .original_max_len = original()};
      const auto optional = [&](const char* key, auto& number) {
        if (const auto field = find(f, key)) number = positive(*field);
      };
      optional("beta_fast", yarn.beta_fast);
      optional("beta_slow", yarn.beta_slow);
      optional("attention_factor", yarn.attention_factor);
      optional("mscale", yarn.mscale);
      optional("mscale_all_dim", yarn.mscale_all_dim);
      if (const auto truncate = find(f, "truncate")) yarn.truncate = truncate->boolean();
      return yarn;
    }
    type.fail("\"default\", \"linear\", \"yarn\" or \"llama3\"");
  }

  JsonField root_;
};

}  // namespace

LoadedDecoder load_llama_gguf(const std::filesystem::path& path, const LoadProgress& progress) {
  const GgufFile file(path);
  const TensorSource source = TensorSource::of(file, progress);
  return finish(gguf_config(file), source, kGgufNames, !source.has(kGgufNames.logits + ".weight"));
}

LoadedDecoder load_llama_folder(const std::filesystem::path& folder, const LoadProgress& progress) {
  const std::string path = (folder / "config.json").string();
  const Json root = parse_json(read_file(path, 16 << 20), path);
  const TensorSource source = TensorSource::of_folder(folder, progress);
  const ConfigReader config{JsonField(path, root)};
  return finish(config.read(), source, kFolderNames, config.tied());
}

}  // namespace regard::model
