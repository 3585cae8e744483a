// src/cache/page_layout.h - where in a page the keys and values of its tokens lie.
#pragma once

#include <cstdint>

#include "regard/kv_cache.h"

namespace regard::cache {

/// A page: for each layer keys (G, page_size, D), values (G, page_size, E), and for int8 their
/// scales, (G, page_size) each; every part begins at a multiple of 64 bytes.
struct PageLayout {
  std::int64_t key = 0, value = 0, key_scale = 0, value_scale = 0;  ///< bytes from a layer's begin
  std::int64_t layer_bytes = 0;
  std::int64_t page_bytes = 0;

  explicit PageLayout(const KvCacheShape& s) {
    const auto take = [this](std::int64_t bytes) {
      const std::int64_t begin = layer_bytes;
      layer_bytes += (bytes + 63) / 64 * 64;
      return begin;
    };
    const auto element = static_cast<std::int64_t>(size_of(s.dtype));
    const std::int64_t rows = s.num_kv_heads * s.page_size,
                       scales = s.dtype == DType::kI8 ? rows * 4 : 0;
    key = take(rows * s.head_dim * element);
    value = take(rows * s.value_dim * element);
    key_scale = take(scales);
    value_scale = take(scales);
    page_bytes = s.num_layers * layer_bytes;
  }
};

}  // namespace regard::cache
