// cli/look_options.cc - the arguments of regard look, checked, and the text they name.
#include "cli/look_options.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <tuple>

#include "cli/command.h"
#include "cli/unicode.h"
#include "regard/executor.h"

namespace regard::cli {
namespace {

constexpr std::int64_t kMostThreads = 1024;
constexpr std::size_t kMostTextBytes = 8 << 20;

constexpr const char* kFooter = R"(
A word is what the model's tokenizer splits the text into at spaces and
punctuation: attention to it is the sum over its pieces, attention from it their
mean. Sinks are [CLS], [SEP] and punctuation, where heads put what they have no
other use for; in a model that decodes also special tokens, white space and the
first word. Layers and heads count from 0; without --layer and --head all of
them are shown, in text as their mean.
Weights say where the model looked. They are not an explanation of what it does.

Examples:
  regard look "I sat on the bank of the river and watched the water."
  regard look --focus bank "I sat on the bank of the river."
  regard look --focus "bank#2" "The bank by the river is no bank."
  regard look --from bank --to river "I sat on the bank of the river."
  regard look --layer 3 --head 0,7 "I sat on the bank of the river."
  regard look --json look.json "I sat on the bank of the river."
  regard look --generated "What is the capital of France?"
  echo "I sat on the bank of the river." | regard look -
)";

/// Options as they were written.
struct Texts {
  std::string threads, max_tokens;
  bool generated = false;
};

void add_options(CLI::App& app, LookOptions& options, Texts& texts) {
  app.footer(kFooter);
  const auto add = [&app](const char* name, auto& value, const char* type, const char* what) {
    return app.add_option(name, value, what)->type_name(type);
  };
  add("TEXT", options.text, "", "The text; - reads standard input")->required();
  add("--model", options.model, "MODEL", "A name or a path; minilm, smollm2 if --generated");
  app.add_flag("--generated", texts.generated, "Answer TEXT, show where each new token looked");
  add("--max-tokens", texts.max_tokens, "N", "With --generated: at most so many; 32 by default");
  app.add_flag("--raw", options.raw, "With --generated: no template, TEXT as it is");
  for (auto [name, numbers, what] :
       {std::tuple{"--layer", &options.layers, "Only these layers: 3 or 0,5"},
        std::tuple{"--head", &options.heads, "Only these heads: 7 or 0,7"}}) {
    add(name, *numbers, "N", what)->delimiter(',')->allow_extra_args(false);
  }
  add("--focus", options.question.focus, "WORD", "Only what this word attends to");
  add("--from", options.question.from, "WORD", "The head that links this word most");
  add("--to", options.question.to, "WORD", "... to this one");
  add("--json", options.json, "FILE", "Write JSON too; - is standard output, alone");
  add("--html", options.html, "FILE", "Write a page to open in a browser");
  app.add_flag("--truncate", options.truncate, "Leave off what is too long for the model");
  add("--threads", texts.threads, "N", "Threads; one for each CPU by default");
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
    if (size < 0)
      throw std::runtime_error(std::string("cannot read standard input: ") + std::strerror(errno));
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

void check(const LookOptions& options) {
  const TextQuestion& question = options.question;
  if (question.from.empty() != question.to.empty()) {
    const bool has_from = !question.from.empty();
    throw UsageError(std::string(has_from ? "--from" : "--to") + " needs " +
                     (has_from ? "--to" : "--from") + ": the head that links two words most");
  }
  if (!options.json.empty() && options.json == options.html) {
    throw UsageError("--json and --html both write " + printable(options.json) +
                     ", choose two files");
  }
  if (options.writes_standard_output() && !(question.focus + question.from).empty()) {
    throw UsageError(
        "--focus, --from and --to choose what the text shows, what goes to standard output is no "
        "text");
  }
  for (const auto* numbers : {&options.layers, &options.heads}) {
    const std::string name = numbers == &options.layers ? "--layer" : "--head";
    for (const std::string& number : *numbers) whole_number(name, number, 0);
  }
}

}  // namespace

std::string read_text(const std::string& argument, const std::string& verb) {
  std::string text = argument == "-" ? read_standard_input() : argument;
  if (text.find_first_not_of(" \t\r\n\v\f") == std::string::npos) {
    throw UsageError(std::string("the text is ") + (text.empty() ? "empty" : "only white space") +
                     ", expected words; for example: regard " + verb +
                     " \"The bank of the river.\"");
  }
  return text;
}

bool LookOptions::parse(std::span<const char* const> arguments) {
  CLI::App app{"Show what every word of a text attends to in a pretrained model.", "regard look"};
  Texts texts;
  add_options(app, *this, texts);
  if (!cli::parse(app, arguments)) return false;
  threads = texts.threads.empty()
                ? default_num_threads()
                : static_cast<int>(whole_number("--threads", texts.threads, 1, kMostThreads));
  if (!texts.generated && (raw || !texts.max_tokens.empty()))
    throw UsageError(std::string(raw ? "--raw" : "--max-tokens") + " needs --generated");
  if (texts.generated)
    generated = texts.max_tokens.empty() ? 32 : whole_number("--max-tokens", texts.max_tokens, 1);
  if (model.empty()) model = generated ? "smollm2" : "minilm";
  check(*this);
  return true;
}

}  // namespace regard::cli
