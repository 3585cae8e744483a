// tests/support/simulated_engine.cc - a slow engine that rounds where the contract says.
#include "support/simulated_engine.h"

#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

namespace regard::test {
namespace {

constexpr std::int64_t kChunk = 256;
constexpr float kNothing = -std::numeric_limits<float>::infinity();

float round_to_bf16(float x) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  return std::bit_cast<float>((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000U);
}

// The state of a range of chunks: its maximum, sum of weights, weighted values.
struct State {
  float max = kNothing;
  float sum = 0;
  std::vector<float> out;
  int level = 0;  // log2 of the chunks in it, as in a binary counter
};

class RowSimulator {
 public:
  RowSimulator(const SimulatedEngine& engine, const Problem& problem, std::int64_t b,
               std::int64_t h, std::int64_t i)
      : engine_(engine),
        problem_(problem),
        rng_(engine.seed),
        b_(b),
        h_(h),
        i_(i),
        g_(h / (problem.shape.num_heads / problem.shape.num_kv_heads)) {
    kv_len_ = problem.kv_lens.empty() ? problem.shape.kv_len
                                      : problem.kv_lens[static_cast<std::size_t>(b)];
    position_ = problem.q_offset.value_or(0) + i;
    const float exact = static_cast<float>(1 / std::sqrt(static_cast<double>(dim())));
    scale_ = problem.scale.value_or(exact);
    if (kv_len_ > 1) {
      victim_ = rng_.integer(0, kv_len_ - 1);
      if (engine.fault == Fault::kDropKey || engine.fault == Fault::kZeroKeyRow ||
          engine.fault == Fault::kShortDot || engine.fault == Fault::kSwapValues) {
        while (!problem_.mask.mask.allows(position_, victim_)) victim_ = (victim_ + 1) % kv_len_;
      }
    }
  }

  void run(const Result& result) {
    std::vector<State> pending;  // as the bits of a counter: sizes strictly fall
    for (std::int64_t begin = 0; begin < kv_len_; begin += kChunk) {
      pending.push_back(chunk(begin));
      while (pending.size() > 1 && pending.back().level == pending[pending.size() - 2].level) {
        merge_last(pending, begin + kChunk >= kv_len_);
      }
    }
    while (pending.size() > 1) merge_last(pending, true);
    write(pending.empty() ? State{} : pending.front(), result);
  }

 private:
  std::int64_t dim() const { return problem_.shape.head_dim; }
  float multiply_add(float a, float b, float c) const {
    return engine_.fma ? std::fma(a, b, c) : a * b + c;
  }

  float exp(float x) {
    double y = std::exp(static_cast<double>(x));
    if (y < 0x1p-126) return 0;
    if (engine_.fault == Fault::kExpOff) y *= 1 + rng_.pick({-0x1p-12, 0x1p-12});
    float result = static_cast<float>(y);
    if (engine_.exp_ulps == 0 || x == 0) return result;
    const float towards = rng_.chance(0.5) ? 0.0F : std::numeric_limits<float>::infinity();
    // one ulp less than allowed, because rounding y took up to half of one
    for (int n = 1; n < engine_.exp_ulps; ++n) result = std::nextafter(result, towards);
    return result;
  }

  bool visible(std::int64_t j) const {
    switch (engine_.fault) {
      case Fault::kDropKey:
        return j != victim_ && problem_.mask.mask.allows(position_, j);
      case Fault::kSkipTail:
        return j < kv_len_ / 16 * 16 && problem_.mask.mask.allows(position_, j);
      case Fault::kExtraKey:
        return problem_.mask.mask.allows(position_ + 1, j);
      case Fault::kMissingKey:
        return problem_.mask.mask.allows(position_ - 1, j);
      default:
        return problem_.mask.mask.allows(position_, j);
    }
  }

  float score(std::int64_t j) const {
    const bool is_victim = j == victim_;
    if (engine_.fault == Fault::kZeroKeyRow && is_victim) return 0;
    const std::int64_t last = engine_.fault == Fault::kShortDot && is_victim ? dim() - 1 : dim();
    const bool scaled = engine_.fault == Fault::kQueryBf16;
    float dot = 0;
    for (std::int64_t d = 0; d < last; ++d) {
      const float q = problem_.query.view()(b_, h_, i_, d);
      dot = multiply_add(scaled ? round_to_bf16(scale_ * q) : q, problem_.key.view()(b_, g_, j, d),
                         dot);
    }
    return scaled ? dot : scale_ * dot;
  }

