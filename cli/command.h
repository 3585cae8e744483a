// cli/command.h - what every verb shares: its arguments, its errors, its exit status.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <limits>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "regard/model/models.h"

namespace regard::cli {

/// The command line is wrong: exit status 2. Every other exception: 1. what() is one line that
/// names the thing, what came, what was wanted and what to do; below(): printable lines, each with
/// its end, that show where.
class UsageError : public std::runtime_error {
 public:
  explicit UsageError(const std::string& line, std::string below = "")
      : std::runtime_error(line), below_(std::move(below)) {}
  const std::string& below() const { return below_; }

 private:
  std::string below_;
};

/// A verb of the command line: run gets the arguments after the verb's name.
struct Verb {
  std::string name, summary;
  void (*run)(std::span<const char* const> arguments);
};
std::span<const Verb> verbs();
void bench(std::span<const char* const> arguments);     // cli/bench.cc
void generate(std::span<const char* const> arguments);  // cli/generate.cc
void look(std::span<const char* const> arguments);      // cli/look.cc
void mask(std::span<const char* const> arguments);      // cli/mask.cc
void models(std::span<const char* const> arguments);    // cli/models.cc
void plan(std::span<const char* const> arguments);      // cli/plan.cc

/// Fills app's options. False when it was asked for help, which has then been printed. Throws
/// UsageError.
bool parse(CLI::App& app, std::span<const char* const> arguments);

/// A whole number from an option's text. Throws UsageError that names the option and the range.
std::int64_t whole_number(std::string_view option, const std::string& text, std::int64_t least,
                          std::int64_t most = std::numeric_limits<std::int64_t>::max());

/// model::find_model, whose error asks "did you mean" too.
model::FoundModel find_model(const std::string& name);

/// Prints to standard output, checked.
void print(std::string_view text);

}  // namespace regard::cli
