// tests/support/simulated_engine.cc - a slow engine that rounds where the contract says.
#include "support/simulated_engine.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "support/simulated_arithmetic.h"
#include "support/simulated_scores.h"

namespace regard::test {
namespace {

constexpr std::int64_t kChunk = 256;
constexpr float kNothing = -std::numeric_limits<float>::infinity();

// The state of a range of chunks: its maximum, sum of weights, weighted values.
struct State {
  float max = kNothing;
  float sum = 0;
  std::vector<float> out;
  int level = 0;  // log2 of the chunks in it, as in a binary counter
};

// Where the rows of a sequence lie.
struct Sequence {
  std::int64_t index, batch, q_begin, q_end, kv_begin, kv_len, q_offset;
};

// The tensors widened to float32, row-major.
struct Inputs {
  explicit Inputs(const Problem& p)
      : query(p.query.values()), key(p.key.values()), value(p.value.values()) {}
  std::vector<float> query, key, value;
};

class RowSimulator {
 public:
  RowSimulator(const SimulatedEngine& engine, const Problem& problem, const Inputs& inputs,
               const Sequence& sequence, std::int64_t h, std::int64_t i)
      : engine_(engine),
        problem_(problem),
        inputs_(inputs),
        math_{engine.fma, engine.exp_ulps, Rng(engine.seed)},
        sequence_(sequence),
        mask_(problem.mask.mask.at(sequence.index, h)),
        h_(h),
        i_(i),
        group_(problem.shape.num_heads / problem.shape.num_kv_heads),
        position_(sequence.q_offset + i - sequence.q_begin) {
    const float exact = static_cast<float>(1 / std::sqrt(static_cast<double>(dim())));
    scale_ = problem.scale.value_or(exact);
    if (kv_len() > 1) {
      victim_ = math_.rng.integer(0, kv_len() - 1);
      if (engine.fault == Fault::kDropKey || engine.fault == Fault::kZeroKeyRow ||
          engine.fault == Fault::kShortDot || engine.fault == Fault::kSwapValues) {
        while (!mask_.allows(position_, victim_)) victim_ = (victim_ + 1) % kv_len();
      }
    }
  }

  void run(const Result& result) {
    std::vector<State> pending;  // as the bits of a counter: sizes strictly fall
    for (std::int64_t begin = 0; begin < kv_len(); begin += kChunk) {
      pending.push_back(chunk(begin));
      while (pending.size() > 1 && pending.back().level == pending[pending.size() - 2].level) {
        merge_last(pending, begin + kChunk >= kv_len());
      }
    }
    while (pending.size() > 1) merge_last(pending, true);
    if (pending.empty()) pending.push_back(nothing());
    if (!problem_.sinks.empty()) {
      for (int n = engine_.fault == Fault::kSinkTwice ? 2 : 1; n > 0; --n) {
        pending.push_back(nothing());
        pending.back().max = problem_.sinks[static_cast<std::size_t>(h_)];
        pending.back().sum = 1;
        merge_last(pending, false);
      }
    }
    write(pending.front(), result);
  }

 private:
  std::int64_t dim() const { return problem_.shape.head_dim; }
  std::int64_t kv_len() const { return sequence_.kv_len; }
  State nothing() const {
    State state;
    state.out.assign(static_cast<std::size_t>(problem_.shape.value_dim), 0);
    return state;
  }

  float exp(float x) {
    if (engine_.fault != Fault::kExpOff) return math_.exp(x);
    const double y = std::exp(static_cast<double>(x)) * (1 + math_.rng.pick({-0x1p-12, 0x1p-12}));
    return static_cast<float>(y);
  }

  bool visible(std::int64_t j) const {
    switch (engine_.fault) {
      case Fault::kDropKey:
        return j != victim_ && mask_.allows(position_, j);
      case Fault::kSkipTail:
        return j < kv_len() / 16 * 16 && mask_.allows(position_, j);
      case Fault::kExtraKey:
        return mask_.allows(position_ + 1, j);
      case Fault::kMissingKey:
        return mask_.allows(position_ - 1, j);
      default:
        return mask_.allows(position_, j);
    }
  }

