// tests/fuzz/bpe_text_fuzz.cc - any bytes as text for BPE: tokens that fit it and give it back, or
// one line that says why not.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>

#include "fuzz/check_tokens.h"
#include "regard/model/tokenizer.h"

using regard::model::Tokenizer;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::string golden = REGARD_SOURCE_DIR "/tests/golden/", folder = golden + "bpe/";
  static const auto gpt2 = Tokenizer::load(folder + "gpt2.json");
  static const auto digits = Tokenizer::load(folder + "digits.json");
  static const auto llama3 = Tokenizer::load(folder + "llama3.json");
  static const auto nfc = Tokenizer::load(folder + "nfc.json");
  static const auto prepend = Tokenizer::load(golden + "sentencepiece/prepend.json");
  static const auto first = Tokenizer::load(golden + "sentencepiece/first.json");
  static const auto gemma = Tokenizer::load(golden + "sentencepiece/gemma.json");
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  regard::model::TextStream all, parts;
  std::string whole = all.push(text), joined;
  for (std::size_t at = 0; at < size; at += 1 + at % 3)
    joined += parts.push(text.substr(at, 1 + at % 3));
  if (whole + all.finish() != joined + parts.finish()) std::abort();
  try {
    const bool no_marks = text.find("\u2581") == text.npos;  // which decode to blanks
    for (const Tokenizer* tokenizer : {&gpt2, &digits, &llama3, &nfc, &prepend, &first, &gemma}) {
      const bool changes = tokenizer == &nfc || tokenizer == &prepend || tokenizer == &first;
      regard::test::check_tokens(*tokenizer, text);
      regard::test::check_decoding(*tokenizer, text, tokenizer == &gemma ? no_marks : !changes);
    }
  } catch (const std::invalid_argument& error) {
    if (!std::string_view(error.what()).starts_with("text: byte ")) std::abort();
  }
  return 0;
}
