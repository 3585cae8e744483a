// cli/main.cc - the regard command: finds the verb, turns every error into one line and a status.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command.h"
#include "cli/output.h"
#include "cli/suggest.h"
#include "cli/unicode.h"
#include "regard/executor.h"
#include "regard/isa.h"
#include "regard/version.h"

namespace regard::cli {
namespace {

constexpr std::string_view kExamples = R"END(
Examples:
  regard models get minilm
  regard look "I sat on the bank of the river and watched the water."
  regard look --help
  regard generate "Why is the sky blue?"
  regard mask "causal | prefix(4)" --n 16
  regard plan --heads 32 --kv-heads 8 --dtype bf16 --table
  regard bench --quick

Exit status: 0 done, 1 it could not be done, 2 the command line is wrong.
Weights say where a model looked. They are not an explanation of what it does.
)END";

std::string help() {
  std::string text =
      "regard - attention, computed exactly and shown\n\n"
      "Usage: regard VERB [ARGUMENTS]\n\n";
  for (const Verb& verb : verbs()) {
    text += "  " + verb.name + std::string(11 - verb.name.size(), ' ') + verb.summary + "\n";
  }
  text += "  --version  Version, instruction sets, libraries: what a bug report needs\n";
  text += "  --help     This; regard VERB --help says more\n";
  return text += kExamples;
}

/// What a bug report needs.
std::string version() {
  std::string isas;
  for (const std::string& isa : supported_isas()) {
    isas += (isas.empty() ? "" : ", ") + isa + (isa == active_isa() ? " (in use)" : "");
  }
  return "regard " REGARD_VERSION "\ninstruction sets: " + isas +
         "\nthreads: " + std::to_string(default_num_threads()) +
         "\nlibraries: " REGARD_LIBRARIES "\nbuilt by: " REGARD_COMPILER "\n";
}

void run(std::span<const char* const> arguments) {
  const std::string_view first = arguments.empty() ? "" : arguments[0];
  if (first.empty())
    throw UsageError("which verb? look, generate, mask, plan, models or bench; see regard --help");
  if (first == "--help" || first == "-h" || first == "help") return print(help());
  if (first == "--version" || first == "-V") return print(version());
  std::vector<std::string> names{"--help", "--version"};
  for (const Verb& verb : verbs()) {
    if (verb.name == first) return verb.run(arguments.subspan(1));
    names.push_back(verb.name);
  }
  throw UsageError("unknown verb \"" + printable(first) + "\"" + did_you_mean(first, names) +
                   "; see regard --help");
}

int fail(std::string_view what, int status) {
  // Not std::cerr: nothing to throw, nothing to flush.
  std::fprintf(stderr, "regard: %s\n", printable(what).c_str());
  return status;
}

}  // namespace

std::span<const Verb> verbs() {
  static const std::vector<Verb> all{
      {"look", "Show what every word of a text attends to: as text, JSON or a page", &look},
      {"generate", "Continue a text, or answer, with a language model", &generate},
      {"mask", "Draw which query sees which key under a mask", &mask},
      {"plan", "Say what an attention computation costs before it runs", &plan},
      {"models", "List the models that look can use, or get one", &models},
      {"bench", "Measure the engine against this machine's own limits", &bench}};
  return all;
}

}  // namespace regard::cli

int main(int argc, char** argv) {
  using namespace regard::cli;  // NOLINT(google-build-using-namespace): main stands outside it
  prepare_process();
  try {
    run({argv + std::min(argc, 1), static_cast<std::size_t>(std::max(argc - 1, 0))});
    return 0;
  } catch (const ClosedPipe&) {
    return 0;
  } catch (const UsageError& error) {
    fail(error.what(), 2);
    std::fputs(error.below().c_str(), stderr);
    return 2;
  } catch (const std::bad_alloc&) {
    return fail("out of memory; a shorter text or fewer --layer and --head need less", 1);
  } catch (const std::exception& error) {
    return fail(error.what(), 1);
  }
}
