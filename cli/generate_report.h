// cli/generate_report.h - what regard generate did, for programs and for people.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "regard/kv_cache.h"
#include "regard/model/decoder.h"
#include "regard/model/generate.h"
#include "regard/model/models.h"

namespace regard::cli {

struct GenerateReport {
  model::FoundModel model;
  model::DecoderConfig config;
  std::vector<std::int32_t> prompt_ids, ids;
  std::string text;
  model::StopReason stop;
  model::GenerateStats stats;
  KvCacheStats cache;
  DType cache_dtype;
  std::int64_t weight_bytes;
  int threads;
};

/// docs/generate.schema.json, with a line end.
std::string to_json(const GenerateReport& report);
/// A few lines.
std::string to_text(const GenerateReport& report);

/// The text of a file, without its last line end. Throws std::runtime_error.
std::string read_prompt_file(const std::string& path);

}  // namespace regard::cli
