// src/api/luong.cc - Luong's general score as a projection of the queries.
#include "regard/luong.h"

#include "api/check.h"

namespace regard {

Linear luong_general(TensorView<const float, 2> weight) {
  constexpr std::int64_t kMost = std::int64_t{1} << 31;
  api::check_range("luong_general: weight.shape[0]", weight.shape[0], 1, kMost);
  api::check_range("luong_general: weight.shape[1]", weight.shape[1], 1, kMost);
  api::check_view("luong_general: weight", weight, weight.shape, {"D_q", "D_k"});
  const TensorView<const float, 2> transposed(weight.data, {weight.shape[1], weight.shape[0]},
                                              {weight.strides[1], weight.strides[0]});
  return {transposed, {}};
}

}  // namespace regard
