// tests/viewer/make_page.cc - HEADER.json WEIGHTS.f32 OUT.html: the page from given weights.
#include <cstdint>
#include <exception>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <vector>

#include "cli/look_html.h"

namespace {

using nlohmann::json;
using regard::cli::LookHeader;

/// The fields of `regard look --json`, and "word" of each token.
LookHeader read_header(const json& from) {
  LookHeader header;
  const json& model = from.at("model");
  header.model = {model.at("name"),         model.at("family"),     model.at("path"),
                  model.at("sha256"),       model.at("num_layers"), model.at("num_heads"),
                  model.at("num_kv_heads"), model.at("head_dim")};
  const json& engine = from.at("engine");
  header.engine = {engine.at("version"), engine.at("isa"), engine.at("dtype"),
                   engine.at("threads")};
  header.text = from.at("text");
  header.truncated = from.at("truncated");
  for (const json& token : from.at("tokens")) {
    header.tokens.push_back({.id = token.at("id"),
                             .text = token.at("text"),
                             .begin = token.at("begin"),
                             .end = token.at("end"),
                             .special = token.at("special"),
                             .word = token.at("word")});
  }
  header.layers = from.at("layers").get<std::vector<std::int64_t>>();
  header.heads = from.at("heads").get<std::vector<std::int64_t>>();
  return header;
}

void make_page(const char* header_path, const char* weights_path, const char* out_path) {
  const json from = json::parse(std::ifstream(header_path));
  const LookHeader header = read_header(from);
  std::ifstream weights(weights_path, std::ios::binary);
  std::ofstream out(out_path, std::ios::binary);
  const json start = from.value("start", json::object());
  regard::cli::HtmlSink sink(out, {.layer = start.value("layer", -1),
                                   .head = start.value("head", -1),
                                   .focus = start.value("focus", -1),
                                   .other = start.value("other", -1)});
  sink.begin(header);
  std::vector<float> layer(header.heads.size() * header.tokens.size() * header.tokens.size());
  for (const std::int64_t index : header.layers) {
    const auto num_bytes = static_cast<std::streamsize>(layer.size() * sizeof(float));
    if (!weights.read(reinterpret_cast<char*>(layer.data()), num_bytes)) {
      throw std::runtime_error("the file of weights is too short");
    }
    sink.layer(index, layer);
  }
  sink.end();
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc != 4) throw std::runtime_error("expected HEADER.json WEIGHTS.f32 OUT.html");
    make_page(argv[1], argv[2], argv[3]);
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "make_page: " << error.what() << '\n';
    return 1;
  }
}
