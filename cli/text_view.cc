// cli/text_view.cc - attention between words as lines of text that fit the terminal.
#include "cli/text_view.h"

#include <algorithm>
#include <cstdio>
#include <map>

#include "cli/unicode.h"

namespace regard::cli {
namespace {

constexpr int kPercent = 4;  // columns of "1.2%", "100%" and "<.1%"
constexpr int kLongestLabel = 16;
constexpr int kLeastBar = 4, kMostBar = 16;
constexpr int kMostCells = 5;
constexpr int kAside = 8;              // columns of "itself" and of "sinks"
constexpr std::size_t kLongText = 60;  // words: beyond it a row for each is no picture
constexpr std::size_t kMostRows = 24;  // of one word's view
constexpr std::size_t kTextLines = 6;

std::string percent(double share) {
  if (share > 0 && share < 0.0005) return "<.1%";
  char text[16];
  std::snprintf(text, sizeof text, share < 0.0995 ? "%.1f%%" : "%.0f%%", 100 * share);
  return text;
}

bool is_row(const Word& word) { return !word.sink; }

std::vector<std::size_t> rows_from(const WordLinks& links, std::size_t first) {
  std::vector<std::size_t> rows;
  for (std::size_t i = first; i < links.words().size(); ++i) {
    if (is_row(links.words()[i])) rows.push_back(i);
  }
  return rows;
}

int widest_label(const WordLinks& links, int most) {
  int widest = 0;
  for (const Word& word : links.words()) {
    if (is_row(word)) widest = std::max(widest, display_width(word.label()));
  }
  return std::clamp(widest, 4, most);
}

std::string label(const Word& word, int width, const Terminal& terminal) {
  return clip(word.label(), width, terminal.ellipsis());
}

/// Columns of every_word: label, cells of (label, bar, percent), itself, sinks.
struct Columns {
  int label = 0, cells = 1, bar = kLeastBar;
  bool asides = true;

