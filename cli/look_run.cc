// cli/look_run.cc - one text through one model, its attention to whoever asked for it.
#include "cli/look_run.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <stdexcept>
#include <utility>

#include "cli/command.h"
#include "cli/look_generated.h"
#include "cli/unicode.h"
#include "regard/isa.h"
#include "regard/model/bert.h"
#include "regard/model/decoder.h"
#include "regard/model/models.h"
#include "regard/probe.h"
#include "regard/version.h"

namespace regard::cli {
namespace {

/// Cuts to max_positions tokens, the special ones that the tokenizer put at the end kept. Whether
/// it cut.
bool fit(std::vector<model::Token>& tokens, std::int64_t max_positions,
         const LookRequest& request) {
  const auto limit = static_cast<std::size_t>(max_positions);
  if (tokens.size() <= limit) return false;
  if (!request.truncate) {
    throw std::runtime_error("the text is " + std::to_string(tokens.size()) +
                             " tokens, the model takes at most " + std::to_string(limit) + "; " +
                             request.to_truncate + " leaves off the rest");
  }
  const auto is_added = [](const model::Token& token) { return token.special && token.end == 0; };
  const auto tail = std::find_if_not(tokens.rbegin(), tokens.rend(), is_added) - tokens.rbegin();
  const auto excess = static_cast<std::ptrdiff_t>(tokens.size() - limit);
  const auto end = tokens.end() - tail;
  tokens.erase(end - std::min(excess, end - tokens.begin()), end);
  tokens.resize(std::min(tokens.size(), limit));
  return true;
}

/// The numbers asked for, ascending, each once; all of [0, count) by default.
std::vector<std::int64_t> choose(const std::string& what, const std::vector<std::string>& asked,
                                 std::int64_t count) {
  std::vector<std::int64_t> chosen;
  for (const std::string& each : asked) {
    const std::int64_t number = whole_number("--" + what, each, 0);
    if (number >= count) {
      throw UsageError("--" + what + " is " + std::to_string(number) + ", but the model's " + what +
                       "s are 0 to " + std::to_string(count - 1));
    }
    chosen.push_back(number);
  }
  if (asked.empty()) {
    chosen.resize(static_cast<std::size_t>(count));
    std::iota(chosen.begin(), chosen.end(), 0);
  }
  std::ranges::sort(chosen);
  chosen.erase(std::unique(chosen.begin(), chosen.end()), chosen.end());
  return chosen;
}

/// Runs a model over ids; asks for a probe before each layer, and says when its attention is done.
struct LookModel {
  LookModelInfo info;
  std::int64_t max_tokens;
  std::function<void(std::span<const std::int32_t> ids,
                     const std::function<Probe*(std::int64_t layer)>& probe,
                     const std::function<void(std::int64_t layer)>& done, Executor& executor)>
      run;
  /// Only of a model that decodes.
  std::function<Generated(const model::Tokenizer& tokenizer, model::Prompt prompt,
                          std::int64_t max_tokens, Executor& executor)>
      generate = {};
};

LookModel encoder(const model::FoundModel& found) {
  auto bert = std::make_shared<model::Bert>(model::Bert::load(found.folder));
  const model::BertConfig& config = bert->config();
  return {.info = {.num_layers = config.num_layers,
                   .num_heads = config.num_heads,
                   .num_kv_heads = config.num_heads,
                   .head_dim = config.head_dim()},
          .max_tokens = config.max_positions,
          .run = [bert](std::span<const std::int32_t> ids, const auto& probe, const auto& done,
                        Executor& executor) {
            model::BertObserver observer;
            observer.probe = probe;
            observer.attended = [&](std::int64_t layer, const auto&, const auto&) { done(layer); };
            bert->run(ids, observer, &executor);
          }};
}

/// Its attention is causal, read from a cache of float32.
LookModel decoder(const model::FoundModel& found) {
  auto decoder = std::make_shared<model::Decoder>(model::Decoder::load(found.source()));
  const model::DecoderConfig& config = decoder->config();
  constexpr std::int64_t kMost = 512;  // one pass: a layer's probe then sees all rows at once
  return {.info = {.num_layers = config.num_layers,
                   .num_heads = config.num_heads,
                   .num_kv_heads = config.num_kv_heads,
                   .head_dim = config.head_dim},
          .max_tokens = std::min(config.context_length, kMost),
          .run =
              [decoder](std::span<const std::int32_t> ids, const auto& probe, const auto& done,
                        Executor& executor) {
                PagedKvCache cache(decoder->cache_shape(DType::kF32));
                const model::DecoderInput input{cache.create(), ids};
                std::vector<float> logits(static_cast<std::size_t>(decoder->config().vocab_size));
                model::DecoderOptions options;
                options.executor = &executor;
                options.probe = probe;
                options.attended = done;
                decoder->run(cache, std::span(&input, 1),
                             {logits.data(), {1, decoder->config().vocab_size}}, options);
              },
          .generate =
              [decoder](const model::Tokenizer& tokenizer, model::Prompt prompt,
                        std::int64_t max_tokens, Executor& executor) {
                return generate_greedily(*decoder, tokenizer, std::move(prompt), max_tokens,
                                         executor);
              }};
}

/// The run itself: each chosen layer's weights go to every sink when the layer has been computed.
void run(const LookModel& look, const LookHeader& header, Executor& executor,
         const std::vector<std::unique_ptr<LookSink>>& sinks) {
  const auto length = static_cast<std::int64_t>(header.tokens.size());
  std::vector<std::int32_t> ids;
  ids.reserve(header.tokens.size());
  for (const model::Token& token : header.tokens) ids.push_back(token.id);
  std::vector<std::int64_t> queries(header.tokens.size());
  std::iota(queries.begin(), queries.end(), 0);
  std::vector<float> weights(header.heads.size() * queries.size() * queries.size());
  std::optional<WeightsProbe> probe;

  const auto make_probe = [&](std::int64_t layer) -> Probe* {
    probe.reset();
    if (!std::ranges::binary_search(header.layers, layer)) return nullptr;
    const auto heads = static_cast<std::int64_t>(header.heads.size());
    return &probe.emplace(0, header.heads, queries,
                          TensorView<float, 3>(weights.data(), {heads, length, length}));
  };
  const auto done = [&](std::int64_t layer) {
    if (!probe) return;
    for (const auto& sink : sinks) sink->layer(layer, weights);
  };
  for (const auto& sink : sinks) sink->begin(header);
  look.run(ids, make_probe, done, executor);
  for (const auto& sink : sinks) sink->end();
}

LookHeader describe(const model::FoundModel& found, const LookModelInfo& info) {
  LookHeader header;
  header.model = info;
  header.model.name = found.name;
  header.model.family = found.family;
  header.model.path = found.source().string();
  header.engine = {
      .version = REGARD_VERSION, .isa = active_isa(), .dtype = "float32", .threads = 1};
  return header;
}

/// The header's text and tokens: those of the request, truncated if they must be.
void read(LookRequest& request, const model::Tokenizer& tokenizer, const LookModel& look,
          LookHeader& header) {
  header.tokens = tokenizer.encode(request.text);
  header.truncated = fit(header.tokens, look.max_tokens, request);
  header.text = std::move(request.text);
}

/// The same with what the model answers. One pass over both has the bits that decoding had, so it
/// shows where each token looked when it was made.
void generate(const LookRequest& request, const model::FoundModel& found,
              const model::Tokenizer& tokenizer, const LookModel& look, LookHeader& header,
              Executor& executor) {
  if (!look.generate) {
    throw UsageError("model " + printable(found.name) + " is of the family " +
                     printable(found.family) + ", which does not generate; take smollm2");
  }
  model::Prompt prompt = make_prompt(found, tokenizer, request.text, request.raw);
  const std::int64_t room = look.max_tokens - std::ssize(prompt.ids);
  if (room < 1) {
    throw UsageError("the prompt is " + std::to_string(prompt.ids.size()) +
                     " tokens, look takes at most " + std::to_string(look.max_tokens) +
                     " with the answer; shorten it");
  }
  Generated generated = look.generate(tokenizer, std::move(prompt),
                                      std::min(request.generated.value_or(room), room), executor);
  if (std::ssize(generated.tokens) == generated.prompt_tokens)
    throw std::runtime_error("the model ended its answer at once: there is nothing to look at");
  header.text = std::move(generated.text);
  header.tokens = std::move(generated.tokens);
  header.prompt_tokens = generated.prompt_tokens;
}

}  // namespace

void look_at(
    LookRequest request, Executor& executor,
    const std::function<std::vector<std::unique_ptr<LookSink>>(const LookHeader&)>& make_sinks) {
  const model::FoundModel found = find_model(request.model);
  const auto tokenizer = model::Tokenizer::load(found.tokenizer());
  const LookModel look = found.decodes() ? decoder(found) : encoder(found);

  LookHeader header = describe(found, look.info);
  header.engine.threads = executor.num_threads();
  header.causal = found.decodes();
  if (request.generated) {
    generate(request, found, tokenizer, look, header, executor);
  } else {
    read(request, tokenizer, look, header);
  }
  header.layers = choose("layer", request.layers, look.info.num_layers);
  header.heads = choose("head", request.heads, look.info.num_heads);
  if (request.with_sha256) header.model.sha256 = model::weights_sha256(found);
  run(look, header, executor, make_sinks(header));
}

}  // namespace regard::cli
