// tests/support/golden_digest.h - what golden files hold instead of long lists of numbers.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

namespace regard::test {

/// FNV-1a over 64-bit words instead of bytes; tests/golden/golden_digest.py is the same.
class GoldenDigest {
 public:
  void add(std::int64_t word) {
    state_ = (state_ ^ static_cast<std::uint64_t>(word)) * 0x100000001B3U;
  }
  std::string text() const {
    char hex[17];
    std::snprintf(hex, sizeof hex, "%016llx", static_cast<unsigned long long>(state_));
    return hex;
  }

 private:
  std::uint64_t state_ = 0xCBF29CE484222325U;
};

}  // namespace regard::test
