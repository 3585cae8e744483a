// src/cache/crc32c.h - CRC-32C (Castagnoli): whether bytes are those that were written.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace regard::cache {

/// Of `bytes` after what `crc` is of. Eight tables: eight bytes a step.
class Crc32c {
 public:
  void add(std::span<const std::byte> bytes) {
    const auto& table = tables();
    std::size_t i = 0;
    for (; i + 8 <= bytes.size(); i += 8) {
      std::uint32_t next = 0;
      for (std::size_t b = 0; b < 8; ++b) {
        const auto low = b < 4 ? crc_ >> 8 * b : 0;
        next ^= table[7 - b][(low ^ std::to_integer<std::uint32_t>(bytes[i + b])) & 0xFFU];
      }
      crc_ = next;
    }
    for (; i < bytes.size(); ++i)
      crc_ = table[0][(crc_ ^ std::to_integer<std::uint32_t>(bytes[i])) & 0xFFU] ^ crc_ >> 8;
  }
  std::uint32_t value() const { return ~crc_; }

 private:
  using Tables = std::array<std::array<std::uint32_t, 256>, 8>;
  static const Tables& tables() {
    static const Tables made = [] {
      constexpr std::uint32_t kPolynomial = 0x82F63B78U;  // reversed
      Tables t{};
      for (std::uint32_t i = 0; i < 256; ++i) {
        std::uint32_t c = i;
        for (int bit = 0; bit < 8; ++bit) c = c & 1U ? kPolynomial ^ c >> 1 : c >> 1;
        t[0][i] = c;
      }
      for (std::size_t k = 1; k < t.size(); ++k) {
        for (std::size_t i = 0; i < 256; ++i)
          t[k][i] = t[0][t[k - 1][i] & 0xFFU] ^ t[k - 1][i] >> 8;
      }
      return t;
    }();
    return made;
  }

  std::uint32_t crc_ = ~std::uint32_t{0};
};

}  // namespace regard::cache
