// cli/look_json.h - regard look --json: schema regard.look/1, written as the model runs.
#pragma once

#include "cli/look_sink.h"
#include "cli/output.h"

namespace regard::cli {

/// Writes each layer when it comes; holds none of them.
class LookJson final : public LookSink {
 public:
  explicit LookJson(std::string path) : output_(std::move(path)) {}

  void begin(const LookHeader& header) override;
  void layer(std::int64_t layer, std::span<const float> weights) override;
  void end() override;

 private:
  Output output_;
  std::size_t num_tokens_ = 0;
  bool first_layer_ = true;
};

}  // namespace regard::cli
