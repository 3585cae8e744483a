// tests/support/refusal.h - the words that an argument is refused with.
#pragma once

#include <stdexcept>
#include <string>

namespace regard::test {

/// What f throws as std::invalid_argument, or "nothing thrown".
template <class F>
std::string refusal(F f) {
  try {
    f();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "nothing thrown";
}

}  // namespace regard::test
