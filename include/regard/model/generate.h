// include/regard/model/generate.h - text from a model, token by token.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "regard/kv_cache.h"
#include "regard/model/decoder.h"
#include "regard/model/sampler.h"
#include "regard/model/tokenizer.h"

namespace regard::model {

struct GenerateOptions {
  SamplingOptions sampling = {};
  std::int64_t max_tokens = 256;           ///< of one answer
  std::vector<std::string> stop = {};      ///< texts that end an answer and are not part of it
  std::vector<std::int32_t> end_ids = {};  ///< tokens that do
  /// The answer to a conversation is a text of its own, which decodes without the blank that
  /// SentencePiece puts before one; else it goes on with the prompt's.
  bool is_answer = false;
  /// A token sees the first `sinks` tokens and the last `window`; pages that nobody will see again
  /// are given back. 0: all before it.
  std::int64_t sinks = 4, window = 0;
  Executor* executor = nullptr;
  const std::atomic<bool>* cancel = nullptr;
  std::function<void(std::int64_t done, std::int64_t all)> progress = {};  ///< tokens of the prompt
};

enum class StopReason : std::uint8_t { kNone, kLength, kEos, kStop, kInterrupt };
/// "none", "length", "eos", "stop" or "interrupt".
const char* name_of(StopReason reason);

/// A cache with room for the model's whole context, in pages of 256 tokens that are taken when they
/// are needed.
KvCacheShape context_cache_shape(const Decoder& decoder, DType dtype);

struct GenerateStats {
  std::int64_t prompt_tokens = 0;  ///< of them cached_tokens were in the cache already
  std::int64_t cached_tokens = 0;
  std::int64_t tokens = 0;  ///< generated
  double prefill_seconds = 0, decode_seconds = 0;
  double attention_seconds = 0;  ///< of both together

  /// Tokens/s of the prompt, without what was cached; of the answer, whose first token comes from
  /// the prompt; 0 while there is nothing to tell.
  double prefill_rate() const;
  double decode_rate() const;
  /// Of the time of both.
  double attention_share() const;
};

/// A sequence of a cache that a model continues. What the cache holds already is not run again, so
/// a conversation goes on with the same object. Not thread safe. Model, tokenizer and cache must
/// outlive it.
class Generation {
 public:
  /// `sequence` holds the keys and values of `held`, all of its tokens. Throws
  /// std::invalid_argument for options out of their range, an empty stop text, or ids that do not
  /// fit the sequence.
  Generation(const Decoder& decoder, const Tokenizer& tokenizer, PagedKvCache& cache,
             PagedKvCache::Sequence sequence, GenerateOptions options,
             std::vector<std::int32_t> held = {});

  /// Instead of GenerateOptions::cancel, from now on.
  void cancel_by(const std::atomic<bool>* cancel) { options_.cancel = cancel; }

  /// Begins an answer to `ids`, the whole conversation so far: what differs from held() on is run.
  /// Throws std::invalid_argument for no ids or more than the context, CacheFull; Cancelled leaves
  /// held() as far as it came.
  void prompt(std::span<const std::int32_t> ids);

  /// The next token and the text that has become certain with it: whole characters, and nothing
  /// that may be the beginning of a stop text. Nothing when the answer has ended: stop() says why,
  /// rest() what text was held back.
  struct Piece {
    std::int32_t id;
    std::string text;
  };
  std::optional<Piece> next();
  StopReason stop() const { return stop_; }
  const std::string& rest() const { return rest_; }

  const std::vector<std::int32_t>& ids() const { return ids_; }    ///< of the answer
  const std::vector<std::int32_t>& held() const { return held_; }  ///< of the cache
  const GenerateStats& stats() const { return stats_; }

 private:
  void run(std::span<const std::int32_t> ids, bool is_prompt);
  std::optional<Piece> end(StopReason reason);
  std::string release(const std::string& text);

  const Decoder& decoder_;
  const Tokenizer& tokenizer_;
  PagedKvCache& cache_;
  PagedKvCache::Sequence sequence_;
  GenerateOptions options_;
  Sampler sampler_;
  TextStream stream_;
  std::vector<std::int32_t> held_, ids_;
  std::vector<float> logits_;
  std::optional<std::int32_t> waiting_;  // picked, not run yet
  std::string pending_, rest_;
  StopReason stop_ = StopReason::kNone;
  GenerateStats stats_;
};

}  // namespace regard::model
