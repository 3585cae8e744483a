// src/model/in_quotes.h - a name from outside, fit for a one-line message.
#pragma once

#include <string>
#include <string_view>

#include "model/json.h"

namespace regard::model {

/// In quotation marks, controls and everything beyond ASCII escaped, cut after 80 bytes.
inline std::string in_quotes(std::string_view name) {
  const std::string kept(name.substr(0, 80));
  const std::string text = Json(kept).dump(-1, ' ', true, Json::error_handler_t::replace);
  return kept.size() == name.size() ? text : text + "...";
}

}  // namespace regard::model