  // Rows of the tensors.
  const float* query_row() const {
    const auto& s = problem_.shape;
    return &inputs_.query[static_cast<std::size_t>(
        ((sequence_.batch * s.num_heads + h_) * s.q_len + i_) * dim())];
  }
  const float* kv_row(const std::vector<float>& tensor, std::int64_t j, std::int64_t width) const {
    const auto& s = problem_.shape;
    const std::int64_t head = sequence_.batch * s.num_kv_heads + h_ / group_;
    return &tensor[static_cast<std::size_t>((head * s.kv_len + sequence_.kv_begin + j) * width)];
  }

  float dot(std::int64_t j, std::int64_t last) const {
    const bool scaled = engine_.fault == Fault::kQueryBf16;
    const float* const query = query_row();
    const float* const key = kv_row(inputs_.key, j, dim());
    const auto q = [&](std::int64_t d) {
      if (d >= last) return 0.0F;
      return scaled ? round_to_bf16(scale_ * query[d]) : query[d];
    };
    float sum = 0;
    for (std::int64_t d = 0; d < last && engine_.bf16_dots; d += 2) {
      sum = dot_pair(sum, q(d), key[d], q(d + 1), d + 1 < last ? key[d + 1] : 0.0F);
    }
    for (std::int64_t d = 0; d < last && !engine_.bf16_dots; ++d) {
      sum = math_.multiply_add(q(d), key[d], sum);
    }
    return scaled ? sum : scale_ * sum;
  }

  float score(std::int64_t j) {
    const bool is_victim = j == victim_;
    if (engine_.fault == Fault::kZeroKeyRow && is_victim) return 0;
    const bool shorter = engine_.fault == Fault::kShortDot && is_victim;
    const SimulatedPair pair{sequence_.index,       h_, group_,          i_ - sequence_.q_begin,
                             sequence_.q_offset,    j,  sequence_.batch, i_,
                             sequence_.kv_begin + j};
    return modified(problem_, engine_.fault == Fault::kModsSwapped, pair,
                    dot(j, shorter ? dim() - 1 : dim()), math_);
  }

  const float* value(std::int64_t j) const {
    if (engine_.fault == Fault::kSwapValues) {
      const std::int64_t other = (victim_ + 1) % kv_len();
      j = j == victim_ ? other : j == other ? victim_ : j;
    }
    return kv_row(inputs_.value, j, problem_.shape.value_dim);
  }

  // Weights of the chunk's keys in place of scores, and their sum.
  void softmax(std::vector<float>& scores, State& state) {
    std::array<float, 16> lanes{};
    for (std::size_t n = 0; n < scores.size(); ++n) {
      scores[n] = scores[n] == kNothing ? 0 : exp(scores[n] - state.max);
      lanes[n % 16] += scores[n];
    }
    if (engine_.fault == Fault::kLostLane) lanes[static_cast<std::size_t>(victim_ % 16)] = 0;
    for (std::size_t step = 8; step > 0; step /= 2) {
      for (std::size_t n = 0; n < step; ++n) lanes[n] += lanes[n + step];
    }
    state.sum = lanes[0];
  }

  // out = weights x values, pairs of keys together or one by one. A key of weight 0 is skipped.
  void accumulate(const std::vector<float>& weights, std::int64_t begin, State& state) const {
    const std::size_t step = engine_.bf16_dots ? 2 : 1;
    const std::vector<float> zeros(state.out.size());
    const auto row = [&](std::size_t n) {
      const bool counts = n < weights.size() && weights[n] != 0;
      return counts ? value(begin + static_cast<std::int64_t>(n)) : zeros.data();
    };
    for (std::size_t n = 0; n < weights.size(); n += step) {
      const float first = weights[n], second = n + 1 < weights.size() ? weights[n + 1] : 0.0F;
      const float *const a = row(n), *const b = row(n + 1);
      for (std::size_t e = 0; e < state.out.size(); ++e) {
        float& sum = state.out[e];
        sum = engine_.bf16_dots ? dot_pair(sum, first, a[e], second, b[e])
                                : math_.multiply_add(first, a[e], sum);
      }
    }
  }

