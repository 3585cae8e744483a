// cli/html_file.h - regard look --html: the page in a file that is there whole or not at all.
#pragma once

#include "cli/look_html.h"
#include "cli/output.h"

namespace regard::cli {

class HtmlFile final : public LookSink {
 public:
  HtmlFile(std::string path, const PageStart& start)
      : output_(std::move(path)), stream_(output_), page_(stream_, start) {}

  void begin(const LookHeader& header) override { page_.begin(header); }
  void layer(std::int64_t layer, std::span<const float> weights) override {
    page_.layer(layer, weights);
  }
  void end() override {
    page_.end();
    output_.commit();
  }

 private:
  Output output_;
  OutputStream stream_;
  HtmlSink page_;
};

}  // namespace regard::cli
