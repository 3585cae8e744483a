// src/model/decoder_weights.h - the layers of a model that decodes, whatever its family, and where
// they come from.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "model/layers.h"
#include "model/projection.h"
#include "regard/linear.h"
#include "regard/model/decoder.h"

namespace regard::model {

struct DecoderLayer {
  Norm attention_norm;
  Projection query_key_value;
  Linear attention_out;
  Norm feed_forward_norm;
  Projection intermediate;  ///< gated: (gate, up), else one layer
  Linear out;
};

struct DecoderWeights {
  std::vector<DecoderLayer> layers;
  Norm norm;
  Linear logits;                 ///< (vocab_size, hidden_size); also the words where they are tied
  std::optional<Linear> words;   ///< (vocab_size, hidden_size) where they are not
  std::vector<float> positions;  ///< (context_length, hidden_size), or empty: rotary ones
  bool gated = true;             ///< activation(gate) * up

  const Linear& embedding() const { return words ? *words : logits; }
};

struct LoadedDecoder {
  DecoderConfig config;
  DecoderWeights weights;
  std::string fingerprint;
};

using LoadProgress = std::function<void(std::int64_t done, std::int64_t all)>;

/// The Llama family from a .gguf file, or from config.json and safetensors in a folder; GPT-2 from
/// a folder.
LoadedDecoder load_llama_gguf(const std::filesystem::path& path, const LoadProgress& progress);
LoadedDecoder load_llama_folder(const std::filesystem::path& folder, const LoadProgress& progress);
LoadedDecoder load_gpt2_folder(const std::filesystem::path& folder, const LoadProgress& progress);

}  // namespace regard::model