  State chunk(std::int64_t begin) {
    State state = nothing();
    const std::int64_t end = std::min(begin + kChunk, kv_len());
    std::vector<float> scores(static_cast<std::size_t>(end - begin), kNothing);
    for (std::int64_t j = begin; j < end; ++j) {
      if (!visible(j)) continue;
      scores[static_cast<std::size_t>(j - begin)] = score(j);
      state.max = std::max(state.max, scores[static_cast<std::size_t>(j - begin)]);
    }
    if (state.max == kNothing) return state;
    softmax(scores, state);
    if (engine_.bf16_dots || engine_.fault == Fault::kWeightsBf16) {
      for (float& w : scores) w = round_to_bf16(w);
    }
    accumulate(scores, begin, state);
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
    a.sum = math_.multiply_add(b.sum, from_b, a.sum * from_a);
    for (std::size_t e = 0; e < a.out.size(); ++e) {
      a.out[e] = math_.multiply_add(b.out[e], from_b, a.out[e] * from_a);
    }
    a.max = max;
    ++a.level;
  }

  void write(const State& state, const Result& result) const {
    const bool empty = state.max == kNothing;
    for (std::size_t e = 0; e < state.out.size(); ++e) {
      result.out.set(empty ? 0 : state.out[e] * (1 / state.sum), sequence_.batch, h_, i_, e);
    }
    const float log = empty ? 0 : std::log(state.sum);
    const float base = engine_.fault == Fault::kLseBase2 ? 1.44269504F : 1.0F;
    result.lse.set(base * (empty ? kNothing : state.max + log), sequence_.batch, h_, i_);
  }

  const SimulatedEngine& engine_;
  const Problem& problem_;
  const Inputs& inputs_;
  SimulatedArithmetic math_;
  const Sequence& sequence_;
  AnyMask mask_;  // of this sequence and head
  std::int64_t h_, i_, group_, position_;
  std::int64_t victim_ = 0;
  float scale_ = 0;
};

std::vector<Sequence> sequences_of(const Problem& p) {
  const bool packed = !p.cu_seqlens_q.empty();
  const std::size_t count =
      packed ? p.cu_seqlens_q.size() - 1 : static_cast<std::size_t>(p.shape.batch);
  std::vector<Sequence> sequences;
  for (std::size_t n = 0; n < count; ++n) {
    const std::int64_t index = static_cast<std::int64_t>(n);
    Sequence s{index, packed ? 0 : index, 0, p.shape.q_len, 0, p.shape.kv_len, 0};
    if (packed) {
      s.q_begin = p.cu_seqlens_q[n];
      s.q_end = p.cu_seqlens_q[n + 1];
      s.kv_begin = p.cu_seqlens_kv[n];
      s.kv_len = p.cu_seqlens_kv[n + 1] - s.kv_begin;
    }
    if (!p.kv_lens.empty()) s.kv_len = p.kv_lens[n];
    s.q_offset = p.q_offsets.empty() ? p.q_offset.value_or(0) : p.q_offsets[n];
    sequences.push_back(s);
  }
  return sequences;
}

}  // namespace

Result simulate(const SimulatedEngine& engine, const Problem& problem) {
  Result result = make_result(problem);
  const Inputs inputs(problem);
  for (const Sequence& s : sequences_of(problem)) {
    for (std::int64_t h = 0; h < problem.shape.num_heads; ++h) {
      for (std::int64_t i = s.q_begin; i < s.q_end; ++i) {
        RowSimulator(engine, problem, inputs, s, h, i).run(result);
      }
    }
  }
  return result;
}

}  // namespace regard::test
