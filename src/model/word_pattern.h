// src/model/word_pattern.h - text to the words that byte-level BPE merges within: the patterns of
// GPT-2, Llama 3 and Qwen2, without a regular expression.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace regard::model {

struct WordPattern {
  enum class Kind : std::uint8_t {
    kGpt2,    ///< letters, digits or others with a blank before them
    kLlama3,  ///< digits by up to three, line breaks with what stands before them
    kQwen2,   ///< the same, digits one by one
    kNone,    ///< all of the text is one word
  };
  Kind kind = Kind::kGpt2;
  bool single_digits = false;  ///< every digit is cut out first

  /// A regular expression of a tokenizer.json, if it is one of these.
  static std::optional<Kind> find(std::string_view expression);

  /// Calls word(begin, end) for the words of valid UTF-8, bytes, ascending. Linear time.
  template <class Word>
  void for_words(std::string_view text, const Word& word) const {
    for (std::size_t begin = 0; begin < text.size();) {
      const std::size_t stop = part_end(text, begin);
      const std::string_view part = text.substr(0, stop);
      while (begin < stop) {
        const std::size_t end = word_end(part, begin);
        word(begin, end);
        begin = end;
      }
    }
  }

 private:
  /// Where the part ends that is looked at by itself: before the next digit, after a digit.
  std::size_t part_end(std::string_view text, std::size_t begin) const;
  /// The end of the word that begins at `begin` < text.size().
  std::size_t word_end(std::string_view text, std::size_t begin) const;
};

}  // namespace regard::model
