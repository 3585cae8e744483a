// cli/generate.cc - regard generate: text from a language model, as it is made.
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "cli/command.h"
#include "cli/generate_options.h"
#include "cli/generate_report.h"
#include "cli/look_options.h"
#include "cli/output.h"
#include "cli/unicode.h"
#include "regard/attention.h"
#include "regard/executor.h"
#include "regard/model/chat.h"
#include "regard/model/generate.h"

namespace regard::cli {
namespace {

std::atomic<bool> interrupted{false};

/// While it lives, Ctrl-C sets `interrupted`; a second one ends the process as it would have.
class Interruptible {
 public:
  Interruptible() {
    interrupted = false;
    struct sigaction action{};
    action.sa_handler = [](int) { interrupted = true; };
    action.sa_flags = static_cast<int>(SA_RESETHAND);
    ::sigaction(SIGINT, &action, &previous_);
  }
  ~Interruptible() { ::sigaction(SIGINT, &previous_, nullptr); }
  Interruptible(const Interruptible&) = delete;
  Interruptible& operator=(const Interruptible&) = delete;

 private:
  struct sigaction previous_{};
};

/// A line on a terminal's standard error that is written over.
class Progress {
 public:
  Progress() : shown_(::isatty(STDERR_FILENO) != 0) {}
  ~Progress() { clear(); }
  void say(const char* what, std::int64_t done, std::int64_t all) {
    if (!shown_ || all == 0) return;
    const std::int64_t percent = 100 * done / all;
    if (percent == std::exchange(percent_, percent)) return;
    std::fprintf(stderr, "\r%s %3lld %%", what, static_cast<long long>(percent));
    written_ = true;
  }
  void clear() {
    if (written_) std::fputs("\r\x1b[K", stderr);
    written_ = false;
    percent_ = -1;
  }

 private:
  bool shown_, written_ = false;
  std::int64_t percent_ = -1;
};

/// Text for a terminal: line ends and tabs stay, other controls go.
std::string shown(std::string_view text) {
  std::string result;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find_first_of("\n\t", begin), text.size());
    result += printable(text.substr(begin, end - begin));
    if (end < text.size()) result += text[end];
    begin = end + 1;
  }
  return result;
}

class Session {
 public:
  explicit Session(const GenerateArguments& arguments)
      : arguments_(arguments),
        found_(find_decoder(arguments.model)),
        executor_(make_thread_pool(arguments.threads)),
        tokenizer_(model::Tokenizer::load(found_.tokenizer())),
        decoder_(load(found_, progress_)),
        cache_(cache_shape(arguments, decoder_)),
        sequence_(arguments.load_cache.empty() ? cache_.create()
                                               : cache_.load(arguments.load_cache, {}, &held_)),
        generation_(decoder_, tokenizer_, cache_, sequence_, options(), held()) {
    if (!arguments.raw && !arguments.system.empty())
      messages_.push_back({"system", arguments.system});
  }

  /// Answers, the text going to `sink`.
  void answer(std::span<const std::int32_t> ids,
              const std::function<void(std::string_view)>& sink) {
    const Interruptible guard;
    prompt_ids_.assign(ids.begin(), ids.end());
    text_.clear();
    const auto take = [&](const std::string& text) {
      if (text.empty()) return;
      text_ += text;
      sink(text);
    };
    try {
      generation_.prompt(ids);
    } catch (const Cancelled&) {
      progress_.clear();
      stopped_early_ = true;
      return;
    }
    progress_.clear();
    stopped_early_ = false;
    while (const auto piece = generation_.next()) take(piece->text);
    take(generation_.rest());
  }

  std::vector<std::int32_t> encode(const std::string& prompt) {
    if (chat_) {
      messages_.push_back({"user", prompt});
      return chat_->encode(messages_, tokenizer_);
    }
    std::vector<std::int32_t> ids = model::raw_prompt(prompt, tokenizer_).ids;
    if (ids.empty()) throw UsageError("the prompt is empty, expected at least one token");
    return ids;
  }
  void save_cache() const {
    if (!arguments_.save_cache.empty())
      cache_.save(sequence_, arguments_.save_cache, generation_.held());
  }
  void remember_answer() { messages_.push_back({"assistant", text_}); }

  GenerateReport report() const {
    return {.model = found_,
            .config = decoder_.config(),
            .prompt_ids = prompt_ids_,
            .ids = generation_.ids(),
            .text = text_,
            .stop = stopped_early_ ? model::StopReason::kInterrupt : generation_.stop(),
            .stats = generation_.stats(),
            .cache = cache_.stats(),
            .cache_dtype = cache_.shape().dtype,
            .weight_bytes = decoder_.weight_bytes(),
            .threads = executor_->num_threads()};
  }

 private:
  static model::FoundModel find_decoder(const std::string& name) {
    model::FoundModel found = find_model(name);
    if (found.decodes()) return found;
    throw std::runtime_error("model " + printable(found.name) + " is of the family " +
                             printable(found.family) + ", which does not generate; take smollm2");
  }

