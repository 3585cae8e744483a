// cli/look_run.cc - one text through one model, its attention to whoever asked for it.
#include "cli/look_run.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <utility>

#include "cli/command.h"
#include "regard/isa.h"
#include "regard/model/bert.h"
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

/// The run itself: each chosen layer's weights go to every sink when the layer has been computed.
void run(const model::Bert& bert, const LookHeader& header, Executor& executor,
         const std::vector<std::unique_ptr<LookSink>>& sinks) {
  const auto length = static_cast<std::int64_t>(header.tokens.size());
  std::vector<std::int32_t> ids;
  ids.reserve(header.tokens.size());
  for (const model::Token& token : header.tokens) ids.push_back(token.id);
  std::vector<std::int64_t> queries(header.tokens.size());
  std::iota(queries.begin(), queries.end(), 0);
  std::vector<float> weights(header.heads.size() * queries.size() * queries.size());
  std::optional<WeightsProbe> probe;

  model::BertObserver observer;
  observer.probe = [&](std::int64_t layer) -> Probe* {
    probe.reset();
    if (!std::ranges::binary_search(header.layers, layer)) return nullptr;
    const auto heads = static_cast<std::int64_t>(header.heads.size());
    return &probe.emplace(0, header.heads, queries,
                          TensorView<float, 3>(weights.data(), {heads, length, length}));
  };
  observer.attended = [&](std::int64_t layer, const auto&, const auto&) {
    if (!probe) return;
    for (const auto& sink : sinks) sink->layer(layer, weights);
  };
  for (const auto& sink : sinks) sink->begin(header);
  bert.run(ids, observer, &executor);
  for (const auto& sink : sinks) sink->end();
}

LookHeader describe(const model::FoundModel& found, const model::BertConfig& config) {
  LookHeader header;
  header.model = {.name = found.name,
                  .family = found.family,
                  .path = found.folder.string(),
                  .sha256 = "",
                  .num_layers = config.num_layers,
                  .num_heads = config.num_heads,
                  .num_kv_heads = config.num_heads,
                  .head_dim = config.head_dim()};
  header.engine = {
      .version = REGARD_VERSION, .isa = active_isa(), .dtype = "float32", .threads = 1};
  return header;
}

}  // namespace

void look_at(
    LookRequest request, Executor& executor,
    const std::function<std::vector<std::unique_ptr<LookSink>>(const LookHeader&)>& make_sinks) {
  const model::FoundModel found = find_model(request.model);
  auto tokens = model::Tokenizer::load(found.folder / "tokenizer.json").encode(request.text);
  const model::Bert bert = model::Bert::load(found.folder);

  LookHeader header = describe(found, bert.config());
  header.engine.threads = executor.num_threads();
  header.truncated = fit(tokens, bert.config().max_positions, request);
  header.text = std::move(request.text);
  header.tokens = std::move(tokens);
  header.layers = choose("layer", request.layers, bert.config().num_layers);
  header.heads = choose("head", request.heads, bert.config().num_heads);
  if (request.with_sha256) header.model.sha256 = model::weights_sha256(found);
  run(bert, header, executor, make_sinks(header));
}

}  // namespace regard::cli
