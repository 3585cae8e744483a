// src/kernels/kernels.h - the kernels as data: one table of function pointers per instruction set.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

#include "regard/dtype.h"

namespace regard::kernels {

/// A page has a whole number of so many rows.
inline constexpr std::int64_t kPageUnit = 16;

/// Where the rows of a matrix lie that is cut into pages: row r is row (row + r) % page_rows of
/// page table[(row + r) / page_rows], and the matrix begins `offset` bytes after the page.
struct Pages {
  const std::byte* const* table = nullptr;  ///< null: no pages
  std::int64_t num = 0;                     ///< pages of the table that may be read
  std::int64_t page_rows = 0;               ///< a multiple of kPageUnit
  std::int64_t row = 0;  ///< below page_rows; a multiple of kPageUnit where a kernel takes so many
  std::int64_t offset = 0;
  const Pages* next = nullptr;  ///< what will be read after the first `until` rows, if known
  std::int64_t until = 0;       ///< `row` and it together a multiple of kPageUnit
};

/// A row of pages that moves on without a division for each step.
struct PageCursor {
  const Pages* pages = nullptr;
  std::int64_t page = 0, row = 0;

  PageCursor() = default;
  PageCursor(const Pages& p, std::int64_t rows_on)
      : pages(&p), page((p.row + rows_on) / p.page_rows), row((p.row + rows_on) % p.page_rows) {}
  /// Rows from here on that lie together.
  std::int64_t left() const { return pages->page_rows - row; }
  void advance(std::int64_t rows) {
    for (row += rows; row >= pages->page_rows; row -= pages->page_rows) ++page;
  }
  /// Null beyond the end and in a page that is no longer there.
  template <class T>
  const T* at(std::int64_t row_stride) const {
    if (page >= pages->num || pages->table[page] == nullptr) return nullptr;
    return reinterpret_cast<const T*>(pages->table[page] + pages->offset) + row * row_stride;
  }
};

/// The same for rows that will be read later: after `until` rows it goes on with `next`.
class LookAhead {
 public:
  LookAhead() = default;
  LookAhead(const Pages& p, std::int64_t rows_on)
      : until_(p.next == nullptr ? std::numeric_limits<std::int64_t>::max() : p.until) {
    cursor_ = PageCursor(p, 0);
    advance(rows_on);
  }
  std::int64_t left() const { return std::min(cursor_.left(), until_); }
  void advance(std::int64_t rows) {
    if (rows < until_) {
      until_ -= rows;
      return cursor_.advance(rows);
    }
    cursor_ = PageCursor(*cursor_.pages->next, rows - until_);
    until_ = std::numeric_limits<std::int64_t>::max();
  }
  template <class T>
  const T* at(std::int64_t row_stride) const {
    return cursor_.at<T>(row_stride);
  }

 private:
  PageCursor cursor_;
  std::int64_t until_ = 0;
};

/// Rows of a matrix as they lie in storage: element (r, c) is element r * row_stride + c *
/// column_stride of `data`, whose type is the DType of the kernel that reads it. In pages, `data`
/// is not looked at, columns are adjacent, and rows up to the next multiple of 16 may be read.
struct Matrix {
  const void* data;
  std::int64_t rows;
  std::int64_t columns;
  std::int64_t row_stride;
  std::int64_t column_stride;
  Pages pages = {};

  /// Where row r begins; an element takes `bytes`.
  const void* address(std::int64_t r, std::int64_t bytes) const {
    if (pages.table == nullptr) return static_cast<const std::byte*>(data) + r * row_stride * bytes;
    const std::int64_t at = pages.row + r;
    const std::byte* page = pages.table[at / pages.page_rows] + pages.offset;
    return page + at % pages.page_rows * row_stride * bytes;
  }
  template <class T>
  const T* row(std::int64_t r) const {
    return static_cast<const T*>(address(r, sizeof(T)));
  }
};

/// Memory that will be read soon: rows of bytes, asked for line by line.
struct Stream {
  const char* at = nullptr;
  const char* row_end = nullptr;
  std::int64_t rows = 0;  ///< still to come after this one
  std::int64_t row_bytes = 0;
  std::int64_t row_stride = 0;  ///< in bytes

