// tests/model/golden_bert.h - reads what tests/golden/make_bert_golden.py wrote.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace regard::model::testing {

inline std::filesystem::path golden_folder() {
  return std::filesystem::path(REGARD_SOURCE_DIR) / "tests" / "golden";
}

inline nlohmann::json read_golden_json(const std::filesystem::path& path) {
  std::ifstream file(path);
  return nlohmann::json::parse(file);
}

/// Rows of transformers' float64 model for one text.
struct GoldenText {
  struct WeightRow {
    std::array<std::int64_t, 3> place;  // layer, head, query
    std::vector<double> values;
  };
  struct HiddenRow {
    std::int64_t token;
    std::vector<double> values;
  };
  std::string text;
  std::vector<std::int32_t> ids;
  /// Largest error of its float32 model, over all elements of this text.
  double weight_error_f32 = 0;
  double hidden_error_f32 = 0;
  std::vector<WeightRow> weight_rows;
  std::vector<HiddenRow> hidden_rows;
};

inline std::vector<GoldenText> read_golden_bert(std::int64_t hidden_size) {
  const nlohmann::json json = read_golden_json(golden_folder() / "bert_minilm.json");
  std::ifstream values(golden_folder() / "bert_minilm.f64", std::ios::binary);
  const auto row = [&](std::size_t size) {
    std::vector<double> numbers(size);
    values.read(reinterpret_cast<char*>(numbers.data()),
                static_cast<std::streamsize>(size * sizeof(double)));
    if (!values) throw std::runtime_error("bert_minilm.f64 is too short");
    return numbers;
  };
  std::vector<GoldenText> texts;
  for (const auto& entry : json.at("texts")) {
    GoldenText text{.text = entry.at("text"),
                    .ids = entry.at("ids"),
                    .weight_error_f32 = entry.at("weight_error_f32"),
                    .hidden_error_f32 = entry.at("hidden_error_f32"),
                    .weight_rows = {},
                    .hidden_rows = {}};
    for (const auto& place : entry.at("weight_rows"))
      text.weight_rows.push_back({place, row(text.ids.size())});
    for (const auto& token : entry.at("hidden_rows")) {
      text.hidden_rows.push_back({token, row(static_cast<std::size_t>(hidden_size))});
    }
    texts.push_back(std::move(text));
  }
  if (values.peek() != std::ifstream::traits_type::eof())
    throw std::runtime_error("bert_minilm.f64 is too long");
  return texts;
}

}  // namespace regard::model::testing
