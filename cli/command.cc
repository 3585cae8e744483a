// cli/command.cc - what every verb shares: its arguments, its errors.
#include "cli/command.h"

#include <algorithm>
#include <charconv>
#include <vector>

#include "cli/output.h"
#include "cli/suggest.h"
#include "cli/unicode.h"

namespace regard::cli {
namespace {

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

/// What CLI11 calls extras: an unknown option, or words that no argument takes.
[[noreturn]] void throw_unexpected(const CLI::App& app) {
  const std::string help = "; see " + app.get_name() + " --help";
  for (const std::string& extra : app.remaining()) {
    if (!extra.starts_with("-")) continue;
    const std::string name = extra.substr(0, extra.find('='));
    const std::string meant = did_you_mean(name, option_names(app));
    throw UsageError("unknown option " + printable(name) + (meant.empty() ? help : meant));
  }
  const bool takes_text = app.get_option_no_throw("TEXT") != nullptr;
  const bool takes_mask = app.get_option_no_throw("MASK") != nullptr;
  throw UsageError("unexpected argument \"" + printable(app.remaining().front()) + "\"" +
                   (takes_text ? "; a text of several words stands in quotes" : "") +
                   (takes_mask ? "; an expression stands in quotes" : "") + help);
}

/// No option's value means anything when it is empty (`--json "$UNSET"`).
void check_values(const CLI::App& app) {
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& value : option->results()) {
      if (value.empty() && !option->get_lnames().empty()) {
        throw UsageError("--" + option->get_lnames().front() + " is empty, expected " +
                         option->get_type_name());
      }
    }
  }
}

}  // namespace

bool parse(CLI::App& app, std::span<const char* const> arguments) {
  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());  // as CLI11 wants them
  try {
    app.parse(std::move(reversed));
    check_values(app);
  } catch (const CLI::CallForHelp&) {
    print(app.help());
    return false;
  } catch (const CLI::ExtrasError&) {
    throw_unexpected(app);
  } catch (const CLI::ParseError& error) {
    throw UsageError(printable(error.what()) + "; see " + app.get_name() + " --help");
  }
  return true;
}

std::int64_t whole_number(std::string_view option, const std::string& text, std::int64_t least,
                          std::int64_t most) {
  std::int64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || stop != end || value < least || value > most) {
    const bool bounded = most != std::numeric_limits<std::int64_t>::max();
    throw UsageError(std::string(option) + " is \"" + printable(text) +
                     "\", expected a whole number " +
                     (bounded ? "from " + std::to_string(least) + " to " + std::to_string(most)
                              : "of at least " + std::to_string(least)));
  }
  return value;
}

model::FoundModel find_model(const std::string& name) {
  try {
    return model::find_model(name);
  } catch (const std::runtime_error& error) {
    std::vector<std::string> names;
    for (const model::KnownModel& known : model::known_models()) names.push_back(known.name);
    const bool known = std::ranges::find(names, name) != names.end();
    throw std::runtime_error(error.what() + (known ? "" : did_you_mean(name, names)));
  }
}

void print(std::string_view text) {
  Output output("-");
  output.write(text);
  output.commit();
}

}  // namespace regard::cli
