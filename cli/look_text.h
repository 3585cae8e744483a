// cli/look_text.h - regard look for a terminal: which words every word attends to, as bars.
#pragma once

#include <string>

#include "cli/look_sink.h"
#include "cli/terminal.h"
#include "cli/word_links.h"

namespace regard::cli {

/// Words as find_word takes them; empty: not asked for.
struct TextQuestion {
  std::string focus;     ///< only what this word attends to
  std::string from, to;  ///< only the head that links these two most
};

/// Gathers attention between words layer by layer, prints at the end.
class LookText final : public LookSink {
 public:
  LookText(const Terminal& terminal, TextQuestion question)
      : terminal_(terminal), question_(std::move(question)) {}

  /// Throws UsageError for a word that the text does not have.
  void begin(const LookHeader& header) override;
  void layer(std::int64_t layer, std::span<const float> weights) override;
  void end() override;

 private:
  Terminal terminal_;
  TextQuestion question_;
  LookHeader header_;
  WordLinks links_;
  std::size_t answer_ = 0, focus_ = 0, from_ = 0, to_ = 0;
};

}  // namespace regard::cli
