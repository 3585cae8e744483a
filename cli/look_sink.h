// cli/look_sink.h - what `regard look` produces, handed layer by layer to whoever writes it down.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "regard/model/tokenizer.h"

namespace regard::cli {

/// Which model it was.
struct LookModelInfo {
  std::string name = {}, family = {}, path = {};
  std::string sha256 = {};  // of model.safetensors or of the GGUF file
  std::int64_t num_layers = 0, num_heads = 0, num_kv_heads = 0, head_dim = 0;
};

/// Everything that is known before the first layer runs.
struct LookHeader {
  LookModelInfo model;
  struct {
    std::string version, isa, dtype;
    int threads = 1;
  } engine;
  std::string text;
  bool truncated = false;
  bool causal = false;                             // a token sees itself and those before it
  std::optional<std::int64_t> prompt_tokens = {};  // the model generated those after them
  std::vector<model::Token> tokens;
  std::vector<std::int64_t> layers;  // those chosen, ascending
  std::vector<std::int64_t> heads;
};

/// One way of writing it down: text, JSON, a page. begin once, layer once for each of header.layers
/// in order, end once. Errors of writing are std::runtime_error.
class LookSink {
 public:
  virtual ~LookSink() = default;
  virtual void begin(const LookHeader& header) = 0;
  /// weights (heads.size(), tokens.size(), tokens.size()): [head][query][key], contiguous, valid
  /// during the call.
  virtual void layer(std::int64_t layer, std::span<const float> weights) = 0;
  virtual void end() = 0;
};

}  // namespace regard::cli
