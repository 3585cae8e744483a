// src/model/sha256.h - the SHA-256 of a file.
#pragma once

#include <filesystem>
#include <string>

namespace regard::model {

/// 64 lower-case hexadecimal digits. Reads the file in pieces. Throws std::runtime_error that
/// begins with the path.
std::string sha256_file(const std::filesystem::path& path);

}  // namespace regard::model
