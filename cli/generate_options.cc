// cli/generate_options.cc - the arguments of regard generate, checked.
#include "cli/generate_options.h"

#include <charconv>
#include <cmath>
#include <optional>

#include "cli/command.h"
#include "cli/unicode.h"
#include "regard/executor.h"

namespace regard::cli {
namespace {

constexpr const char* kFooter = R"(
The text comes as it is made; everything else goes to standard error. Without a
prompt, a terminal begins a conversation (/exit or Ctrl-D ends it) and a pipe is
read as the prompt. Ctrl-C ends an answer with what there is of it.

Instruct models are asked in the words that they were trained on: ChatML, Llama
2, Llama 3, Mistral and Gemma are recognised. --raw takes the prompt as it is.
The same seed, prompt, options and model give the same text, on any number of
threads.

The cache holds keys and values as f16: of f32, bf16, f16 and int8 it is the
fastest at long contexts that leaves the likeliest tokens of SmolLM2 as they are.

Examples:
  regard generate "Why is the sky blue?"
  regard generate --temperature 0 --max-tokens 40 "The three primary colours are"
  regard generate --raw --temperature 0 "The capital of France is"
  regard generate --system "Answer in one word." "What is the capital of Italy?"
  regard generate --json - --temperature 0 "Name a river." | jq .text
  regard generate --file long.txt --save-cache long.cache --stats
  regard generate --file long.txt --load-cache long.cache --seed 1
)";

/// Numbers as text, so that one wording refuses what is none.
struct Numbers {
  std::string max_tokens, window, sinks, top_k, seed, cache_bytes, threads;
  std::string temperature, top_p, min_p;
};

double real(const char* option, const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value))
    throw UsageError(std::string(option) + " is \"" + printable(text) + "\", expected a number");
  return value;
}

double real_in(const char* option, const std::string& text, double least, double most) {
  const double value = real(option, text);
  if (value < least || value > most) {
    throw UsageError(std::string(option) + " is " + printable(text) + ", expected " +
                     (most > 1 ? "0 or more" : "a number from 0 to 1"));
  }
  return value;
}

DType dtype_of_name(const std::string& name) {
  for (const DType dtype : {DType::kF32, DType::kBf16, DType::kF16, DType::kI8}) {
    if (name == name_of(dtype)) return dtype;
  }
  throw UsageError("--cache-dtype is \"" + printable(name) + "\", expected f32, bf16, f16 or int8");
}

void read_numbers(const Numbers& n, GenerateArguments& a) {
  if (!n.max_tokens.empty()) a.max_tokens = whole_number("--max-tokens", n.max_tokens, 1);
  if (!n.window.empty()) a.window = whole_number("--window", n.window, 1);
  if (!n.sinks.empty()) a.sinks = whole_number("--sinks", n.sinks, 0);
  if (!n.sinks.empty() && a.window == 0) throw UsageError("--sinks needs --window");
  if (!n.top_k.empty()) a.sampling.top_k = whole_number("--top-k", n.top_k, 0);
  if (!n.seed.empty())
    a.sampling.seed = static_cast<std::uint64_t>(whole_number("--seed", n.seed, 0));
  if (!n.cache_bytes.empty()) a.cache_bytes = whole_number("--cache-bytes", n.cache_bytes, 1);
  if (!n.temperature.empty())
    a.sampling.temperature = real_in("--temperature", n.temperature, 0, 1e6);
  if (!n.top_p.empty()) a.sampling.top_p = real_in("--top-p", n.top_p, 0, 1);
  if (a.sampling.top_p == 0) throw UsageError("--top-p is 0, expected a number above 0, at most 1");
  if (!n.min_p.empty()) a.sampling.min_p = real_in("--min-p", n.min_p, 0, 1);
  a.threads = n.threads.empty() ? default_num_threads()
                                : static_cast<int>(whole_number("--threads", n.threads, 1, 1024));
}

}  // namespace

bool GenerateArguments::parse(std::span<const char* const> arguments) {
  CLI::App app{"Continue a text, or answer, with a language model.", "regard generate"};
  app.footer(kFooter);
  Numbers n;
  std::string dtype = name_of(cache_dtype);
  const auto add = [&app](const char* name, auto& value, const char* type, const char* what) {
    return app.add_option(name, value, what)->type_name(type);
  };
  CLI::Option* text = add("PROMPT", prompt, "", "The prompt; - reads standard input");
  add("--file", file, "FILE", "Read the prompt from a file");
  add("--model", model, "MODEL", "A name of regard models, a .gguf file or a folder")
      ->capture_default_str();
  add("--system", system, "TEXT", "What the model is told before the conversation");
  app.add_flag("--raw", raw, "No template: the prompt as it is, special tokens recognised");
  add("--max-tokens", n.max_tokens, "N", "At most so many tokens; 512 by default");
  add("--temperature", n.temperature, "T", "0: always the likeliest token; 0.7 by default");
  add("--top-k", n.top_k, "N", "Only the N likeliest tokens; 0, the default: all");
  add("--top-p", n.top_p, "P", "Only the likeliest that sum to P; 0.95 by default");
  add("--min-p", n.min_p, "P", "Only those with P times the likeliest's probability");
  add("--seed", n.seed, "N", "0 by default");
  add("--stop", stop, "TEXT", "End where this text would come; may be given again")
      ->allow_extra_args(false);
  add("--cache-dtype", dtype, "TYPE", "f32, bf16, f16 or int8")->capture_default_str();
  add("--cache-bytes", n.cache_bytes, "N", "Most bytes of the cache; what the context needs");
  add("--save-cache", save_cache, "FILE", "Write the cache at the end, to go on from later");
  add("--load-cache", load_cache, "FILE", "Go on from such a file: what it holds is not run again");
  add("--window", n.window, "N", "Each token sees the last N only, and the sinks");
  add("--sinks", n.sinks, "N", "First tokens that are always seen; 4 by default");
  app.add_flag("--stats", stats, "Say at the end how fast it was, and how much memory it took");
  add("--json", json, "FILE", "Write JSON; - is standard output, alone");
  add("--threads", n.threads, "N", "One for each CPU by default");
  if (!cli::parse(app, arguments)) return false;
  has_prompt = text->count() > 0;
  if (has_prompt && !file.empty()) throw UsageError("a prompt and --file: give one of the two");
  for (const std::string& each : stop) {
    if (each.empty()) throw UsageError("--stop is empty, expected at least one character");
  }
  if (raw && !system.empty()) throw UsageError("--system is for templates, and --raw has none");
  cache_dtype = dtype_of_name(dtype);
  read_numbers(n, *this);
  return true;
}

}  // namespace regard::cli
