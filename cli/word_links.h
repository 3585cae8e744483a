// cli/word_links.h - attention between words, gathered head by head.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cli/words.h"

namespace regard::cli {

/// One word's share of another's attention in one head.
struct Link {
  std::size_t from = 0, to = 0;
  std::int64_t layer = 0, head = 0;
  float weight = 0;
};

/// Memory grows with the square of the number of words, not with layers or heads.
class WordLinks {
 public:
  WordLinks() = default;  ///< of no words
  /// causal: a word sees itself and those before it.
  explicit WordLinks(std::vector<Word> words, bool causal = false);

  /// weights (T, T) between the tokens of the text, of one head.
  void add(std::int64_t layer, std::int64_t head, std::span<const float> weights,
           std::size_t num_tokens);

  const std::vector<Word>& words() const { return words_; }
  /// Mean over the heads added. Over `to` it sums to 1.
  double mean(std::size_t from, std::size_t to) const;
  /// Mean share that sinks get from a word, itself not counted.
  double to_sinks(std::size_t from) const;
  /// The head in which `from` attends most to `to`; of equal ones the first that was added.
  Link strongest(std::size_t from, std::size_t to) const { return strongest_[index(from, to)]; }
  /// The strongest link between two words that are no sinks and do not stand side by side (some
  /// heads only look at the next word, in any text); if `answer` > 0, of those from one of the
  /// words from there on to one before. Weight 0 when there is none.
  Link strongest(std::size_t answer = 0) const;
  /// Mean share that a word gets from those of `givers` that can see it, itself not counted.
  double received(std::size_t to, std::span<const std::size_t> givers) const;
  /// Words that `from` can see, neither itself nor sinks, the most attended first.
  std::vector<std::size_t> others(std::size_t from) const;

 private:
  bool sees(std::size_t from, std::size_t to) const { return !causal_ || to <= from; }
  std::size_t index(std::size_t from, std::size_t to) const { return from * words_.size() + to; }

  std::vector<Word> words_;
  std::vector<double> sum_;      // (W, W)
  std::vector<Link> strongest_;  // (W, W)
  std::int64_t num_added_ = 0;
  bool causal_ = false;
};

}  // namespace regard::cli
