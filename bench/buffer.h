// bench/buffer.h - memory of a measurement, filled with numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>

#include "regard/dtype.h"

namespace regard::bench {

/// Uninitialised, 64-byte aligned.
class Buffer {
 public:
  explicit Buffer(std::size_t bytes)
      : data_(static_cast<std::byte*>(::operator new(bytes, kAlignment))), size_(bytes) {}

  std::byte* data() { return data_.get(); }
  std::span<const std::byte> bytes() const { return {data_.get(), size_}; }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Delete {
    void operator()(std::byte* p) const { ::operator delete(p, kAlignment); }
  };
  std::unique_ptr<std::byte, Delete> data_;
  std::size_t size_;
};

/// `n` numbers with mean 0 and variance 1; they repeat after some 100,000, so that gigabytes take
/// no time. Every page of the buffer has been written.
Buffer random_numbers(DType dtype, std::int64_t n);

}  // namespace regard::bench
