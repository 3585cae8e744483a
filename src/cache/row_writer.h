// src/cache/row_writer.h - rows of tensors on their way into a cache.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "cache/store.h"
#include "kernels/kernels.h"
#include "plan/isa.h"
#include "regard/tensor_view.h"

namespace regard::cache {

/// Of keys and of values.
inline constexpr std::int64_t kMostDim = 1024;

/// Row (head, token, *) of a tensor.
inline const std::byte* row_of(const InputView<3>& from, std::int64_t head, std::int64_t token) {
  const std::int64_t offset = head * from.strides[0] + token * from.strides[1];
  return static_cast<const std::byte*>(from.data) +
         offset * static_cast<std::int64_t>(size_of(from.dtype));
}

inline bool is_finite(const InputView<3>& from, std::int64_t head, std::int64_t token) {
  return plan::active_table().is_finite[kernels::index(from.dtype)](
      {row_of(from, head, token), 1, from.shape[2], 0, from.strides[2]});
}

/// A row of any dtype and stride into storage.
class RowWriter {
 public:
  explicit RowWriter(DType dtype) : table_(plan::active_table()), dtype_(dtype) {}

  void write(const InputView<3>& from, std::int64_t head, std::int64_t token, Store::Row to) {
    const std::int64_t columns = from.shape[2];
    const std::byte* source = row_of(from, head, token);
    if (from.dtype == dtype_ && from.strides[2] == 1) {
      std::memcpy(to.data, source, static_cast<std::size_t>(columns) * size_of(dtype_));
      return;
    }
    const float* row = reinterpret_cast<const float*>(source);
    if (from.dtype != DType::kF32 || from.strides[2] != 1) {
      table_.f32->load_rows[kernels::index(from.dtype)]({source, 1, columns, 0, from.strides[2]},
                                                        row_.data(), columns);
      row = row_.data();
    }
    table_.store_row[kernels::index(dtype_)](row, columns, to.data, to.scale);
  }

 private:
  const kernels::KernelTable& table_;
  DType dtype_;
  std::array<float, kMostDim> row_;
};

}  // namespace regard::cache
