// cli/look_html.cc - header as JSON and weights as base64 between the halves of the page.
#include "cli/look_html.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "cli/look_page.h"

namespace regard::cli {
namespace {

using Json = nlohmann::ordered_json;

/// Base64 of a stream of bytes; the caller's pieces need not be multiples of three.
class Base64 {
 public:
  explicit Base64(std::ostream& out) : out_(out) {}

  void write(std::span<const std::uint8_t> bytes) {
    for (const std::uint8_t byte : bytes) {
      group_ = (group_ << 8) | byte;
      if (++held_ == 3) flush();
    }
  }

  void finish() {
    if (held_ > 0) {
      const int missing = 3 - held_;
      group_ <<= 8 * missing;
      flush();
      text_.replace(text_.size() - static_cast<std::size_t>(missing),
                    static_cast<std::size_t>(missing), static_cast<std::size_t>(missing), '=');
    }
    out_ << text_;
    text_.clear();
  }

 private:
  void flush() {
    static constexpr std::string_view kLetters =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int shift = 18; shift >= 0; shift -= 6) text_ += kLetters[(group_ >> shift) & 63];
    group_ = 0;
    held_ = 0;
    if (text_.size() >= 1 << 16) {
      out_ << text_;
      text_.clear();
    }
  }

  std::ostream& out_;
  std::string text_;
  std::uint32_t group_ = 0;
  int held_ = 0;
};

/// JSON that may stand in a script element: ASCII only (so no U+2028), and no "<" that could end
/// the element.
std::string json_for_script(const Json& json) {
  std::string text;
  for (const char letter : json.dump(-1, ' ', true, Json::error_handler_t::replace)) {
    if (letter == '<') {
      text += "\\u003c";
    } else {
      text += letter;
    }
  }
  return text;
}

Json tokens_json(const std::vector<model::Token>& tokens) {
  Json list = Json::array();
  for (const model::Token& token : tokens) {
    list.push_back({{"text", token.text},
                    {"id", token.id},
                    {"begin", token.begin},
                    {"end", token.end},
                    {"special", token.special},
                    {"word", token.word}});
  }
  return list;
}

/// The part of the address that selects what the page opens with; the page reads its own address
/// the same way.
std::string start_text(const PageStart& start) {
  std::string text;
  const auto add = [&text](std::string_view name, std::int64_t value) {
    if (value >= 0)
      text.append(text.empty() ? "" : "&").append(name).append("=").append(std::to_string(value));
  };
  add("layer", start.layer);
  add("head", start.head);
  add("focus", start.focus);
  add("other", start.other);
  return text;
}

Json header_json(const LookHeader& header, int bits, const PageStart& start) {
  const auto& [name, family, path, sha256, num_layers, num_heads, num_kv_heads, head_dim] =
      header.model;
  const auto& [version, isa, dtype, threads] = header.engine;
  Json json;
  json["schema"] = "regard.look-page/1";
  json["model"] = {{"name", name},
                   {"family", family},
                   {"path", path},
                   {"sha256", sha256},
                   {"num_layers", num_layers},
                   {"num_heads", num_heads},
                   {"num_kv_heads", num_kv_heads},
                   {"head_dim", head_dim}};
  json["engine"] = {{"version", version}, {"isa", isa}, {"dtype", dtype}, {"threads", threads}};
  json["text"] = header.text;
  json["truncated"] = header.truncated;
  json["causal"] = header.causal;
  if (header.prompt_tokens) json["prompt_tokens"] = *header.prompt_tokens;
  json["tokens"] = tokens_json(header.tokens);
  json["layers"] = header.layers;
  json["heads"] = header.heads;
  json["weights"] = {{"bits", bits},
                     {"scale", "largest of the row * (code / (2^bits - 1))^2"},
                     {"max_error", "largest of the row / (2^bits - 1)"}};
  json["start"] = start_text(start);
  return json;
}

/// One row: its largest weight as float32, then a code per weight; all little-endian.
void append_row(std::span<const float> row, int bits, std::vector<std::uint8_t>& bytes) {
  float largest = 0;
  for (const float weight : row) {
    if (!(weight >= 0) || std::isinf(weight)) {
      throw std::runtime_error("look --html: a weight is " + std::to_string(weight) +
                               ", expected a number from 0 to 1");
    }
    largest = std::max(largest, weight);
  }
  const auto put = [&bytes](std::uint32_t value, int num_bytes) {
    for (int i = 0; i < num_bytes; ++i)
      bytes.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
  };
  put(std::bit_cast<std::uint32_t>(largest), 4);
  const double top = std::ldexp(1.0, bits) - 1;
  for (const float weight : row) {
    const double share =
        largest > 0 ? static_cast<double>(weight) / static_cast<double>(largest) : 0;
    put(static_cast<std::uint32_t>(std::lround(top * std::sqrt(share))), bits / 8);
  }
}

}  // namespace

int page_bits(std::int64_t count) {
  // 16 bits take 8/3 letters each in base64: 4.5 million weights are 12 MB of page. 512 tokens in
  // 72 heads are 18.9 million weights: 25 MB at 8 bits.
  return count <= 4'500'000 ? 16 : 8;
}

HtmlSink::HtmlSink(std::ostream& out, PageStart start) : out_(out), start_(start) {}

void HtmlSink::begin(const LookHeader& header) {
  num_tokens_ = header.tokens.size();
  const std::size_t maps = header.layers.size() * header.heads.size();
  bits_ = page_bits(static_cast<std::int64_t>(maps * num_tokens_ * num_tokens_));
  out_ << kPageHead << "<script type=\"application/json\" id=\"data\">"
       << json_for_script(header_json(header, bits_, start_)) << "</script>\n";
}

void HtmlSink::layer(std::int64_t /*layer*/, std::span<const float> weights) {
  out_ << "<script type=\"text/plain\" id=\"weights-" << layers_written_++ << "\">";
  Base64 base64(out_);
  std::vector<std::uint8_t> bytes;
  for (std::size_t row = 0; row < weights.size(); row += num_tokens_) {
    bytes.clear();
    append_row(weights.subspan(row, num_tokens_), bits_, bytes);
    base64.write(bytes);
  }
  base64.finish();
  out_ << "</script>\n";
  if (!out_) throw std::runtime_error("look --html: writing the page failed");
}

void HtmlSink::end() {
  out_ << kPageTail << std::flush;
  if (!out_) throw std::runtime_error("look --html: writing the page failed");
}

}  // namespace regard::cli