  int cell() const { return label + 1 + bar + 1 + kPercent; }
  int itself_end() const { return label + 2 + cells * (cell() + 2) + kAside - 2; }
};

Columns fit_columns(const WordLinks& links, std::size_t num_others, int width) {
  Columns columns{.label = widest_label(links, std::clamp(width / 5, 4, kLongestLabel))};
  const int most = std::clamp(static_cast<int>(num_others), 1, kMostCells);
  for (const bool asides : {true, false}) {
    const int room = width - columns.label - 2 - (asides ? 2 * kAside - 2 : 0);
    columns.asides = asides;
    for (columns.cells = most; columns.cells >= 1; --columns.cells) {
      columns.bar = std::min(room / columns.cells - columns.label - 4 - kPercent, kMostBar);
      if (columns.bar >= kLeastBar) return columns;
    }
  }
  columns.cells = 1;
  columns.bar = std::max(columns.bar, 1);
  return columns;
}

/// Words that a row may name, the most attended first: of a generated one those of the prompt.
std::vector<std::size_t> named(const WordLinks& links, std::size_t from, std::size_t answer) {
  std::vector<std::size_t> words = links.others(from);
  if (answer > 0) std::erase_if(words, [answer](std::size_t word) { return word >= answer; });
  return words;
}

/// What stands beside them: the share of the word itself, of a generated one that of the answer.
double own_share(const WordLinks& links, std::size_t from, std::size_t answer) {
  if (answer == 0) return links.mean(from, from);
  double total = 0;
  for (std::size_t to = answer; to <= from; ++to) {
    if (!links.words()[to].sink) total += links.mean(from, to);
  }
  return total;
}

std::string word_row(const WordLinks& links, std::size_t from, std::size_t answer,
                     const Columns& columns, double scale, const Terminal& terminal) {
  Line line(terminal);
  line.add(label(links.words()[from], columns.label, terminal), Style::kBold);
  const auto others = named(links, from, answer);
  for (std::size_t i = 0; i < std::min(others.size(), static_cast<std::size_t>(columns.cells));
       ++i) {
    const int begin = columns.label + 2 + static_cast<int>(i) * (columns.cell() + 2);
    const double share = links.mean(from, others[i]);
    line.pad_to(begin).add(label(links.words()[others[i]], columns.label, terminal));
    line.pad_to(begin + columns.label + 1).add_bar(share / scale, columns.bar);
    line.add_right(percent(share), begin + columns.cell());
  }
  if (columns.asides) {
    const int end = columns.itself_end();
    line.add_right(percent(own_share(links, from, answer)), end, Style::kDim);
    line.add_right(percent(links.to_sinks(from)), end + kAside - 1, Style::kDim);
  }
  return line.str();
}

std::string table(const WordLinks& links, const std::vector<std::size_t>& rows, std::size_t answer,
                  const Terminal& terminal) {
  double scale = 0;
  std::size_t most = 0;
  for (const std::size_t from : rows) {
    const auto others = named(links, from, answer);
    if (!others.empty()) scale = std::max(scale, links.mean(from, others[0]));
    most = std::max(most, others.size());
  }
  const Columns columns = fit_columns(links, most, terminal.width);
  Line head(terminal);
  head.add("word", Style::kDim).pad_to(columns.label + 2).add("attends most to", Style::kDim);
  if (columns.asides) {
    head.add_right(answer > 0 ? "answer" : "itself", columns.itself_end(), Style::kDim);
    head.add_right("sinks", columns.itself_end() + kAside - 1, Style::kDim);
  }
  std::string text = head.str();
  for (const std::size_t from : rows)
    text += word_row(links, from, answer, columns, scale, terminal);
  return text;
}

/// The most attended word that is no neighbour, where there is one: in a long text the mean of all
/// heads shows little but neighbours.
std::size_t farther(const WordLinks& links, std::size_t from, std::size_t answer) {
  const auto others = named(links, from, answer);
  const auto is_far = [&](std::size_t to) {
    return answer > 0 || std::max(from, to) - std::min(from, to) > 2;
  };
  const auto far = std::ranges::find_if(others, is_far);
  if (far != others.end()) return *far;
  return others.empty() ? from : others.front();
}

/// One link a word, several words a line.
std::string grid(const WordLinks& links, const std::vector<std::size_t>& rows, std::size_t answer,
                 const Terminal& terminal) {
  const int width = widest_label(links, 13);
  const int cell = 2 * width + display_width(terminal.arrow()) + 3 + kPercent + 3;
  const auto cells = static_cast<std::size_t>(std::max(1, (terminal.width + 3) / cell));
  const std::string beyond = answer > 0 ? "in the prompt" : "beyond its neighbours";
  std::string text = Line(terminal)
                         .add("each word and what it attends to most " + beyond +
                                  "; --focus WORD shows all of one",
                              Style::kDim)
                         .str();
  for (std::size_t begin = 0; begin < rows.size(); begin += cells) {
    Line line(terminal);
    for (std::size_t i = 0; i < std::min(cells, rows.size() - begin); ++i) {
      const std::size_t from = rows[begin + i], to = farther(links, from, answer);
      const int start = static_cast<int>(i) * cell;
      line.pad_to(start).add_right(label(links.words()[from], width, terminal), start + width,
                                   Style::kBold);
      line.add(" ").add(terminal.arrow(), Style::kDim).add(" ");
      line.add(label(links.words()[to], width, terminal));
      line.add_right(percent(links.mean(from, to)), start + cell - 3, Style::kBar);
    }
    text += line.str();
  }
  return text;
}

/// The words that those of `rows` attend to most, as many as the line holds.
std::string most_attended(const WordLinks& links, const std::vector<std::size_t>& rows,
                          std::size_t answer, const Terminal& terminal) {
  std::vector<double> received(links.words().size());
  std::vector<std::size_t> words = rows_from(links, 0);
  if (answer > 0) std::erase_if(words, [answer](std::size_t word) { return word >= answer; });
  for (const std::size_t word : words) received[word] = links.received(word, rows);
  std::ranges::stable_sort(words, std::greater<>(),
                           [&](std::size_t word) { return received[word]; });
  Line line(terminal);
  line.add(answer > 0 ? "words of the prompt that get most: " : "words that get most: ",
           Style::kDim);
  for (std::size_t i = 0; i < std::min<std::size_t>(words.size(), 10); ++i) {
    std::string item = i == 0 ? "" : ", ";
    item += links.words()[words[i]].label();
    item += ' ';
    item += percent(received[words[i]]);
    if (!line.fits(item)) break;
    line.add(item);
  }
  return line.str();
}

/// "[SEP] 40%, [CLS] 12%, . 8%": what each kind of sink gets, the most first.
std::string list_of_sinks(const std::map<std::string, double>& shares) {
  std::vector<std::pair<std::string, double>> sorted(shares.begin(), shares.end());
  std::ranges::stable_sort(sorted, std::greater<>(), &std::pair<std::string, double>::second);
  std::string list;
  for (const auto& [name, share] : sorted) {
    if (!list.empty()) list += ", ";
    list += name;
    list += ' ';
    list += percent(share);
  }
  return list;
}

/// Punctuation is put in quotation marks, lest it read as ours.
std::string name_of_sink(const Word& word) {
  return is_punctuation(word.text) ? '"' + word.text + '"' : word.text;
}

std::string sinks_line(const WordLinks& links, const std::vector<std::size_t>& rows,
                       const Terminal& terminal) {
  std::map<std::string, double> shares;
  double total = 0;
  for (const std::size_t from : rows) {
    for (std::size_t to = 0; to < links.words().size(); ++to) {
      if (!links.words()[to].sink) continue;
      const double share = links.mean(from, to) / static_cast<double>(rows.size());
      shares[name_of_sink(links.words()[to])] += share;
      total += share;
    }
  }
  return Line(terminal)
      .add("sinks get ", Style::kDim)
      .add(percent(total), Style::kDim)
      .add(": ", Style::kDim)
      .add(list_of_sinks(shares), Style::kDim)
      .str();
}

}  // namespace

std::string text_lines(std::string_view text, const Terminal& terminal) {
  std::string rest = printable(text), result;
  for (std::size_t line = 1; !rest.empty(); ++line) {
    if (line == kTextLines) return result + Line(terminal).add(rest, Style::kBold).str();
    std::string begin = clip(rest, terminal.width, "");
    if (begin.empty()) break;  // narrower than a character
    if (begin.size() < rest.size() && rest[begin.size()] != ' ') {
      if (const auto space = begin.rfind(' '); space != std::string::npos) begin.resize(space);
    }
    if (begin.empty()) begin.assign(1, ' ');
    result += Line(terminal).add(begin, Style::kBold).str();
    rest.erase(0, std::min(rest.find_first_not_of(' ', begin.size()), rest.size()));
  }
  return result;
}

std::string every_word(const WordLinks& links, std::size_t answer, const Terminal& terminal) {
  const std::vector<std::size_t> rows = rows_from(links, answer);
  if (rows.empty()) return Line(terminal).add("no words, only punctuation").str();
  std::string text = rows.size() > kLongText ? grid(links, rows, answer, terminal)
                                             : table(links, rows, answer, terminal);
  text += '\n';
  if (rows.size() > 1) text += most_attended(links, rows, answer, terminal);
  text += sinks_line(links, rows, terminal);
  const Link best = links.strongest(answer);
  if (best.weight > 0) text += link_line(links, best, "strongest link", terminal);
  return text;
}

std::string one_word(const WordLinks& links, std::size_t from, const Terminal& terminal) {
  const auto others = links.others(from);
  const int width = widest_label(links, std::clamp(terminal.width / 3, 4, 2 * kLongestLabel));
  const int bar = std::clamp(terminal.width - width - 2 - 1 - kPercent, 1, 48);
  std::string text =
      Line(terminal).add(links.words()[from].label(), Style::kBold).add(" attends to").str();
  double rest = 0;
  for (std::size_t i = 0; i < others.size(); ++i) {
    const double share = links.mean(from, others[i]);
    if (i >= kMostRows) {
      rest += share;
      continue;
    }
    Line line(terminal);
    line.add(label(links.words()[others[i]], width, terminal)).pad_to(width + 1);
    line.add_bar(share / links.mean(from, others[0]), bar);
    text += line.add_right(percent(share), width + 1 + bar + 1 + kPercent).str();
  }
  if (others.size() > kMostRows) {
    const std::string count = std::to_string(others.size() - kMostRows);
    text += Line(terminal).add(count + " more words " + percent(rest), Style::kDim).str();
  }
  text += '\n';
  text += Line(terminal)
              .add("itself ", Style::kDim)
              .add(percent(links.mean(from, from)), Style::kDim)
              .str();
  text += sinks_line(links, {from}, terminal);
  if (!others.empty())
    text += link_line(links, links.strongest(from, others[0]), "strongest head", terminal);
  return text;
}

std::string link_line(const WordLinks& links, const Link& link, std::string_view title,
                      const Terminal& terminal) {
  Line line(terminal);
  line.add(title, Style::kDim).add(": ", Style::kDim);
  line.add(links.words()[link.from].label(), Style::kBold).add(" ").add(terminal.arrow());
  line.add(" ").add(links.words()[link.to].label(), Style::kBold).add(" ");
  line.add(percent(static_cast<double>(link.weight)), Style::kBar);
  line.add(" in layer ").add(std::to_string(link.layer));
  line.add(", head ").add(std::to_string(link.head));
  line.add("; mean ", Style::kDim).add(percent(links.mean(link.from, link.to)), Style::kDim);
  return line.str();
}

}  // namespace regard::cli
