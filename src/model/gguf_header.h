// src/model/gguf_header.h - what a GGUF header says, checked before anybody believes it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>

#include "regard/model/gguf.h"

namespace regard::model {

struct GgufHeader {
  std::map<std::string, GgufValue, std::less<>> metadata;
  std::map<std::string, GgufTensor, std::less<>> tensors;
};

/// Bytes that a header may be in.
struct GgufBytes {
  std::uint64_t size;
  std::string name;  ///< stands for the path in errors
  std::function<void(std::uint64_t at, std::span<char> to)> read;
};

/// Throws std::runtime_error. Takes memory only for what is really there.
GgufHeader read_gguf_header(const GgufBytes& bytes);

}  // namespace regard::model
