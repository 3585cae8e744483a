// include/regard/luong.h - the scores of Luong et al. 2015: dot and general.
#pragma once

#include "regard/linear.h"
#include "regard/tensor_view.h"

namespace regard {

/// score(q, k) = q . k is attention with AttentionOptions::scale = 1.
///
/// score(q, k) = q^T W k = (W^T q) . k: the projection that makes queries of D_q numbers meet keys
/// of D_k numbers. Run it over the rows of all queries, then call attention with its result and
/// scale = 1. weight (D_q, D_k), any strides, copied. Throws std::invalid_argument on an extent
/// below 1 or null data.
Linear luong_general(TensorView<const float, 2> weight);

}  // namespace regard
