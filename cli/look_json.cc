// cli/look_json.cc - regard look --json: schema regard.look/1, written as the model runs.
#include "cli/look_json.h"

#include <charconv>
#include <nlohmann/json.hpp>

namespace regard::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kSignificantDigits = 9;  // what tells any two floats apart

std::string dump(const Json& json) {  // a path may hold bytes that are no UTF-8
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json describe(const model::Token& token) {
  return {{"text", token.text},
          {"id", token.id},
          {"begin", token.begin},
          {"end", token.end},
          {"special", token.special}};
}

void append_row(std::string& line, std::span<const float> row) {
  char digits[32];
  line += '[';
  for (const float& weight : row) {
    if (&weight != row.data()) line += ',';
    const auto result = std::to_chars(digits, digits + sizeof digits, weight,
                                      std::chars_format::general, kSignificantDigits);
    line.append(digits, result.ptr);
  }
  line += ']';
}

}  // namespace

void LookJson::begin(const LookHeader& header) {
  num_tokens_ = header.tokens.size();
  const auto& model = header.model;
  const auto& engine = header.engine;
  output_.write("{\"schema\": \"regard.look/1\",\n\"model\": ");
  output_.write(dump({{"name", model.name},
                      {"family", model.family},
                      {"path", model.path},
                      {"sha256", model.sha256},
                      {"num_layers", model.num_layers},
                      {"num_heads", model.num_heads},
                      {"num_kv_heads", model.num_kv_heads},
                      {"head_dim", model.head_dim}}));
  output_.write(",\n\"engine\": ");
  output_.write(dump({{"version", engine.version},
                      {"isa", engine.isa},
                      {"dtype", engine.dtype},
                      {"threads", engine.threads}}));
  output_.write(",\n\"text\": " + dump(header.text) + ",\n\"truncated\": ");
  output_.write(header.truncated ? "true" : "false");
  output_.write(header.causal ? ",\n\"causal\": true" : ",\n\"causal\": false");
  if (header.prompt_tokens)
    output_.write(",\n\"prompt_tokens\": " + std::to_string(*header.prompt_tokens));
  output_.write(",\n\"tokens\": [");
  for (std::size_t i = 0; i < header.tokens.size(); ++i) {
    output_.write((i == 0 ? "\n" : ",\n") + dump(describe(header.tokens[i])));
  }
  output_.write("],\n\"layers\": " + dump(header.layers) + ",\n\"heads\": " + dump(header.heads));
  output_.write(",\n\"attention\": [");
}

void LookJson::layer(std::int64_t /*layer*/, std::span<const float> weights) {
  output_.write(first_layer_ ? "[" : ",\n[");
  first_layer_ = false;
  std::string line;
  for (std::size_t row = 0; row * num_tokens_ < weights.size(); ++row) {
    const bool first_of_head = row % num_tokens_ == 0;
    line = first_of_head ? (row == 0 ? "\n[" : "],\n[") : ",\n";
    append_row(line, weights.subspan(row * num_tokens_, num_tokens_));
    output_.write(line);
  }
  output_.write("]]");
}

void LookJson::end() {
  output_.write("]}\n");
  output_.commit();
}

}  // namespace regard::cli
