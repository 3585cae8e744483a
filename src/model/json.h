// src/model/json.h - JSON from outside, read with limits.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace regard::model {

using Json = nlohmann::json;

/// Deepest nesting of arrays and objects that parse_json accepts; the files we read need 8.
inline constexpr int kMaxJsonDepth = 64;

/// Parses UTF-8 JSON. Throws std::runtime_error, one line that begins with `name`, on anything that
/// is not JSON, on an object key that comes twice, and on nesting deeper than kMaxJsonDepth.
/// Recursion does not follow the input.
Json parse_json(std::string_view text, std::string_view name);

/// A string from outside for an error message: as JSON writes it, in ASCII, shortened.
std::string in_quotes(std::string_view text);

/// Reads a whole regular file of at most max_bytes. Throws std::runtime_error that begins with the
/// path.
std::string read_file(const std::string& path, std::uint64_t max_bytes);

}  // namespace regard::model
