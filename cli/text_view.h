// cli/text_view.h - attention between words as lines of text that fit the terminal.
#pragma once

#include <string>
#include <string_view>

#include "cli/terminal.h"
#include "cli/word_links.h"

namespace regard::cli {

/// The text itself, broken into lines; of a long one its beginning.
std::string text_lines(std::string_view text, const Terminal& terminal);

/// A row for each word: the words it attends to most, with bars; what itself and the sinks get
/// stands apart. Many get one link a word, in columns. Then what the sinks get, and the strongest
/// link of a single head. Where a model answered, `answer` is the first word of that: rows are the
/// answer's, what they name is the prompt's, and the answer stands apart. 0: there is none.
std::string every_word(const WordLinks& links, std::size_t answer, const Terminal& terminal);

/// One word's attention, a row for each other word, the most attended first; then itself and each
/// sink.
std::string one_word(const WordLinks& links, std::size_t from, const Terminal& terminal);

/// The head that links two words most, in one line after `title` and a colon.
std::string link_line(const WordLinks& links, const Link& link, std::string_view title,
                      const Terminal& terminal);

}  // namespace regard::cli
