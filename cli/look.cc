// cli/look.cc - regard look: one text through one model, its attention to every sink that was asked for.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <numeric>
#include <optional>
#include <tuple>

#include "cli/command.h"
#include "cli/look_json.h"
#include "cli/look_text.h"
#include "cli/unicode.h"
#include "regard/isa.h"
#include "regard/model/bert.h"
#include "regard/model/models.h"
#include "regard/probe.h"
#include "regard/version.h"

namespace regard::cli {
namespace {

constexpr std::int64_t kMostThreads = 1024;
constexpr std::size_t kMostTextBytes = 8 << 20;

constexpr const char* kFooter = R"(
A word is what the model's tokenizer splits the text into at spaces and
punctuation: attention to it is the sum over its pieces, attention from it their
mean. Sinks are [CLS], [SEP] and punctuation, where heads put what they have no
other use for. Layers and heads count from 0; without --layer and --head all of
them are shown, in text as their mean.
Weights say where the model looked. They are not an explanation of what it does.

Examples:
  regard look "I sat on the bank of the river and watched the water."
  regard look --focus bank "I sat on the bank of the river."
  regard look --focus "bank#2" "The bank by the river is no bank."
  regard look --from bank --to river "I sat on the bank of the river."
  regard look --layer 3 --head 0,7 "I sat on the bank of the river."
  regard look --json look.json "I sat on the bank of the river."
  echo "I sat on the bank of the river." | regard look -
)";

struct LookOptions {
  std::string text, model = "minilm", json, isa, threads;
  std::vector<std::string> layers, heads;
  TextQuestion question;
  bool truncate = false;
};

void add_options(CLI::App& app, LookOptions& options) {
  app.footer(kFooter);
  const auto add = [&app](const char* name, auto& value, const char* type, const char* what) {
    return app.add_option(name, value, what)->type_name(type);
  };
  add("TEXT", options.text, "", "The text; - reads standard input")->required();
  add("--model", options.model, "MODEL", "A name of regard models, or a folder")
      ->capture_default_str();
  for (auto [name, numbers, what] : {std::tuple{"--layer", &options.layers, "Only these layers: 3 or 0,5"},
                                     std::tuple{"--head", &options.heads, "Only these heads: 7 or 0,7"}}) {
    add(name, *numbers, "N", what)->delimiter(',')->allow_extra_args(false);
  }
  add("--focus", options.question.focus, "WORD", "Only what this word attends to");
  add("--from", options.question.from, "WORD", "The head that links this word most");
  add("--to", options.question.to, "WORD", "... to this one");
  add("--json", options.json, "FILE", "Write JSON too; - is standard output, alone");
  app.add_flag("--truncate", options.truncate, "Leave off what is too long for the model");
  add("--threads", options.threads, "N", "Threads; one for each CPU by default");
  add("--isa", options.isa, "NAME", "Instruction set: one of regard --version");
}

std::string read_standard_input() {
  if (::isatty(STDIN_FILENO) != 0) {
    std::fputs("regard: reading the text from the terminal; Ctrl-D ends it\n", stderr);
  }
  std::string text;
  char buffer[1 << 16];
  for (;;) {
    const ssize_t size = ::read(STDIN_FILENO, buffer, sizeof buffer);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) throw std::runtime_error(std::string("cannot read standard input: ") + std::strerror(errno));
    if (size == 0) break;
    text.append(buffer, static_cast<std::size_t>(size));
    if (text.size() > kMostTextBytes) {
      throw std::runtime_error("the text is longer than " + std::to_string(kMostTextBytes >> 20) +
                               " MiB, expected a text of at most a few hundred words");
    }
  }
  if (text.ends_with('\n')) text.pop_back();  // the line's end, not the text's
  if (text.ends_with('\r')) text.pop_back();
  return text;
}

std::string read_text(const std::string& argument) {
  std::string text = argument == "-" ? read_standard_input() : argument;
  if (text.find_first_not_of(" \t\r\n\v\f") == std::string::npos) {
    throw UsageError(std::string("the text is ") + (text.empty() ? "empty" : "only white space") +
                     ", expected words; for example: regard look \"The bank of the river.\"");
  }
  return text;
}

