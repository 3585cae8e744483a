// src/plan/mask_text.cc - masks written as text: a parser by recursive descent.
#include "regard/mask_text.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace regard {
namespace {

constexpr int kMostNesting = 100;
constexpr std::size_t kMostShown = 72;      // characters of the text in an error
constexpr std::size_t kMostShownWord = 24;  // characters of the word that was not expected
constexpr std::string_view kSpaces = " \t\r\n\v\f";
constexpr std::string_view kAMask =
    "full, causal, window(left, right), prefix(n), strided(n), document(ids), ! or (";

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Fit for one line of ASCII, as many characters as bytes.
std::string shown(std::string_view text) {
  std::string line(text);
  for (char& c : line) {
    if (kSpaces.find(c) != std::string_view::npos) c = ' ';
    if (c < ' ' || c > '~') c = '?';
  }
  return line;
}

/// a[0] op a[1] op ...: halves of halves, so that nothing is deeper than the logarithm of what
/// came.
template <class Op>
AnyMask combined(std::vector<AnyMask> masks, Op op) {
  while (masks.size() > 1) {
    std::vector<AnyMask> pairs;
    for (std::size_t i = 0; i + 1 < masks.size(); i += 2)
      pairs.push_back(op(masks[i], masks[i + 1]));
    if (masks.size() % 2 == 1) pairs.push_back(masks.back());
    masks = std::move(pairs);
  }
  return masks.front();
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  AnyMask whole() {
    AnyMask mask = either();
    if (skip_spaces(); at_ < text_.size()) fail("&, | or the end");
    return mask;
  }

 private:
  AnyMask either() {
    std::vector<AnyMask> masks{both()};
    while (take('|')) masks.push_back(both());
    return combined(std::move(masks), [](const AnyMask& a, const AnyMask& b) { return a | b; });
  }

  AnyMask both() {
    std::vector<AnyMask> masks{one()};
    while (take('&')) masks.push_back(one());
    return combined(std::move(masks), [](const AnyMask& a, const AnyMask& b) { return a & b; });
  }

  AnyMask one() {
    skip_spaces();
    const std::size_t begin = at_;
    if (take('!')) {
      enter(begin);
      AnyMask mask = !one();
      --nesting_;
      return mask;
    }
    if (take('(')) {
      enter(begin);
      AnyMask mask = either();
      if (!take(')')) fail("&, | or )");
      --nesting_;
      return mask;
    }
    return named(word());
  }

  AnyMask named(std::string_view name) {
    if (name == "full") return FullMask{};
    if (name == "causal") return CausalMask{};
    if (name == "window") return window();
    if (name == "prefix") return PrefixMask{argument()};
    if (name == "strided") return strided();
    if (name == "document") return document();
    at_ -= name.size();
    for (const std::string_view known : {"block", "dense", "custom"}) {
      if (name != known) continue;
      const std::string held = name == "custom" ? "code" : "booleans";
      fail("a mask that its text holds; this one's " + held + " must come from C++");
    }
    fail(kAMask);
  }

  AnyMask window() {
    expect('(');
    const std::int64_t left = side();
    expect(',');
    const std::int64_t right = side();
    expect(')');
    return WindowMask{left, right};
  }
  std::int64_t side() { return take('*') ? WindowMask::kUnbounded : number("a whole number or *"); }

  AnyMask strided() {
    const std::size_t begin = at_;
    const std::int64_t stride = argument();
    if (stride >= 1) return StridedMask(stride);
    at_ = text_.find_first_of("-0123456789", begin);
    fail("a whole number of 1 or more");
  }

  AnyMask document() {
    std::vector<std::int64_t> ids;
    expect('(');
    if (take(')')) return DocumentMask({});
    do {
      ids.push_back(number(ids.empty() ? "a whole number or )" : "a whole number"));
    } while (take(','));
    if (!take(')')) fail("a comma or )");
    return DocumentMask(std::move(ids));
  }

  std::int64_t argument() {
    expect('(');
    const std::int64_t n = number("a whole number");
    expect(')');
    return n;
  }

  std::int64_t number(std::string_view expected) {
    skip_spaces();
    std::int64_t value = 0;
    const char* const begin = text_.data() + at_;
    const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), value);
    if (error == std::errc::result_out_of_range) fail("a whole number of at most 64 bits");
    if (error != std::errc{}) fail(expected);
    at_ += static_cast<std::size_t>(end - begin);
    return value;
  }

  std::string_view word() {
    const std::size_t begin = at_;
    while (at_ < text_.size() && (is_letter(text_[at_]) || (at_ > begin && is_digit(text_[at_]))))
      ++at_;
    return text_.substr(begin, at_ - begin);
  }

  void enter(std::size_t begin) {
    if (++nesting_ <= kMostNesting) return;
    at_ = begin;
    fail("at most " + std::to_string(kMostNesting) + " levels of ( and !");
  }

  bool take(char c) {
    skip_spaces();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!take(c)) fail(c == ',' ? std::string("a comma") : std::string(1, c));
  }
  void skip_spaces() { at_ = std::min(text_.find_first_not_of(kSpaces, at_), text_.size()); }

  /// What stands at the error: a word, a number, a sign.
  std::string what_came() const {
    if (at_ >= text_.size()) return "the end";
    std::size_t end = at_ + 1;
    const auto in_word = [](char c) { return is_letter(c) || is_digit(c); };
    const bool many = in_word(text_[at_]) || text_[at_] == '-';
    while (many && end < text_.size() && in_word(text_[end])) ++end;
    const bool long_word = end - at_ > kMostShownWord;
    const std::string word = shown(text_.substr(at_, std::min(end - at_, kMostShownWord)));
    return "\"" + word + (long_word ? "..." : "") + "\"";
  }

  [[noreturn]] void fail(std::string_view expected) {
    skip_spaces();
    // A part of a long text: what leads to the column, and a little of what follows.
    const std::size_t begin = at_ < kMostShown / 2 ? 0 : at_ - kMostShown / 2;
    const std::string line = shown(text_.substr(begin, kMostShown));
    throw std::invalid_argument("mask: column " + std::to_string(at_ + 1) + ": expected " +
                                std::string(expected) + ", came " + what_came() + "\n  " + line +
                                "\n  " + std::string(at_ - begin, ' ') + "^");
  }

  std::string_view text_;
  std::size_t at_ = 0;
  int nesting_ = 0;
};

}  // namespace

AnyMask parse_mask(std::string_view text) { return Parser(text).whole(); }

}  // namespace regard
