// cli/look_options.h - the arguments of regard look, checked, and the text they name.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cli/look_text.h"

namespace regard::cli {

struct LookOptions {
  std::string text, model, json, html, isa;
  std::vector<std::string> layers, heads;  // whole numbers; whether the model has them it must say
  TextQuestion question;
  bool truncate = false, raw = false;
  std::optional<std::int64_t> generated;  // at most so many tokens
  int threads = 1;

  /// False when help was asked for and has been printed. Throws UsageError.
  bool parse(std::span<const char* const> arguments);
  /// Whether something else than the text view goes to standard output.
  bool writes_standard_output() const { return json == "-" || html == "-"; }
};

/// The argument itself, or standard input for "-", without its last line end. Throws UsageError for
/// one without words.
std::string read_text(const std::string& argument, const std::string& verb = "look");

}  // namespace regard::cli
