// include/regard/paged_view.h - keys and values in pages, as attention reads them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "regard/dtype.h"

namespace regard {

/// The keys and values of some sequences, wherever their pages lie: what PagedKvCache::view()
/// gives, or what somebody with pages of his own fills in. Key j of sequence s and KV head g begins
/// at tables[s][j / page_size] + key_offset + ((g * page_size) + j % page_size) * D *
/// size_of(dtype); values likewise with value_offset and E. The view owns its lists, not the pages.
struct PagedView {
  DType dtype = DType::kF32;
  std::int64_t num_layers = 1;
  std::int64_t num_kv_heads = 1;  ///< G
  std::int64_t head_dim = 0;      ///< D
  std::int64_t value_dim = 0;     ///< E
  std::int64_t page_size = 0;     ///< tokens, a multiple of 16
  std::int64_t layer_bytes = 0;   ///< from a layer to the next inside of a page
  // Bytes from the beginning of a page, multiples of what lies there. kI8: a float32 scale per row,
  // (G, page_size), all of them finite; else unused.
  std::int64_t key_offset = 0, value_offset = 0;
  std::int64_t key_scale_offset = 0, value_scale_offset = 0;
  /// (S), as many pages as kv_lens needs; a null page was evicted, with every 32 keys, from a
  /// multiple of 32 on, that it has a part of.
  std::vector<const std::byte* const*> tables;
  std::vector<std::int64_t> kv_lens;  ///< (S)
  /// (S), or none: positions [begin, end) are not there any more.
  std::vector<std::int64_t> evicted_begin, evicted_end;

  /// The same of another layer. Throws std::invalid_argument when there is none.
  PagedView& layer(std::int64_t index) {
    if (index < 0 || index >= num_layers) {
      throw std::invalid_argument("pages: layer is " + std::to_string(index) + ", expected 0.." +
                                  std::to_string(num_layers - 1));
    }
    const std::int64_t move = (index - layer_) * layer_bytes;
    key_offset += move, value_offset += move;
    key_scale_offset += move, value_scale_offset += move;
    layer_ = index;
    return *this;
  }

 private:
  std::int64_t layer_ = 0;
};

}  // namespace regard
