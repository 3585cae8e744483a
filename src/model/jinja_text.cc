// src/model/jinja_text.cc - a Jinja template as text to search.
#include "model/jinja_text.h"

#include <algorithm>
#include <utility>

namespace regard::model {
namespace {

constexpr std::string_view kSpaces = " \t\r\n\v\f";

/// Reads on from the beginning of a template.
class Reader {
 public:
  explicit Reader(std::string_view jinja) : rest_(jinja) {}

  JinjaText read() {
    while (!rest_.empty()) {
      if (rest_.starts_with("{#"))
        rest_.remove_prefix(std::min(rest_.size(), rest_.find("#}", 2)));
      else if (rest_.starts_with("{{") || rest_.starts_with("{%"))
        block();
      else
        text();
    }
    return std::move(out_);
  }

 private:
  /// Text up to the next block; what only sets blocks apart is left out.
  void text() {
    if (rest_.starts_with("#}")) rest_.remove_prefix(2);
    const std::string_view text = rest_.substr(0, std::min(rest_.find("{{"), rest_.find("{%")));
    const std::string_view shown = text.substr(0, text.find("{#"));
    rest_.remove_prefix(shown.size());
    if (shown.find_first_not_of(kSpaces) == std::string_view::npos) return;
    out_.code += shown;
    out_.literals.emplace_back(shown);
  }
  void block() {
    const std::string_view end = rest_[1] == '{' ? "}}" : "%}";
    out_.code += rest_.substr(0, 2);
    rest_.remove_prefix(2);
    if (rest_.starts_with('-') || rest_.starts_with('+')) rest_.remove_prefix(1);
    while (!rest_.empty() && !rest_.starts_with(end)) {
      const char c = rest_[0];
      if (c == '\'' || c == '"') {
        literal();
        continue;
      }
      rest_.remove_prefix(1);
      const bool mark = c == '-' && rest_.starts_with(end);
      if (!mark && kSpaces.find(c) == std::string_view::npos) out_.code += c;
    }
    out_.code += end;
    rest_.remove_prefix(std::min(rest_.size(), end.size()));
  }
  void literal() {
    const char quote = rest_[0];
    std::string value;
    std::size_t at = 1;
    for (; at < rest_.size() && rest_[at] != quote; ++at) {
      if (rest_[at] == '\\' && at + 1 < rest_.size())
        value += escaped(rest_[++at]);
      else
        value += rest_[at];
    }
    rest_.remove_prefix(std::min(rest_.size(), at + 1));
    out_.code += "'" + value + "'";
    out_.literals.push_back(std::move(value));
  }
  static std::string escaped(char c) {
    if (c == 'n') return "\n";
    if (c == 't') return "\t";
    if (c == '\\' || c == '\'' || c == '"') return {c};
    return {'\\', c};
  }

  std::string_view rest_;
  JinjaText out_;
};

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = text.find(from); at != std::string::npos;
       at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
}

}  // namespace

JinjaText read_jinja(std::string_view jinja) {
  JinjaText text = Reader(jinja).read();
  replace_all(text.code, "message.role", "message['role']");
  replace_all(text.code, "message.content", "message['content']");
  return text;
}

}  // namespace regard::model
