// cli/generate_options.h - the arguments of regard generate, checked.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "regard/dtype.h"
#include "regard/model/sampler.h"

namespace regard::cli {

struct GenerateArguments {
  std::string prompt, file, model = "smollm2", system, json, save_cache, load_cache;
  bool has_prompt = false, raw = false, stats = false;
  std::vector<std::string> stop;
  model::SamplingOptions sampling{.temperature = 0.7, .top_p = 0.95};
  std::int64_t max_tokens = 512, window = 0, sinks = 4, cache_bytes = 0;
  DType cache_dtype = DType::kF16;
  int threads = 1;

  /// False when help was asked for and has been printed. Throws UsageError.
  bool parse(std::span<const char* const> arguments);
};

}  // namespace regard::cli
