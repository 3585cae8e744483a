// include/regard/model/decoder.h - language models that decode: the Llama family and GPT-2, on the
// engine's attention and its paged cache.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "regard/executor.h"
#include "regard/kv_cache.h"
#include "regard/probe.h"
#include "regard/rope.h"
#include "regard/tensor_view.h"

namespace regard::model {

/// What a model's files say of it.
struct DecoderConfig {
  std::string family;  ///< "llama", "mistral", "qwen2", "gpt2"
  std::int64_t num_layers = 0;
  std::int64_t num_heads = 0;
  std::int64_t num_kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t hidden_size = 0;
  std::int64_t intermediate_size = 0;
  std::int64_t vocab_size = 0;
  std::int64_t context_length = 0;  ///< most tokens of a sequence
  std::int64_t window = 0;          ///< a token sees so many, itself included; 0: all before it
  double norm_eps = 1e-5;
  RopeOptions rope;
  std::string activation = "silu";
};

/// New tokens of one sequence of a cache.
struct DecoderInput {
  PagedKvCache::Sequence sequence = 0;
  std::span<const std::int32_t> ids;
};

struct DecoderOptions {
  /// Asked before each layer's attention; the returned probe (may be null) sees that layer's tiles.
  std::function<Probe*(std::int64_t layer)> probe;
  /// Called after each layer's attention.
  std::function<void(std::int64_t layer)> attended;
  /// Called while a long input is run: how many of its tokens are done.
  std::function<void(std::int64_t tokens)> progress;
  /// A token sees the first `sinks` tokens and the last `window`, itself included; 0: all before
  /// it.
  std::int64_t sinks = 0, window = 0;
  bool all_logits = false;  ///< of every new token, instead of the last of each sequence
  Executor* executor = nullptr;
  const std::atomic<bool>* cancel = nullptr;  ///< as in RunOptions
  double* attention_seconds = nullptr;        ///< the time that attention takes is added to it
};

/// A loaded model. Immutable; thread safe. Errors are std::runtime_error: one line with the file,
/// the thing, what came and what was wanted.
class Decoder {
 public:
  /// A .gguf file, or a folder with config.json and model.safetensors. `progress` (may be empty)
  /// gets bytes read and bytes in all.
  static Decoder load(const std::filesystem::path& path,
                      const std::function<void(std::int64_t, std::int64_t)>& progress = {});
  ~Decoder();
  Decoder(Decoder&&) noexcept;
  Decoder& operator=(Decoder&&) noexcept;

  const DecoderConfig& config() const;
  /// Says which model this is: equal for equal weights and configuration.
  const std::string& fingerprint() const;
  std::int64_t weight_bytes() const;  ///< in memory

  /// A cache that fits the model: the shape without a budget.
  KvCacheShape cache_shape(DType dtype) const;

  /// Runs the new tokens of one or more sequences, each once, and appends their keys and values.
  /// logits: float32 (rows, vocab_size), rows the number of inputs, or of all their ids
  /// (all_logits). The bits of a row do not depend on the other inputs, on how a prompt is cut
  /// into calls, or on threads. When it throws (Cancelled, CacheFull, std::invalid_argument for
  /// ids outside of the vocabulary, none at all, or more than the context holds) every sequence has
  /// the length that it had.
  void run(PagedKvCache& cache, std::span<const DecoderInput> inputs, TensorView<float, 2> logits,
           const DecoderOptions& options = {}) const;

  struct Impl;

 private:
  explicit Decoder(std::unique_ptr<const Impl> impl);
  std::unique_ptr<const Impl> impl_;
};

}  // namespace regard::model
