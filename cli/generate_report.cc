// cli/generate_report.cc - what regard generate did, for programs and for people.
#include "cli/generate_report.h"

#include <sys/resource.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "cli/command.h"
#include "cli/unicode.h"
#include "regard/isa.h"
#include "regard/version.h"

namespace regard::cli {
namespace {

std::int64_t peak_bytes() {
  struct rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return std::int64_t{usage.ru_maxrss} * 1024;
}

}  // namespace

std::string to_json(const GenerateReport& r) {
  nlohmann::ordered_json json;
  json["schema"] = "regard.generate/1";
  json["model"] = {{"name", r.model.name},
                   {"family", r.config.family},
                   {"path", r.model.source().string()},
                   {"layers", r.config.num_layers},
                   {"heads", r.config.num_heads},
                   {"kv_heads", r.config.num_kv_heads},
                   {"head_dim", r.config.head_dim},
                   {"context", r.config.context_length}};
  json["engine"] = {{"version", REGARD_VERSION}, {"isa", active_isa()}, {"threads", r.threads}};
  json["prompt_ids"] = r.prompt_ids;
  json["ids"] = r.ids;
  json["text"] = r.text;
  json["stop"] = name_of(r.stop);
  json["stats"] = {{"prompt_tokens", r.stats.prompt_tokens},
                   {"cached_tokens", r.stats.cached_tokens},
                   {"tokens", r.stats.tokens},
                   {"prefill_tokens_per_second", r.stats.prefill_rate()},
                   {"decode_tokens_per_second", r.stats.decode_rate()},
                   {"attention_share", r.stats.attention_share()},
                   {"cache_dtype", name_of(r.cache_dtype)},
                   {"cache_bytes", r.cache.used_bytes()},
                   {"weight_bytes", r.weight_bytes},
                   {"peak_bytes", peak_bytes()}};
  // A token may be half a character: what is no UTF-8 was replaced already.
  return json.dump() + "\n";
}

std::string to_text(const GenerateReport& r) {
  char text[600];
  std::snprintf(text, sizeof text,
                "prompt   %lld tokens, %lld of them cached, %.1f tokens/s\n"
                "answer   %lld tokens, %.1f tokens/s, ended by %s\n"
                "time     %.0f %% of it in attention, %d threads\n"
                "memory   cache %.1f MB (%s), weights %.1f MB, at most %.0f MB in all\n",
                static_cast<long long>(r.stats.prompt_tokens),
                static_cast<long long>(r.stats.cached_tokens), r.stats.prefill_rate(),
                static_cast<long long>(r.stats.tokens), r.stats.decode_rate(), name_of(r.stop),
                100 * r.stats.attention_share(), r.threads,
                static_cast<double>(r.cache.used_bytes()) / 1e6, name_of(r.cache_dtype),
                static_cast<double>(r.weight_bytes) / 1e6, static_cast<double>(peak_bytes()) / 1e6);
  return text;
}

std::string read_prompt_file(const std::string& path) {
  constexpr std::size_t kMost = 64 << 20;
  std::ifstream file(path, std::ios::binary);
  if (!file)
    throw std::runtime_error(printable(path) + ": cannot be opened: " + std::strerror(errno));
  std::string text;
  char buffer[1 << 16];
  while (file.read(buffer, sizeof buffer), file.gcount() > 0) {
    text.append(buffer, static_cast<std::size_t>(file.gcount()));
    if (text.size() > kMost)
      throw std::runtime_error(printable(path) + ": is longer than 64 MiB, expected a prompt");
  }
  if (file.bad())
    throw std::runtime_error(printable(path) + ": cannot be read: " + std::strerror(errno));
  if (text.ends_with('\n')) text.pop_back();
  if (text.empty()) throw UsageError(printable(path) + " is empty, expected a prompt");
  return text;
}

}  // namespace regard::cli