  Stream() = default;
  Stream(const void* data, std::int64_t num_rows, std::int64_t bytes, std::int64_t stride)
      : at(static_cast<const char*>(data)),
        row_end(at + bytes),
        rows(num_rows - 1),
        row_bytes(bytes),
        row_stride(stride) {
    if (stride != bytes) return;
    row_end = at + bytes * num_rows;
    rows = 0;
  }

  void next_line() {
    constexpr std::int64_t kLine = 64;
    if (at >= row_end) {
      if (rows == 0) return;
      --rows;
      row_end += row_stride;
      at = row_end - row_bytes;
    }
    __builtin_prefetch(at, 0, 2);
    at += kLine;
  }
};

/// Depth of a step of a product's register tile, about the same time for every number of rows.
constexpr std::int64_t step_depth(std::int64_t rows) { return rows <= 2 ? 4 : rows <= 6 ? 8 : 32; }

/// What a product asks for while it computes, evenly over its time: hardware drops requests that
/// come in bursts. Two streams in turns, `pairs` lines of each with every step of a register tile
/// (step_depth()).
struct Prefetch {
  Stream first, second;

  void advance(std::int64_t pairs) {
    for (; pairs > 0; --pairs) {
      first.next_line();
      second.next_line();
    }
  }
};
struct Meanwhile {
  Prefetch* prefetch = nullptr;
  std::int64_t pairs = 0;

  void step() const {
    if (prefetch != nullptr) prefetch->advance(pairs);
  }
};

/// c[r][j] (+)= sum_k a[r][k] * b[k][j], then times scale; see README.md. A word of a and b is a
/// float, or two bf16 of adjacent k in the place of one (Arithmetic::word).
struct Product {
  const float* a;  ///< (rows, depth) words, rows a_stride apart, columns contiguous
  std::int64_t a_stride;
  std::int64_t rows;
  const float* b;            ///< (depth, panels * panel width) words, as packed
  std::int64_t b_panel = 0;  ///< words from panel to panel
  std::int64_t panels;
  std::int64_t depth;  ///< in words
  float* c;            ///< (rows, panels * panel width), rows c_stride apart
  std::int64_t c_stride;
  float scale;
  bool accumulate;   ///< the chains go on from what c holds, instead of from 0
  bool add = false;  ///< the chains begin at 0 and their results are added to what c holds
  Meanwhile meanwhile = {};
};

/// How the weights of a linear layer are kept in blocks: along the depth so many share a scale (and
/// an offset). A number is scale * q + offset of 4 unsigned bits, scale * q of 8 signed ones, the
/// product rounded to float32 and then the sum.
enum class BlockKind : std::uint8_t {
  kHalf4,   ///< 32 of 4 bits, scale and offset f16
  kFloat4,  ///< 32 of 4 bits, scale and offset f32
  kHalf8,   ///< 32 of 8 bits, scale f16
  kFloat8,  ///< 16 of 8 bits, scale f32
};
inline constexpr std::size_t kBlockKinds = 4;

/// c[r][j] (+)= sum_k a[r][k] * b[k][j], b in blocks.
struct BlockProduct {
  const float* a;  ///< (rows, depth), rows a_stride apart
  std::int64_t a_stride;
  std::int64_t rows;
  const std::byte* b;
  std::int64_t b_panel;  ///< bytes from panel to panel
  std::int64_t panels;
  std::int64_t depth;  ///< a whole number of blocks
  float* c;            ///< (rows, panels * panel width), rows c_stride apart
  std::int64_t c_stride;
  bool add;  ///< to what c holds
};

/// Rows of scores that become weights in place, with each row's maximum and sum.
struct Softmax {
  float*
      scores;  ///< (rows, columns), rows `stride` apart; room up to the next multiple of 32 columns
  std::int64_t stride;
  std::int64_t rows;
  std::int64_t columns;
  float* max;
  float* sum;
};

/// The state of some rows over some keys: out[r] = sum_j w_j value_j, sum[r] = sum_j w_j, w_j =
/// exp(score_j - max[r]). A row that saw no key has max = -inf, sum = 0, out = 0.
struct State {
  float* max;
  float* sum;
  float* out;  ///< (rows, out_stride)
};

inline constexpr std::size_t kDTypes = 4;

/// The kernels whose work depends on what is multiplied: float32, or pairs of bf16. Arrays go by
/// the DType of the source; null where the arithmetic cannot take it.
struct Arithmetic {
  const char* name;   ///< "f32" or "bf16"
  std::int64_t word;  ///< elements along the depth in one word: 1 or 2
  std::array<void (*)(const Matrix& source, float* words, std::int64_t stride), kDTypes> load_rows;
  std::array<void (*)(const Matrix& source, float* packed), kDTypes> pack_columns;
  std::array<void (*)(const Matrix& source, std::int64_t packed_depth, float* packed), kDTypes>
      pack_rows;
  void (*product)(const Product& p);
  std::array<void (*)(const Product& p, const Matrix& b), kDTypes> product_in_place;
  std::array<void (*)(const Product& p, const Matrix& b), kDTypes> dot_in_place;  ///< b's rows
  void (*softmax)(const Softmax& s);
  double (*peak)(std::int64_t repeats);  ///< floating point operations done by `repeats` rounds of
                                         ///< independent multiply-adds in registers

