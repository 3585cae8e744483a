// cli/numbers.h - numbers as people read them: three digits, a prefix, a unit.
#pragma once

#include <cstdint>
#include <string>

namespace regard::cli {

std::string number(double x, int decimals);

/// Three digits that mean something, whatever the size.
std::string number(double x);

/// 1234567 -> "1.23 M", in powers of 1000.
std::string with_prefix(double x);

/// 1536 -> "1.5K", in powers of 1024 named as people name tokens: K, M, B, T.
std::string tokens_number(double x);

/// 1536 -> "1.5 KiB".
std::string bytes_number(double x);

/// 0.00123 -> "1.2 ms"; "us" to "days".
std::string time_number(double seconds);

}  // namespace regard::cli
