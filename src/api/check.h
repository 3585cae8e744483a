// src/api/check.h - argument errors in one wording: what came, what was wanted.
#pragma once

#include <array>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>

#include "regard/tensor_view.h"

namespace regard::api {

/// "attention: key.shape[3] is 64, expected 128 (query head_dim)"
[[noreturn]] inline void refuse(const std::string& what, const std::string& came,
                                const std::string& wanted) {
  throw std::invalid_argument(what + " is " + came + ", expected " + wanted);
}

inline void check_range(const std::string& what, std::int64_t came, std::int64_t least,
                        std::int64_t most) {
  if (came >= least && came <= most) return;
  refuse(what, std::to_string(came), std::to_string(least) + ".." + std::to_string(most));
}

inline void check_equal(const std::string& what, std::int64_t came, std::int64_t wanted,
                        const char* why) {
  if (came != wanted) refuse(what, std::to_string(came), std::to_string(wanted) + " (" + why + ")");
}

/// A view's shape, and data where there is something to point to. names: what each extent is.
template <class View, std::size_t Rank = std::tuple_size_v<decltype(View::shape)>>
void check_view(const std::string& what, const View& view,
                const std::type_identity_t<std::array<std::int64_t, Rank>>& shape,
                const std::type_identity_t<std::array<const char*, Rank>>& names) {
  for (std::size_t i = 0; i < Rank; ++i) {
    check_equal(what + ".shape[" + std::to_string(i) + "]", view.shape[i], shape[i], names[i]);
  }
  if (view.data == nullptr && view.size() != 0)
    refuse(what + ".data", "null", "a pointer to its elements");
}

}  // namespace regard::api
