// src/model/sha256.cc - the SHA-256 of a file or a text, by libmd.
#include "model/sha256.h"

#include <sha2.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <vector>

namespace regard::model {
namespace {

std::string hex_digest(SHA2_CTX& context) {
  std::array<std::uint8_t, SHA256_DIGEST_LENGTH> digest{};
  SHA256Final(digest.data(), &context);
  std::string hex;
  for (const std::uint8_t byte : digest) {
    hex += "0123456789abcdef"[byte >> 4];
    hex += "0123456789abcdef"[byte & 15];
  }
  return hex;
}

}  // namespace

std::string sha256_file(const std::filesystem::path& path) {
  constexpr std::size_t kPiece = std::size_t{1} << 20;
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    throw std::runtime_error(path.string() + ": cannot be opened: " + std::strerror(errno));
  }
  SHA2_CTX context;
  SHA256Init(&context);
  std::vector<char> piece(kPiece);
  while (file) {
    file.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    SHA256Update(&context, reinterpret_cast<const std::uint8_t*>(piece.data()),
                 static_cast<std::size_t>(file.gcount()));
  }
  if (!file.eof()) {
    throw std::runtime_error(path.string() + ": cannot be read: " + std::strerror(errno));
  }
  return hex_digest(context);
}

std::string sha256_text(std::string_view text) {
  SHA2_CTX context;
  SHA256Init(&context);
  SHA256Update(&context, reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
  return hex_digest(context);
}

}  // namespace regard::model
