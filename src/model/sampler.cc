// src/model/sampler.cc - which token comes next.
#include "regard/model/sampler.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <stdexcept>
#include <string>

namespace regard::model {
namespace {

void check(const char* name, double value, bool fits, const char* wanted) {
  if (fits) return;
  throw std::invalid_argument(std::string("sampling: ") + name + " is " + std::to_string(value) +
                              ", expected " + wanted);
}

}  // namespace

Sampler::Sampler(const SamplingOptions& o) : options_(o), random_(o.seed) {
  check("temperature", o.temperature, std::isfinite(o.temperature) && o.temperature >= 0,
        "a finite number, 0 or more");
  check("top_k", static_cast<double>(o.top_k), o.top_k >= 0, "0 or more");
  check("top_p", o.top_p, o.top_p > 0 && o.top_p <= 1, "above 0 and at most 1");
  check("min_p", o.min_p, o.min_p >= 0 && o.min_p <= 1, "0 to 1");
}

std::int32_t Sampler::pick(std::span<const float> logits) {
  if (logits.empty())
    throw std::invalid_argument("sampling: logits is empty, expected at least one");
  std::size_t best = 0;
  bool is_number = true;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    is_number = is_number && !std::isnan(logits[i]);
    if (logits[i] > logits[best]) best = i;
  }
  if (!is_number) throw std::invalid_argument("sampling: logits holds NaN, expected numbers");
  if (options_.temperature == 0) return static_cast<std::int32_t>(best);

  candidates_.clear();
  const double largest = logits[best];
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const double weight = std::exp((double{logits[i]} - largest) / options_.temperature);
    if (weight > 0) candidates_.push_back({weight, static_cast<std::int32_t>(i)});
  }
  if (candidates_.empty()) return static_cast<std::int32_t>(best);  // inf - inf
  const auto heavier = [](const Candidate& a, const Candidate& b) {
    return a.weight != b.weight ? a.weight > b.weight : a.id < b.id;
  };
  if (options_.top_k > 0 && options_.top_k < std::ssize(candidates_)) {
    std::nth_element(candidates_.begin(), candidates_.begin() + options_.top_k - 1,
                     candidates_.end(), heavier);
    candidates_.resize(static_cast<std::size_t>(options_.top_k));
  }
  if (options_.top_p < 1) keep_top_p(candidates_);
  // The likeliest one weighs 1 and is always kept.
  std::erase_if(candidates_, [&](const Candidate& c) { return c.weight < options_.min_p; });
  std::ranges::sort(candidates_, {}, &Candidate::id);

  double sum = 0;
  for (const Candidate& c : candidates_) sum += c.weight;
  // 53 random bits: a double in [0, 1).
  double left = static_cast<double>(random_() >> 11) * 0x1p-53 * sum;
  for (const Candidate& c : candidates_) {
    left -= c.weight;
    if (left < 0) return c.id;
  }
  return candidates_.back().id;
}

/// The likeliest first, as far as they are needed: of 50,000 candidates mostly a few.
void Sampler::keep_top_p(std::vector<Candidate>& candidates) const {
  double sum = 0;
  for (const Candidate& c : candidates) sum += c.weight;
  const auto heavier = [](const Candidate& a, const Candidate& b) {
    return a.weight != b.weight ? a.weight > b.weight : a.id < b.id;
  };
  double kept = 0;
  for (std::size_t begin = 0, end = 64; begin < candidates.size(); begin = end, end *= 8) {
    end = std::min(end, candidates.size());
    const auto first = candidates.begin() + static_cast<std::ptrdiff_t>(begin);
    const auto last = candidates.begin() + static_cast<std::ptrdiff_t>(end);
    std::partial_sort(first, last, candidates.end(), heavier);
    for (std::size_t i = begin; i < end; ++i) {
      kept += candidates[i].weight;
      if (kept >= options_.top_p * sum) return candidates.resize(i + 1);
    }
  }
}

}  // namespace regard::model
