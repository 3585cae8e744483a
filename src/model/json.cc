// src/model/json.cc - JSON from outside, read with limits.
#include "model/json.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <set>
#include <stdexcept>
#include <vector>

namespace regard::model {

Json parse_json(std::string_view text, std::string_view name) {
  const std::string where(name);
  const auto nul = text.find('\0');
  if (nul != text.npos) {  // the parser would take it for the end
    throw std::runtime_error(where + ": not JSON: byte " + std::to_string(nul) + " is 0");
  }
  std::vector<std::set<std::string>> keys;  // of every open object
  const auto check = [&](int depth, Json::parse_event_t event, Json& parsed) {
    switch (event) {
      case Json::parse_event_t::object_start:
        keys.emplace_back();
        [[fallthrough]];
      case Json::parse_event_t::array_start:
        if (depth >= kMaxJsonDepth) {
          throw std::runtime_error(where + ": JSON is nested deeper than " +
                                   std::to_string(kMaxJsonDepth) + " levels");
        }
        break;
      case Json::parse_event_t::object_end:
        keys.pop_back();
        break;
      case Json::parse_event_t::key:
        if (const auto& key = parsed.get_ref<const std::string&>();
            !keys.back().insert(key).second) {
          throw std::runtime_error(where + ": JSON key " + in_quotes(key) + " comes twice");
        }
        break;
      default:
        break;
    }
    return true;
  };
  try {
    return Json::parse(text, check);
  } catch (const Json::exception& error) {
    std::string what = error.what();  // "[json.exception.parse_error.101] parse error at ..."
    if (const auto end = what.find("] "); end != std::string::npos) what.erase(0, end + 2);
    for (char& c : what) {  // the message shows what was read last: any bytes
      if (c < 0x20 || c > 0x7E) c = '?';
    }
    throw std::runtime_error(where + ": not JSON: " + what.substr(0, 200));
  }
}

std::string in_quotes(std::string_view text) {
  constexpr std::size_t kMaxShown = 60;
  // Cut before escaping and at a code point's first byte, so that neither an escape nor a code
  // point is halved.
  std::size_t size = std::min(text.size(), kMaxShown);
  const auto continues = [&] { return (static_cast<unsigned char>(text[size]) & 0xC0) == 0x80; };
  while (size > 0 && size < text.size() && continues()) --size;
  const Json shown(text.substr(0, size));
  return shown.dump(-1, ' ', true, Json::error_handler_t::replace) +
         (size < text.size() ? "..." : "");
}

std::string read_file(const std::string& path, std::uint64_t max_bytes) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) {
    throw std::runtime_error(path + ": " + std::strerror(errno));
  }
  if (!S_ISREG(status.st_mode)) throw std::runtime_error(path + ": not a regular file");
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size > max_bytes) {
    throw std::runtime_error(path + ": is " + std::to_string(size) + " bytes, expected at most " +
                             std::to_string(max_bytes));
  }
  std::string text(size, '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(text.data(), static_cast<std::streamsize>(size));
  if (!file || file.gcount() != static_cast<std::streamsize>(size)) {
    throw std::runtime_error(path + ": cannot be read: " + std::strerror(errno));
  }
  return text;
}

}  // namespace regard::model