/// Cuts to max_positions tokens, the special ones that the tokenizer put at the end kept. Whether it cut.
bool fit(std::vector<model::Token>& tokens, std::int64_t max_positions, bool truncate) {
  const auto limit = static_cast<std::size_t>(max_positions);
  if (tokens.size() <= limit) return false;
  if (!truncate) {
    throw std::runtime_error("the text is " + std::to_string(tokens.size()) +
                             " tokens, the model takes at most " + std::to_string(limit) +
                             "; --truncate leaves off the rest");
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

void check(const LookOptions& options) {
  const TextQuestion& question = options.question;
  if (question.from.empty() != question.to.empty()) {
    const bool has_from = !question.from.empty();
    throw UsageError(std::string(has_from ? "--from" : "--to") + " needs " +
                     (has_from ? "--to" : "--from") + ": the head that links two words most");
  }
  if (options.json == "-" && !(question.focus + question.from).empty()) {
    throw UsageError("--focus, --from and --to choose what the text shows, --json - writes no text");
  }
  for (const auto* numbers : {&options.layers, &options.heads}) {
    const std::string name = numbers == &options.layers ? "--layer" : "--head";
    for (const std::string& number : *numbers) whole_number(name, number, 0);
  }
}

/// The run itself: each chosen layer's weights go to every sink when the layer has been computed.
void run(const model::Bert& bert, const LookHeader& header, Executor& executor,
         std::span<LookSink* const> sinks) {
  const auto length = static_cast<std::int64_t>(header.tokens.size());
  std::vector<std::int32_t> ids;
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
    for (LookSink* sink : sinks) sink->layer(layer, weights);
  };
  for (LookSink* sink : sinks) sink->begin(header);
  bert.run(ids, observer, &executor);
  for (LookSink* sink : sinks) sink->end();
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
  header.engine = {.version = REGARD_VERSION, .isa = active_isa(), .dtype = "float32", .threads = 1};
  return header;
}

void use_isa(const std::string& name) {
  try {
    force_isa(name);
  } catch (const std::invalid_argument& error) {
    throw UsageError(std::string("--isa: ") + error.what());
  }
}

}  // namespace

void look(std::span<const char* const> arguments) {
  LookOptions options;
  CLI::App app{"Show what every word of a text attends to in a pretrained model.", "regard look"};
  add_options(app, options);
  if (!parse(app, arguments)) return;
  check(options);
  const auto threads = options.threads.empty()
                           ? default_num_threads()
                           : static_cast<int>(whole_number("--threads", options.threads, 1, kMostThreads));
  use_isa(options.isa);

  std::string text = read_text(options.text);
  const model::FoundModel found = model::find_model(options.model);
  auto tokens = model::Tokenizer::load(found.folder / "tokenizer.json").encode(text);
  const model::Bert bert = model::Bert::load(found.folder);
  LookHeader header = describe(found, bert.config());
  header.truncated = fit(tokens, bert.config().max_positions, options.truncate);
  header.text = std::move(text);
  header.tokens = std::move(tokens);
  header.layers = choose("layer", options.layers, bert.config().num_layers);
  header.heads = choose("head", options.heads, bert.config().num_heads);
  const auto executor = make_thread_pool(threads);
  header.engine.threads = executor->num_threads();

  // Files first: a reader of standard output that leaves early must not spoil them.
  std::vector<std::unique_ptr<LookSink>> sinks;
  if (!options.json.empty()) {
    header.model.sha256 = model::weights_sha256(found);
    sinks.push_back(std::make_unique<LookJson>(options.json));
  }
  if (options.json != "-") {
    sinks.push_back(std::make_unique<LookText>(standard_output(), options.question));
  }
  std::vector<LookSink*> pointers;
  for (const auto& sink : sinks) pointers.push_back(sink.get());
  run(bert, header, *executor, pointers);
}

}  // namespace regard::cli