  std::int64_t words(std::int64_t depth) const { return (depth + word - 1) / word; }
};

/// README.md beside this file is the contract of each kernel. All are noexcept and allocate
/// nothing.
struct KernelTable {
  const char* isa;         ///< Highway's name of the target
  std::int64_t panel;      ///< columns of a packed panel; divides 32
  std::int64_t tile_rows;  ///< rows of a product's register tile, at most
  const Arithmetic* f32;
  const Arithmetic* bf16;  ///< null where the instruction set cannot multiply pairs of bf16
  void (*mask)(float* scores, std::int64_t columns, std::uint64_t bits);
  void (*scale_columns)(const float* factors, std::int64_t columns, float* scores);
  void (*merge)(const State& left, const State& right, std::int64_t rows, std::int64_t stride);
  std::array<bool (*)(const Matrix& source), kDTypes> is_finite;
  std::array<void (*)(const float* out, float sum, std::int64_t columns, void* to,
                      std::int64_t to_stride),
             kDTypes>
      finish;
  std::array<void (*)(const float* row, std::int64_t columns, void* to, float* scale), kDTypes>
      store_row;
  void (*exp)(const float* x, float* y, std::int64_t n);  ///< y[i] = exp(x[i]), x <= 0
  void (*soft_cap)(float* scores, std::int64_t columns, float cap);
  void (*alibi)(float* scores, std::int64_t columns, float slope, std::int64_t distance);
  std::array<void (*)(const void* bias, std::int64_t stride, std::int64_t columns, float* scores),
             kDTypes>
      add_bias;
  bool (*has_minus_infinity)(const float* scores, std::int64_t columns);
  std::array<void (*)(const BlockProduct& p), kBlockKinds> block_product;
  std::array<void (*)(const std::byte* panel, std::int64_t depth, float* packed), kBlockKinds>
      unpack_blocks;

  const Arithmetic& arithmetic(bool pairs) const { return pairs ? *bf16 : *f32; }
};

/// Tables that this CPU can run, best first; the portable one is last. At least one.
std::span<const KernelTable* const> supported_tables();

/// The bf16 arithmetic of a target (Highway's bit), or null.
const Arithmetic* bf16_arithmetic(std::int64_t target);

inline constexpr std::size_t index(DType dtype) { return static_cast<std::size_t>(dtype); }

}  // namespace regard::kernels
