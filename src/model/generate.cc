// src/model/generate.cc - text from a model, token by token.
#include "regard/model/generate.h"

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <utility>

#include "regard/attention.h"

namespace regard::model {
namespace {

// So many tokens of a prompt are run before somebody is told, or may interrupt.
constexpr std::int64_t kPromptPiece = 512;

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void refuse(const std::string& what) { throw std::invalid_argument("generate: " + what); }

/// The longest end of `text` that a stop text begins with.
std::size_t held_back(const std::string& text, const std::vector<std::string>& stops) {
  std::size_t most = 0;
  for (const std::string& stop : stops) {
    for (std::size_t n = std::min(stop.size() - 1, text.size()); n > most; --n) {
      if (text.ends_with(std::string_view(stop).substr(0, n))) most = n;
    }
  }
  return most;
}

}  // namespace

const char* name_of(StopReason reason) {
  switch (reason) {
    case StopReason::kNone:
      return "none";
    case StopReason::kLength:
      return "length";
    case StopReason::kEos:
      return "eos";
    case StopReason::kStop:
      return "stop";
    case StopReason::kInterrupt:
      return "interrupt";
  }
  return "";
}

Generation::Generation(const Decoder& decoder, const Tokenizer& tokenizer, PagedKvCache& cache,
                       PagedKvCache::Sequence sequence, GenerateOptions options,
                       std::vector<std::int32_t> held)
    : decoder_(decoder),
      tokenizer_(tokenizer),
      cache_(cache),
      sequence_(sequence),
      options_(std::move(options)),
      sampler_(options_.sampling),
      held_(std::move(held)),
      logits_(static_cast<std::size_t>(decoder.config().vocab_size)) {
  if (options_.max_tokens < 1)
    refuse("max_tokens is " + std::to_string(options_.max_tokens) + ", expected 1 or more");
  if (options_.window < 0 || options_.sinks < 0)
    refuse("window or sinks is negative, expected 0 or more");
  for (const std::string& stop : options_.stop) {
    if (stop.empty()) refuse("a stop text is empty, expected at least one character");
  }
  if (std::ssize(held_) != cache_.length(sequence_)) {
    refuse("held has " + std::to_string(held_.size()) + " ids, expected " +
           std::to_string(cache_.length(sequence_)) + ", the sequence's length");
  }
}

double GenerateStats::prefill_rate() const {
  return prefill_seconds > 0 ? static_cast<double>(prompt_tokens - cached_tokens) / prefill_seconds
                             : 0;
}
double GenerateStats::decode_rate() const {
  return decode_seconds > 0 ? static_cast<double>(tokens - 1) / decode_seconds : 0;
}
double GenerateStats::attention_share() const {
  const double seconds = prefill_seconds + decode_seconds;
  return seconds > 0 ? attention_seconds / seconds : 0;
}

KvCacheShape context_cache_shape(const Decoder& decoder, DType dtype) {
  KvCacheShape shape = decoder.cache_shape(dtype);
  shape.page_size = 256;
  const std::int64_t pages = decoder.config().context_length / shape.page_size + 2;
  const auto bytes = static_cast<std::int64_t>(size_of(dtype)) + 4;  // of an element, scales too
  shape.budget_bytes = pages * shape.page_size * shape.num_layers * shape.num_kv_heads *
                       (shape.head_dim + 64) * 2 * bytes;
  return shape;
}

void Generation::prompt(std::span<const std::int32_t> ids) {
  if (ids.empty()) refuse("the prompt is empty, expected at least one token");
  const std::int64_t context = decoder_.config().context_length;
  if (std::ssize(ids) >= context) {
    refuse("the prompt is " + std::to_string(ids.size()) + " tokens, expected fewer than " +
           std::to_string(context) + ", the model's context; shorten it");
  }
  const auto same = std::ranges::mismatch(held_, ids).in1 - held_.begin();
  std::int64_t keep = std::min<std::int64_t>(same, std::ssize(ids) - 1);
  const PagedView view = cache_.view(sequence_);
  if (keep < std::ssize(held_) && view.evicted_end[0] > view.evicted_begin[0]) keep = 0;
  cache_.truncate(sequence_, keep);
  held_.resize(static_cast<std::size_t>(keep));
  ids_.clear();
  pending_.clear();
  rest_.clear();
  waiting_.reset();
  stream_ = TextStream(options_.is_answer && tokenizer_.drops_blank());
  stop_ = StopReason::kNone;
  stats_.prompt_tokens += std::ssize(ids);
  stats_.cached_tokens += keep;
  const double begin = seconds();
  for (std::int64_t at = keep, next = 0; at < std::ssize(ids); at = next) {
    next = std::min<std::int64_t>(std::ssize(ids), at + kPromptPiece);
    run(ids.subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(next - at)), true);
    if (options_.progress) options_.progress(next, std::ssize(ids));
  }
  stats_.prefill_seconds += seconds() - begin;
}

void Generation::run(std::span<const std::int32_t> ids, bool is_prompt) {
  DecoderOptions options;
  options.sinks = options_.sinks;
  options.window = options_.window;
  options.executor = options_.executor;
  options.cancel = options_.cancel;
  options.attention_seconds = &stats_.attention_seconds;
  const DecoderInput input{sequence_, ids};
  const double begin = seconds();
  decoder_.run(cache_, std::span(&input, 1), {logits_.data(), {1, decoder_.config().vocab_size}},
               options);
  if (!is_prompt) stats_.decode_seconds += seconds() - begin;
  held_.insert(held_.end(), ids.begin(), ids.end());
  // The next token sees the last `window` tokens, itself included.
  if (options_.window > 0) cache_.evict(sequence_, options_.sinks, options_.window - 1);
}

std::optional<Generation::Piece> Generation::end(StopReason reason) {
  stop_ = reason;
  if (reason != StopReason::kStop) rest_ = pending_ + stream_.finish();
  pending_.clear();
  return std::nullopt;
}

/// What of the text is certain; sets stop_ where a stop text is complete.
std::string Generation::release(const std::string& text) {
  pending_ += text;
  std::size_t first = std::string::npos;
  for (const std::string& stop : options_.stop) first = std::min(first, pending_.find(stop));
  std::string certain;
  if (first != std::string::npos) {
    certain = pending_.substr(0, first);
    pending_.clear();
    stop_ = StopReason::kStop;
    return certain;
  }
  const std::size_t keep = held_back(pending_, options_.stop);
  certain = pending_.substr(0, pending_.size() - keep);
  pending_.erase(0, certain.size());
  return certain;
}

std::optional<Generation::Piece> Generation::next() {
  if (stop_ != StopReason::kNone) return std::nullopt;
  const auto cancelled = [&] { return options_.cancel != nullptr && options_.cancel->load(); };
  if (cancelled()) return end(StopReason::kInterrupt);
  if (std::ssize(ids_) >= options_.max_tokens ||
      std::ssize(held_) + (waiting_ ? 1 : 0) >= decoder_.config().context_length)
    return end(StopReason::kLength);
  if (waiting_) {
    try {
      run(std::span(&*waiting_, 1), false);
    } catch (const Cancelled&) {
      return end(StopReason::kInterrupt);
    }
    waiting_.reset();
  }
  const std::int32_t id = sampler_.pick(logits_);
  ids_.push_back(id);
  ++stats_.tokens;
  if (std::ranges::find(options_.end_ids, id) != options_.end_ids.end())
    return end(StopReason::kEos);
  waiting_ = id;
  const std::string text =
      tokenizer_.is_special(id) ? std::string() : stream_.push(tokenizer_.bytes(id));
  return Piece{id, release(text)};
}

}  // namespace regard::model
