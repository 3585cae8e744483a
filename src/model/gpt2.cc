// src/model/gpt2.cc - GPT-2: its configuration and its layers, from Hugging Face's files.
#include <array>
#include <limits>
#include <string>
#include <utility>

#include "model/decoder_weights.h"
#include "model/json_field.h"
#include "model/sha256.h"
#include "model/tensor_source.h"

namespace regard::model {
namespace {

constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
constexpr std::int64_t kMaxHeadDim = 1024;  // the engine's

DecoderConfig read_config(const JsonField& root) {
  const auto extent = [&](const char* key) { return root.at(key).integer(1, kMost); };
  const auto find = [&](const char* key) {
    auto field = root.find(key);
    return field && field->is_null() ? std::nullopt : field;
  };
  constexpr std::array<std::pair<const char*, bool>, 5> kOnly{
      {{"scale_attn_weights", true},
       {"tie_word_embeddings", true},
       {"add_cross_attention", false},
       {"scale_attn_by_inverse_layer_idx", false},
       {"reorder_and_upcast_attn", false}}};
  for (const auto& [key, wanted] : kOnly) {
    const auto field = find(key);
    if (field && field->boolean() != wanted) field->fail(wanted ? "true" : "false");
  }
  DecoderConfig c;
  c.family = "gpt2";
  c.num_layers = extent("n_layer");
  c.num_heads = c.num_kv_heads = extent("n_head");
  c.hidden_size = extent("n_embd");
  const auto inner = find("n_inner");
  c.intermediate_size = inner ? inner->integer(1, kMost) : 4 * c.hidden_size;
  c.vocab_size = extent("vocab_size");
  c.context_length = extent("n_positions");
  if (c.hidden_size % c.num_heads != 0 || c.hidden_size / c.num_heads > kMaxHeadDim)
    root.at("n_embd").fail("a multiple of n_head (" + std::to_string(c.num_heads) + ")");
  c.head_dim = c.hidden_size / c.num_heads;
  const auto eps = find("layer_norm_epsilon");
  if (eps) {
    c.norm_eps = eps->value().is_number() ? eps->value().get<double>() : 0;
    if (!(c.norm_eps > 0 && c.norm_eps <= 1)) eps->fail("a number above 0 and at most 1");
  }
  const auto act = find("activation_function");
  c.activation = act ? act->text() : "gelu_new";
  if (!Activation::find(c.activation))
    root.at("activation_function").fail("\"gelu_new\", \"gelu\", \"relu\" or \"silu\"");
  return c;
}

class Reader {
 public:
  Reader(const TensorSource& source, const DecoderConfig& config)
      : source_(source),
        c_(config),
        prefix_(source.has("transformer.wte.weight") ? "transformer." : "") {}

  DecoderWeights read() const {
    std::vector<DecoderLayer> layers;
    for (std::int64_t layer = 0; layer < c_.num_layers; ++layer)
      layers.push_back(read_layer("h." + std::to_string(layer) + "."));
    return {.layers = std::move(layers),
            .norm = source_.norm(prefix_ + "ln_f", c_.hidden_size, c_.norm_eps),
            .logits = source_.linear(prefix_ + "wte", c_.vocab_size, c_.hidden_size),
            .words = {},
            .positions = source_.numbers(prefix_ + "wpe.weight",
                                         std::array{c_.context_length, c_.hidden_size}),
            .gated = false};
  }

 private:
  DecoderLayer read_layer(const std::string& name) const {
    const std::int64_t hidden = c_.hidden_size, wide = c_.intermediate_size;
    std::vector<Linear> qkv, up;
    qkv.push_back(linear(name + "attn.c_attn", 3 * hidden, hidden));
    up.push_back(linear(name + "mlp.c_fc", wide, hidden));
    return {.attention_norm = source_.norm(prefix_ + name + "ln_1", hidden, c_.norm_eps),
            .query_key_value = Projection(std::move(qkv)),
            .attention_out = linear(name + "attn.c_proj", hidden, hidden),
            .feed_forward_norm = source_.norm(prefix_ + name + "ln_2", hidden, c_.norm_eps),
            .intermediate = Projection(std::move(up)),
            .out = linear(name + "mlp.c_proj", hidden, wide)};
  }
  /// GPT-2 keeps its matrices as (in, out).
  Linear linear(const std::string& name, std::int64_t out, std::int64_t in) const {
    const auto weight = source_.numbers(prefix_ + name + ".weight", std::array{in, out});
    const auto bias = source_.numbers(prefix_ + name + ".bias", std::array{out});
    return {TensorView<const float, 2>(weight.data(), {out, in}, {1, out}), bias};
  }

  const TensorSource& source_;
  const DecoderConfig& c_;
  std::string prefix_;
};

}  // namespace

LoadedDecoder load_gpt2_folder(const std::filesystem::path& folder, const LoadProgress& progress) {
  const std::string path = (folder / "config.json").string();
  const Json root = parse_json(read_file(path, 16 << 20), path);
  DecoderConfig config = read_config(JsonField(path, root));
  const TensorSource source = TensorSource::of_folder(folder, progress);
  DecoderWeights weights = Reader(source, config).read();
  std::string fingerprint =
      sha256_text("gpt2 " + std::to_string(config.num_heads) + " " + config.activation + " " +
                  std::to_string(config.norm_eps) + source.digest());
  return {std::move(config), std::move(weights), std::move(fingerprint)};
}

}  // namespace regard::model
