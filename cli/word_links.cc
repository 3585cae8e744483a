// cli/word_links.cc - attention between words, gathered head by head.
#include "cli/word_links.h"

#include <algorithm>

namespace regard::cli {

WordLinks::WordLinks(std::vector<Word> words, bool causal)
    : words_(std::move(words)),
      sum_(words_.size() * words_.size()),
      strongest_(words_.size() * words_.size()),
      causal_(causal) {
  for (std::size_t i = 0; i < strongest_.size(); ++i) {
    strongest_[i] = {.from = i / words_.size(), .to = i % words_.size(), .weight = -1};
  }
}

void WordLinks::add(std::int64_t layer, std::int64_t head, std::span<const float> weights,
                    std::size_t num_tokens) {
  const std::vector<float> between = word_weights(words_, weights, num_tokens);
  for (std::size_t i = 0; i < between.size(); ++i) {
    sum_[i] += static_cast<double>(between[i]);
    if (between[i] <= strongest_[i].weight) continue;
    strongest_[i].layer = layer;
    strongest_[i].head = head;
    strongest_[i].weight = between[i];
  }
  ++num_added_;
}

double WordLinks::mean(std::size_t from, std::size_t to) const {
  return sum_[index(from, to)] / static_cast<double>(num_added_);
}

double WordLinks::to_sinks(std::size_t from) const {
  double total = 0;
  for (std::size_t to = 0; to < words_.size(); ++to) {
    if (words_[to].sink && to != from) total += mean(from, to);
  }
  return total;
}

double WordLinks::received(std::size_t to, std::span<const std::size_t> givers) const {
  double total = 0;
  int count = 0;
  for (const std::size_t from : givers) {
    if (from == to || !sees(from, to)) continue;
    total += mean(from, to);
    ++count;
  }
  return count == 0 ? 0 : total / count;
}

Link WordLinks::strongest(std::size_t answer) const {
  Link best;
  for (const Link& link : strongest_) {
    const std::size_t distance = std::max(link.from, link.to) - std::min(link.from, link.to);
    const bool sink = words_[link.from].sink || words_[link.to].sink;
    const bool asked = answer == 0 || (link.from >= answer && link.to < answer);
    if (asked && distance > 1 && !sink && link.weight > best.weight) best = link;
  }
  return best;
}

std::vector<std::size_t> WordLinks::others(std::size_t from) const {
  std::vector<std::size_t> others;
  for (std::size_t to = 0; to < words_.size(); ++to) {
    if (to != from && !words_[to].sink && sees(from, to)) others.push_back(to);
  }
  std::ranges::stable_sort(others, [&](std::size_t a, std::size_t b) {
    return sum_[index(from, a)] > sum_[index(from, b)];
  });
  return others;
}

}  // namespace regard::cli
