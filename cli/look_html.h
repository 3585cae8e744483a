// cli/look_html.h - `regard look --html`: one page that holds everything and asks nobody for
// anything.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ostream>
#include <span>

#include "cli/look_sink.h"

namespace regard::cli {

/// What the page shows when it opens; -1 is the mean over layers or heads, or no token.
struct PageStart {
  std::int64_t layer = -1;
  std::int64_t head = -1;
  std::int64_t focus = -1;  ///< index of a token
  std::int64_t other = -1;  ///< index of the token it is compared with
};

/// Bits per stored weight: 16 while the page stays small, else 8. `count` is the number of weights.
int page_bits(std::int64_t count);

/// Writes the page as layers come; holds one row of weights. A weight is stored as
/// code = round(top * sqrt(weight / largest)), with top = 2^bits - 1 and largest = the largest
/// weight of its row (float32, stored before the row): it is off by at most largest / top, and zero
/// stays zero. Throws std::runtime_error where a weight is not finite or negative, or the stream
/// fails.
class HtmlSink : public LookSink {
 public:
  explicit HtmlSink(std::ostream& out, PageStart start = {});
  void begin(const LookHeader& header) override;
  void layer(std::int64_t layer, std::span<const float> weights) override;
  void end() override;

 private:
  std::ostream& out_;
  PageStart start_;
  std::size_t num_tokens_ = 0;
  std::int64_t layers_written_ = 0;
  int bits_ = 8;
};

}  // namespace regard::cli
