// src/model/added_tokens.cc - tokens found in text before the model sees it: [SEP] and the like.
#include "model/added_tokens.h"

#include <algorithm>
#include <utility>

#include "model/unicode.h"

namespace regard::model {
namespace {

bool has_flag(char32_t c, CodePointFlag flag) { return (code_point_flags(c) & flag) != 0; }

bool touches_word(std::string_view text, std::size_t begin, std::size_t end) {
  return (begin > 0 && has_flag(previous_code_point(text, begin), kWord)) ||
         (end < text.size() && has_flag(next_code_point(text, end), kWord));
}

std::size_t before_whitespace(std::string_view text, std::size_t end, std::size_t stop) {
  while (end > stop) {
    std::size_t begin = end;
    if (!has_flag(previous_code_point(text, begin), kWhitespace)) break;
    end = begin;
  }
  return end;
}

std::size_t after_whitespace(std::string_view text, std::size_t begin) {
  while (begin < text.size()) {
    std::size_t end = begin;
    if (!has_flag(next_code_point(text, end), kWhitespace)) break;
    begin = end;
  }
  return begin;
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens, const std::vector<std::string>& patterns)
    : tokens_(std::move(tokens)) {
  std::vector<PieceTable::Entry> entries;
  for (std::size_t i = 0; i < patterns.size(); ++i) {
    entries.push_back({patterns[i], static_cast<std::int32_t>(i)});
    begins_[static_cast<unsigned char>(patterns[i].front())] = true;
  }
  patterns_ = PieceTable(std::move(entries));
}

AddedTokens::Part AddedTokens::next_match(std::string_view text, std::size_t at) const {
  for (; at < text.size(); ++at) {
    if (!begins_[static_cast<unsigned char>(text[at])]) continue;
    if (const auto match = patterns_.longest_prefix(text.substr(at))) {
      return {at, at + match->size, &tokens_[static_cast<std::size_t>(match->value)]};
    }
  }
  return {text.size(), text.size(), nullptr};
}

std::vector<AddedTokens::Part> AddedTokens::split(std::string_view text, bool parse_special) const {
  std::vector<Part> parts;
  std::size_t done = 0;  // end of the last token, its white space included
  for (Part match = next_match(text, 0); match.token != nullptr;) {
    auto [begin, end, token] = match;
    match = next_match(text, end);
    if (token->special && !parse_special) continue;
    if (token->single_word && touches_word(text, begin, end)) continue;
    if (token->lstrip) begin = before_whitespace(text, begin, done);
    if (token->rstrip) end = after_whitespace(text, end);
    if (done < begin) parts.push_back({done, begin, nullptr});
    parts.push_back({begin, end, token});
    done = end;
  }
  if (done < text.size()) parts.push_back({done, text.size(), nullptr});
  return parts;
}

}  // namespace regard::model
