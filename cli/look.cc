// cli/look.cc - regard look: one text through one model, its attention to whoever asked for it.
#include <algorithm>
#include <memory>

#include "cli/command.h"
#include "cli/html_file.h"
#include "cli/look_json.h"
#include "cli/look_options.h"
#include "cli/look_run.h"
#include "cli/look_text.h"
#include "cli/suggest.h"
#include "cli/unicode.h"
#include "regard/executor.h"
#include "regard/isa.h"

namespace regard::cli {
namespace {

void use_isa(const std::string& name) {
  const std::vector<std::string> isas = supported_isas();
  if (!name.empty() && std::ranges::find(isas, name) == isas.end()) {
    std::string list;
    for (const std::string& isa : isas) list += (list.empty() ? "" : ", ") + isa;
    throw UsageError("--isa is \"" + printable(name) +
                     "\", but this machine's instruction sets are " + list +
                     did_you_mean(name, isas));
  }
  force_isa(name);
}

/// Where the page opens: on what the text view would show.
PageStart page_start(const LookHeader& header, const TextQuestion& question) {
  PageStart start;
  if (header.layers.size() == 1) start.layer = header.layers[0];
  if (header.heads.size() == 1) start.head = header.heads[0];
  const auto words = words_of(header.text, header.tokens, header.causal);
  const auto token = [&](const std::string& word) {
    return static_cast<std::int64_t>(words[find_word(words, word)].token_begin);
  };
  const std::string& from = question.focus.empty() ? question.from : question.focus;
  if (header.prompt_tokens) start.focus = *header.prompt_tokens;
  if (!from.empty()) start.focus = token(from);
  if (question.focus.empty() && !question.to.empty()) start.other = token(question.to);
  return start;
}

/// Files first: a reader of standard output that leaves early must not spoil them.
std::vector<std::unique_ptr<LookSink>> make_sinks(const LookOptions& options,
                                                  const LookHeader& header) {
  std::vector<std::unique_ptr<LookSink>> sinks;
  const auto add_json = [&] { sinks.push_back(std::make_unique<LookJson>(options.json)); };
  if (!options.json.empty() && options.json != "-") add_json();
  if (!options.html.empty()) {
    sinks.push_back(std::make_unique<HtmlFile>(options.html, page_start(header, options.question)));
  }
  if (options.json == "-") add_json();
  if (!options.writes_standard_output()) {
    sinks.push_back(std::make_unique<LookText>(standard_output(), options.question));
  }
  return sinks;
}

}  // namespace

void look(std::span<const char* const> arguments) {
  LookOptions options;
  if (!options.parse(arguments)) return;
  use_isa(options.isa);
  LookRequest request{.text = read_text(options.text),
                      .model = options.model,
                      .layers = options.layers,
                      .heads = options.heads,
                      .truncate = options.truncate,
                      .generated = options.generated,
                      .raw = options.raw,
                      .with_sha256 = !(options.json + options.html).empty()};
  const auto executor = make_thread_pool(options.threads);
  look_at(std::move(request), *executor,
          [&](const LookHeader& header) { return make_sinks(options, header); });
}

}  // namespace regard::cli
