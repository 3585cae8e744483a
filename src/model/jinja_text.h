// src/model/jinja_text.h - a Jinja template as text to search: written one way, whoever wrote it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace regard::model {

struct JinjaText {
  /// No comments, no whitespace outside of literals and text, '...' for "...", message['role'] for
  /// message.role, escapes resolved, no marks that trim whitespace.
  std::string code;
  std::vector<std::string> literals;  ///< what stands in quotes, and the text outside of blocks

  bool has(std::string_view part) const { return code.find(part) != std::string::npos; }
};

JinjaText read_jinja(std::string_view jinja);

}  // namespace regard::model