  float value(std::int64_t j, std::int64_t e) const {
    if (engine_.fault == Fault::kSwapValues) {
      const std::int64_t other = (victim_ + 1) % kv_len_;
      j = j == victim_ ? other : j == other ? victim_ : j;
    }
    return problem_.value.view()(b_, g_, j, e);
  }

  State chunk(std::int64_t begin) {
    State state;
    state.out.assign(static_cast<std::size_t>(problem_.shape.value_dim), 0);
    const std::int64_t end = std::min(begin + kChunk, kv_len_);
    std::vector<float> scores(kChunk, kNothing);
    for (std::int64_t j = begin; j < end; ++j) {
      if (!visible(j)) continue;
      scores[static_cast<std::size_t>(j - begin)] = score(j);
      state.max = std::max(state.max, scores[static_cast<std::size_t>(j - begin)]);
    }
    if (state.max == kNothing) return state;
    std::array<float, 16> lanes{};
    for (std::int64_t j = begin; j < end; ++j) {
      const float s = scores[static_cast<std::size_t>(j - begin)];
      if (s == kNothing) continue;
      float w = exp(s - state.max);
      lanes[static_cast<std::size_t>(j % 16)] += w;
      if (engine_.fault == Fault::kWeightsBf16) w = round_to_bf16(w);
      for (std::size_t e = 0; e < state.out.size(); ++e) {
        state.out[e] = multiply_add(w, value(j, static_cast<std::int64_t>(e)), state.out[e]);
      }
    }
    if (engine_.fault == Fault::kLostLane) lanes[static_cast<std::size_t>(victim_ % 16)] = 0;
    for (std::size_t step = 8; step > 0; step /= 2) {
      for (std::size_t n = 0; n < step; ++n) lanes[n] += lanes[n + step];
    }
    state.sum = lanes[0];
    return state;
  }

  void merge_last(std::vector<State>& pending, bool last) {
    const State b = std::move(pending.back());
    pending.pop_back();
    State& a = pending.back();
    const float max = std::max(a.max, b.max);
    const float from_a = a.max == kNothing ? 0 : exp(a.max - max);
    float from_b = b.max == kNothing ? 0 : exp(b.max - max);
    if (engine_.fault == Fault::kNoRescale && last) from_b = 1;
    a.sum = multiply_add(b.sum, from_b, a.sum * from_a);
    for (std::size_t e = 0; e < a.out.size(); ++e) {
      a.out[e] = multiply_add(b.out[e], from_b, a.out[e] * from_a);
    }
    a.max = max;
    ++a.level;
  }

  void write(const State& state, const Result& result) const {
    const bool empty = state.max == kNothing;
    for (std::int64_t e = 0; e < problem_.shape.value_dim; ++e) {
      const std::size_t n = static_cast<std::size_t>(e);
      result.out.view()(b_, h_, i_, e) = empty ? 0 : state.out[n] * (1 / state.sum);
    }
    const float log = empty ? 0 : std::log(state.sum);
    const float lse = empty ? kNothing : state.max + log;
    const float base = engine_.fault == Fault::kLseBase2 ? 1.44269504F : 1.0F;
    result.lse.view()(b_, h_, i_) = base * lse;
  }

  const SimulatedEngine& engine_;
  const Problem& problem_;
  Rng rng_;
  std::int64_t b_, h_, i_, g_;
  std::int64_t kv_len_ = 0, position_ = 0, victim_ = 0;
  float scale_ = 0;
};

}  // namespace

Result simulate(const SimulatedEngine& engine, const Problem& problem) {
  const auto& s = problem.shape;
  Result result{Tensor<4>({s.batch, s.num_heads, s.q_len, s.value_dim}),
                Tensor<3>({s.batch, s.num_heads, s.q_len})};
  for (std::int64_t b = 0; b < s.batch; ++b) {
    for (std::int64_t h = 0; h < s.num_heads; ++h) {
      for (std::int64_t i = 0; i < s.q_len; ++i) {
        RowSimulator(engine, problem, b, h, i).run(result);
      }
    }
  }
  return result;
}

}  // namespace regard::test
