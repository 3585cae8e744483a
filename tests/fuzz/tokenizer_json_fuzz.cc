// tests/fuzz/tokenizer_json_fuzz.cc - any bytes as tokenizer.json: works, or one line says why.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>

#include "fuzz/check_tokens.h"
#include "regard/model/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  try {
    const auto tokenizer = regard::model::Tokenizer::parse(json, "fuzz");
    const bool is_bpe = regard::test::is_bpe(tokenizer);
    for (const std::string_view text :
         {"", "The bank [SEP]", "\u00C9\u0301\u4E2D \u0130<R>  a", " <R>\u0338 12\n"}) {
      regard::test::check_tokens(tokenizer, text);
      if (is_bpe) regard::test::check_decoding(tokenizer, text, false);
    }
  } catch (const std::runtime_error& error) {
    const std::string_view message = error.what();
    if (!message.starts_with("fuzz: ") || message.size() > 1000) std::abort();
    for (const char c : message) {
      if (c < 0x20 || c == 0x7F) std::abort();  // one line, and ASCII (char is signed)
    }
  }
  return 0;
}