  static model::Decoder load(const model::FoundModel& found, Progress& progress) {
    auto decoder = model::Decoder::load(found.source(), [&](std::int64_t done, std::int64_t all) {
      progress.say("loading", done, all);
    });
    progress.clear();
    return decoder;
  }

  static KvCacheShape cache_shape(const GenerateArguments& arguments,
                                  const model::Decoder& decoder) {
    KvCacheShape shape = model::context_cache_shape(decoder, arguments.cache_dtype);
    if (arguments.cache_bytes > 0) shape.budget_bytes = arguments.cache_bytes;
    return shape;
  }

  std::vector<std::int32_t> held() {
    if (std::ssize(held_) != cache_.length(sequence_)) {
      throw std::runtime_error(printable(arguments_.load_cache) +
                               ": holds no tokens' ids, expected a file of --save-cache");
    }
    return std::move(held_);
  }

  model::GenerateOptions options() {
    model::GenerateOptions options{.sampling = arguments_.sampling,
                                   .max_tokens = arguments_.max_tokens,
                                   .stop = arguments_.stop,
                                   .end_ids = model::end_ids(tokenizer_),
                                   .sinks = arguments_.sinks,
                                   .window = arguments_.window,
                                   .executor = executor_.get(),
                                   .cancel = &interrupted};
    if (!arguments_.raw) {
      chat_ = model::ChatTemplate::load(found_.source());
      options.end_ids = chat_->end_ids(tokenizer_);
      options.is_answer = true;
    }
    options.progress = [this](std::int64_t done, std::int64_t all) {
      if (all > 512) progress_.say("reading the prompt", done, all);
    };
    return options;
  }

  const GenerateArguments& arguments_;
  Progress progress_;
  std::optional<model::ChatTemplate> chat_;  // --raw has none
  std::vector<model::Message> messages_;
  std::vector<std::int32_t> held_, prompt_ids_;
  std::string text_;
  bool stopped_early_ = false;
  model::FoundModel found_;
  std::unique_ptr<Executor> executor_;
  model::Tokenizer tokenizer_;
  model::Decoder decoder_;
  PagedKvCache cache_;
  PagedKvCache::Sequence sequence_;
  model::Generation generation_;
};

/// Writes what is made to standard output at once.
class Printer {
 public:
  void operator()(std::string_view text) {
    const std::string clean = terminal_ ? shown(text) : std::string(text);
    print(clean);
    if (!clean.empty()) ends_line_ = clean.back() == '\n';
  }
  void end() {
    if (!ends_line_) print("\n");
    ends_line_ = true;
  }

 private:
  bool terminal_ = ::isatty(STDOUT_FILENO) != 0, ends_line_ = true;
};

/// What the user types next; nothing when the conversation is over. Ctrl-C may have come for an
/// answer that had just ended: only a second one is meant for the conversation.
std::optional<std::string> ask() {
  for (bool again = false;; again = true) {
    const Interruptible guard;
    std::fputs("> ", stderr);
    std::string line;
    if (std::getline(std::cin, line)) return line;
    if (again || !interrupted) break;
    std::fputs("\n(Ctrl-C again, Ctrl-D or /exit ends the conversation.)\n", stderr);
    std::clearerr(stdin);
    std::cin.clear();
  }
  std::fputs("\n", stderr);
  return std::nullopt;
}

void converse(Session& session) {
  std::fputs("A conversation: /exit or Ctrl-D ends it, Ctrl-C ends an answer.\n", stderr);
  Printer printer;
  while (const auto line = ask()) {
    if (*line == "/exit") return;
    if (line->find_first_not_of(" \t\r") == std::string::npos) continue;
    session.answer(session.encode(*line), [&](std::string_view text) { printer(text); });
    printer.end();
    session.remember_answer();
  }
}

std::string prompt_of(const GenerateArguments& arguments) {
  if (arguments.file.empty())
    return read_text(arguments.has_prompt ? arguments.prompt : "-", "generate");
  return read_prompt_file(arguments.file);
}

}  // namespace

void generate(std::span<const char* const> arguments) {
  GenerateArguments a;
  if (!a.parse(arguments)) return;
  const bool converses = !a.has_prompt && a.file.empty() && ::isatty(STDIN_FILENO) != 0;
  if (converses && !a.json.empty()) throw UsageError("--json needs a prompt");
  const std::string prompt = converses ? "" : prompt_of(a);
  std::optional<Output> json;  // at once: a name that cannot be written is no news for the end
  if (!a.json.empty()) json.emplace(a.json);
  Session session(a);
  if (converses) {
    converse(session);
  } else {
    Printer printer;
    session.answer(session.encode(prompt), [&](std::string_view text) {
      if (a.json != "-") printer(text);
    });
    if (a.json != "-") printer.end();
  }
  session.save_cache();
  const GenerateReport report = session.report();
  if (json) {
    json->write(to_json(report));
    json->commit();
  }
  if (a.stats) std::fputs(to_text(report).c_str(), stderr);
}

}  // namespace regard::cli
