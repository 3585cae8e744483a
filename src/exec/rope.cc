// src/exec/rope.cc - pairs of elements turned by their token's position.
// Plain loops: they take less than 1 % of the attention that follows (O(N) against O(N^2)).
#include "exec/rope.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <vector>

#include "exec/float_environment.h"

namespace regard::exec {
namespace {

/// Tokens of a task: their cos and sin stay in L1 while all heads are turned. Tuning: cannot change
/// bits.
constexpr std::int64_t kTokens = 16;

/// One token of one head. cos and sin: (pairs) each, one behind the other.
struct Head {
  const void* x;
  std::int64_t x_stride;
  void* out;
  std::int64_t out_stride;
  std::int64_t dim;
  const float* cos_sin;
};

template <class In, class Out>
void turn(const Rotation& rotation, const Head& head) noexcept {
  const In* x = static_cast<const In*>(head.x);
  Out* out = static_cast<Out*>(head.out);
  const std::int64_t pairs = static_cast<std::int64_t>(rotation.frequencies.size());
  for (std::int64_t i = 0; i < pairs; ++i) {
    const std::int64_t at_a = i * rotation.step, at_b = at_a + rotation.gap;
    const float a = static_cast<float>(x[at_a * head.x_stride]),
                b = static_cast<float>(x[at_b * head.x_stride]);
    const float cos = head.cos_sin[i], sin = head.cos_sin[pairs + i];
    out[at_a * head.out_stride] = static_cast<Out>(a * cos - b * sin);
    out[at_b * head.out_stride] = static_cast<Out>(b * cos + a * sin);
  }
  for (std::int64_t d = 2 * pairs; d < head.dim; ++d) {
    out[d * head.out_stride] = static_cast<Out>(static_cast<float>(x[d * head.x_stride]));
  }
}

using Turn = void (*)(const Rotation&, const Head&) noexcept;

/// By the DType of x, then of out.
constexpr std::array<std::array<Turn, 3>, 3> kTurns{{
    {turn<float, float>, turn<float, bf16>, turn<float, f16>},
    {turn<bf16, float>, turn<bf16, bf16>, turn<bf16, f16>},
    {turn<f16, float>, turn<f16, bf16>, turn<f16, f16>},
}};

void fill_cos_sin(const Rotation& rotation, std::int64_t position, float* cos_sin) noexcept {
  const std::size_t pairs = rotation.frequencies.size();
  for (std::size_t i = 0; i < pairs; ++i) {
    const double angle = static_cast<double>(position) * rotation.frequencies[i];
    cos_sin[i] = static_cast<float>(std::cos(angle) * rotation.attention_factor);
    cos_sin[pairs + i] = static_cast<float>(std::sin(angle) * rotation.attention_factor);
  }
}

template <class Byte, class View>
auto address(Byte* data, const View& view, std::int64_t b, std::int64_t h,
             std::int64_t n) noexcept {
  const std::int64_t offset = b * view.strides[0] + h * view.strides[1] + n * view.strides[2];
  return data + offset * static_cast<std::int64_t>(size_of(view.dtype));
}

}  // namespace

void rotate(const Rotation& rotation, const InputView<4>& x, const OutputView<4>& out,
            const Positions& positions, Executor& executor) {
  const auto [batch, heads, tokens, dim] = x.shape;
  const Turn turn_head =
      kTurns[static_cast<std::size_t>(x.dtype)][static_cast<std::size_t>(out.dtype)];
  const std::int64_t row = 2 * static_cast<std::int64_t>(rotation.frequencies.size());
  const std::int64_t groups = (tokens + kTokens - 1) / kTokens;
  std::vector<float> memory(static_cast<std::size_t>(kTokens * row * executor.num_threads()));
  // Positions that all batch entries share are turned into cos and sin once.
  const std::int64_t rounds = positions.per_batch ? batch : 1;
  const auto task = [&, batch = batch, heads = heads, tokens = tokens, dim = dim](std::int64_t i,
                                                                                  int worker) {
    const FloatEnvironment environment;
    float* cos_sin = memory.data() + worker * kTokens * row;
    const std::int64_t round = i / groups, begin = i % groups * kTokens,
                       end = std::min(begin + kTokens, tokens);
    for (std::int64_t n = begin; n < end; ++n) {
      const std::size_t at = static_cast<std::size_t>(round * tokens + n);
      const std::int64_t position =
          positions.each.empty() ? positions.first + n : positions.each[at];
      fill_cos_sin(rotation, position, cos_sin + (n - begin) * row);
    }
    for (std::int64_t b = round; b < (positions.per_batch ? round + 1 : batch); ++b) {
      for (std::int64_t h = 0; h < heads; ++h) {
        for (std::int64_t n = begin; n < end; ++n) {
          turn_head(rotation, {.x = address(static_cast<const std::byte*>(x.data), x, b, h, n),
                               .x_stride = x.strides[3],
                               .out = address(static_cast<std::byte*>(out.data), out, b, h, n),
                               .out_stride = out.strides[3],
                               .dim = dim,
                               .cos_sin = cos_sin + (n - begin) * row});
        }
      }
    }
  };
  executor.parallel_for(rounds * groups, task);
}

}  // namespace regard::exec
