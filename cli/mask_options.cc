// cli/mask_options.cc - the arguments of regard mask, checked.
#include "cli/mask_options.h"

#include <stdexcept>

#include "cli/command.h"
#include "cli/unicode.h"
#include "regard/mask_text.h"

namespace regard::cli {
namespace {

constexpr std::int64_t kMostPositions = 65'536;  // the mask is asked for each pair
constexpr std::int64_t kMostCharacters = 4096;   // of a row or a column
constexpr std::int64_t kMostOffset = std::int64_t{1} << 40;

constexpr const char* kFooter = R"END(
Masks: full, causal, window(left, right) with * for no end, prefix(n),
strided(n), document(id, id, ...) with an id for each position; !a, a & b,
a | b and parentheses, & before |. docs/masks.md draws each of them.
Queries are rows from --q-offset on, keys are columns from 0 on. What is too
large for a character per pair has one per tile of pairs, of 2, 4, 8, ... both
ways. Tiles that are counted are those that the engine would compute or skip.

Examples:
  regard mask causal --n 16
  regard mask "causal & (prefix(4) | window(8, 0))" --n 32
  regard mask "causal & document(0, 0, 0, 1, 1, 2, 2, 2)" --n 8
  regard mask "causal & window(4096, 0)" --n 16384 --svg window.svg
  regard mask causal --n 1 --kv 100 --q-offset 99 --json -
)END";

/// As they came: empty where they did not.
struct Numbers {
  std::string n = "64", kv, q_offset, tile;
};

MaskExtent read_extent(const Numbers& numbers, bool has_positions) {
  MaskExtent e{};
  e.num_queries = whole_number("--n", numbers.n, 1, kMostPositions);
  e.num_keys =
      numbers.kv.empty() ? e.num_queries : whole_number("--kv", numbers.kv, 1, kMostPositions);
  if (!numbers.q_offset.empty()) {
    e.q_offset = whole_number("--q-offset", numbers.q_offset, -kMostOffset, kMostOffset);
  } else if (has_positions && e.num_queries != e.num_keys) {
    throw UsageError("--n is " + std::to_string(e.num_queries) + " and --kv " +
                     std::to_string(e.num_keys) + ", which needs --q-offset: 0, or " +
                     std::to_string(e.num_keys - e.num_queries) +
                     " for queries that end where the keys do");
  }
  return e;
}

std::int64_t read_tile(const std::string& text, const MaskExtent& e) {
  const std::int64_t tile = whole_number("--tile", text, 1, kMostPositions);
  for (const std::int64_t extent : {e.num_queries, e.num_keys}) {
    if ((extent + tile - 1) / tile <= kMostCharacters) continue;
    throw UsageError("--tile is " + text + ", which draws " + std::to_string(extent) +
                     " positions as more than " + std::to_string(kMostCharacters) +
                     " characters, expected at least " +
                     std::to_string((extent + kMostCharacters - 1) / kMostCharacters));
  }
  return tile;
}

}  // namespace

AnyMask read_mask(const std::string& text) {
  try {
    return parse_mask(text);
  } catch (const std::invalid_argument& error) {
    const std::string message = error.what();
    const std::size_t line = message.find('\n');
    throw UsageError(message.substr(0, line), message.substr(line + 1) + "\n");
  }
}

bool MaskOptions::parse(std::span<const char* const> arguments) {
  CLI::App app{"Draw which query sees which key under a mask.", "regard mask"};
  app.footer(kFooter);
  std::string text;
  Numbers numbers;
  const auto add = [&app](const char* name, std::string& value, const char* type,
                          const char* what) {
    return app.add_option(name, value, what)->type_name(type);
  };
  add("MASK", text, "", "The mask, an expression in quotes")->required();
  add("--n", numbers.n, "N", "Queries")->capture_default_str();
  add("--kv", numbers.kv, "N", "Keys; as many as queries by default");
  add("--q-offset", numbers.q_offset, "N", "Position of the first query; 0 where --kv is --n");
  add("--tile", numbers.tile, "N", "Queries and keys of a character: 1, or as it fits");
  add("--json", json, "FILE", "Write JSON too; - is standard output, alone");
  add("--svg", svg, "FILE", "Write a picture too; - is standard output, alone");
  if (!cli::parse(app, arguments)) return false;
  if (!json.empty() && json == svg)
    throw UsageError("--json and --svg both write " + printable(json) + ", choose two files");
  mask = read_mask(text);
  extent = read_extent(numbers, !mask.is_full());
  if (!numbers.tile.empty()) tile = read_tile(numbers.tile, extent);
  return true;
}

}  // namespace regard::cli
