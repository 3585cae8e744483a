// include/regard/paged_view.h - keys and values in pages, as attention reads them.
#pragma once

#include <cstddef>
#include <cstdint>
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
  // Bytes from the beginning of a page. kI8: a float32 scale per row, (G, page_size); else unused.
  std::int64_t key_offset = 0, value_offset = 0;
  std::int64_t key_scale_offset = 0, value_scale_offset = 0;
  std::vector<const std::byte* const*> tables;  ///< (S); a null page was evicted
  std::vector<std::int64_t> kv_lens;            ///< (S)
  /// (S): positions [first, second) are not there any more.
  std::vector<std::int64_t> evicted_begin, evicted_end;

  /// The same of another layer.
  PagedView& layer(std::int64_t index) {
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
