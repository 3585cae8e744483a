// src/model/sha256.h - the SHA-256 of a file or a text.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace regard::model {

/// 64 lower-case hexadecimal digits. Reads the file in pieces. Throws std::runtime_error that
/// begins with the path.
std::string sha256_file(const std::filesystem::path& path);
std::string sha256_text(std::string_view text);

}  // namespace regard::model
