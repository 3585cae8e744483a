// tests/fuzz/text_fuzz.cc - any bytes as text: tokens that fit it, or one line that says why not.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string_view>

#include "fuzz/check_tokens.h"
#include "regard/model/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto tokenizer =
      regard::model::Tokenizer::load(REGARD_SOURCE_DIR "/tests/golden/tokenizer/tiny.json");
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    regard::test::check_tokens(tokenizer, text);
  } catch (const std::invalid_argument& error) {
    if (!std::string_view(error.what()).starts_with("text: byte ")) std::abort();
  }
  return 0;
}
