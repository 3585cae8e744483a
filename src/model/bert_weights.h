// src/model/bert_weights.h - the layers of a BERT model, filled from a safetensors file.
#pragma once

#include <filesystem>
#include <vector>

#include "model/layers.h"
#include "regard/linear.h"
#include "regard/model/bert.h"

namespace regard::model {

struct BertLayer {
  Linear query_key_value;  // one layer of 3 * hidden_size outputs: query, key, value
  Linear attention_out;
  LayerNorm attention_norm;
  Linear intermediate;
  Linear out;
  LayerNorm out_norm;
};

struct BertWeights {
  std::vector<float> words;      // (vocab_size, hidden_size)
  std::vector<float> positions;  // (max_positions, hidden_size), segment 0's embedding added: no
                                 // other segment is run
  LayerNorm embedding_norm;
  Activation activation;
  std::vector<BertLayer> layers;
};

/// Throws std::runtime_error; see SafetensorsFile.
BertWeights load_bert_weights(const std::filesystem::path& file, const BertConfig& config);

}  // namespace regard::model
