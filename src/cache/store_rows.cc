// src/cache/store_rows.cc - keys and values where they lie in their pages.
#include <algorithm>
#include <cstring>

#include "cache/store.h"

namespace regard::cache {

Store::Row Store::row(Part part, const SequenceState& s, const Place& at) const {
  std::byte* page = pool_.data(s.pages[static_cast<std::size_t>(at.position / shape_.page_size)]) +
                    at.layer * layout_.layer_bytes;
  const std::int64_t row = at.head * shape_.page_size + at.position % shape_.page_size;
  const bool key = part == Part::kKey;
  const std::int64_t bytes =
      (key ? shape_.head_dim : shape_.value_dim) * static_cast<std::int64_t>(size_of(shape_.dtype));
  float* scales =
      shape_.dtype != DType::kI8
          ? nullptr
          : reinterpret_cast<float*>(page + (key ? layout_.key_scale : layout_.value_scale)) + row;
  return {page + (key ? layout_.key : layout_.value) + row * bytes, scales};
}

float Store::element(const Row& row, std::int64_t i) const {
  switch (shape_.dtype) {
    case DType::kF32:
      return reinterpret_cast<const float*>(row.data)[i];
    case DType::kBf16:
      return static_cast<float>(reinterpret_cast<const bf16*>(row.data)[i]);
    case DType::kF16:
      return static_cast<float>(reinterpret_cast<const f16*>(row.data)[i]);
    case DType::kI8:
      return static_cast<float>(reinterpret_cast<const std::int8_t*>(row.data)[i]) * *row.scale;
  }
  return 0;
}

/// Zeros for tokens [begin, end) of one page that nobody shares.
void Store::wipe(const SequenceState& s, std::int64_t begin, std::int64_t end) const noexcept {
  if (begin >= end ||
      s.pages[static_cast<std::size_t>(begin / shape_.page_size)] == SequenceState::kEvicted)
    return;
  for (std::int64_t layer = 0; layer < shape_.num_layers; ++layer) {
    for (std::int64_t head = 0; head < shape_.num_kv_heads; ++head) {
      for (const Part part : {Part::kKey, Part::kValue}) {
        const Row first = row(part, s, {layer, head, begin});
        const std::int64_t dim = part == Part::kKey ? shape_.head_dim : shape_.value_dim;
        const auto rows = static_cast<std::size_t>(end - begin);
        std::memset(first.data, 0, rows * static_cast<std::size_t>(dim) * size_of(shape_.dtype));
        if (first.scale != nullptr) std::fill_n(first.scale, rows, 0.0f);
      }
    }
  }
}

}  // namespace regard::cache
