// tests/support/problem.cc - how random problems are drawn.
#include "support/problem.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "regard/attention.h"

namespace regard::test {
namespace {

void fill(Rng& rng, Problem& problem, Data data) {
  const float peak = data == Data::kPeaky ? 6.0F : 1.0F;
  problem.query.for_each([&](float& x) { x = peak * rng.normal(); });
  std::int64_t n = 0;
  const std::int64_t keys = std::max<std::int64_t>(problem.shape.kv_len, 1);
  problem.key.for_each([&](float& x) {
    const std::int64_t j = n++ / problem.shape.head_dim % keys;
    x = rng.normal();
    if (data == Data::kAscending) x *= static_cast<float>(j) / static_cast<float>(keys);
    if (data == Data::kWide) x *= std::exp(2 * rng.normal());
  });
  n = 0;
  problem.value.for_each([&](float& x) {
    const std::int64_t j = n++ / problem.shape.value_dim % keys;
    x = rng.normal();
    if (data == Data::kCancelling) x = (j % 2 == 0 ? 1000.0F : -1000.0F) + x;
  });
}

Tensor<4> moved(const Tensor<4>& from, const Layout<4>& layout) {
  Tensor<4> to(from.view().shape, layout);
  const std::vector<float> values = from.values();
  std::size_t n = 0;
  to.for_each([&](float& x) { x = values[n++]; });
  return to;
}

}  // namespace

std::string Problem::describe() const {
  std::ostringstream text;
  const auto& s = shape;
  text << "B " << s.batch << ", H " << s.num_heads << ", G " << s.num_kv_heads << ", N " << s.q_len
       << ", M " << s.kv_len << ", D " << s.head_dim << ", E " << s.value_dim << ", mask "
       << mask.name;
  if (scale) text << ", scale " << *scale;
  if (q_offset) text << ", q_offset " << *q_offset;
  if (!kv_lens.empty()) text << ", kv_lens";
  for (const std::int64_t n : kv_lens) text << " " << n;
  return text.str();
}

Problem make_problem(Rng& rng, const AttentionShape& shape, Data data) {
  const auto& s = shape;
  Problem problem;
  problem.shape = shape;
  problem.query = Tensor<4>({s.batch, s.num_heads, s.q_len, s.head_dim});
  problem.key = Tensor<4>({s.batch, s.num_kv_heads, s.kv_len, s.head_dim});
  problem.value = Tensor<4>({s.batch, s.num_kv_heads, s.kv_len, s.value_dim});
  fill(rng, problem, data);
  return problem;
}

void relayout(Rng& rng, Problem& problem) {
  for (Tensor<4>* tensor : {&problem.query, &problem.key, &problem.value}) {
    *tensor = moved(*tensor, random_layout<4>(rng, false));
  }
}

std::int64_t random_length(Rng& rng, std::int64_t limit) {
  if (limit <= 2 || rng.chance(0.1)) return rng.integer(0, std::min<std::int64_t>(limit, 2));
  if (rng.chance(0.3)) return rng.integer(0, limit);
  const std::int64_t unit = rng.pick<std::int64_t>({16, 64, 256});
  const std::int64_t length = rng.integer(0, limit / unit + 1) * unit + rng.integer(-1, 1);
  return std::clamp<std::int64_t>(length, 0, limit);
}

namespace {

AttentionShape random_shape(Rng& rng, std::int64_t max_work) {
  AttentionShape s;
  const std::int64_t group = rng.pick<std::int64_t>({1, 1, 2, 3, 4, 5, 7});
  s.batch = rng.chance(0.05) ? 0 : rng.integer(1, 3);
  s.num_kv_heads = rng.integer(1, 3);
  s.num_heads = s.num_kv_heads * group;
  const std::int64_t dims = rng.pick<std::int64_t>({16, 64, 128, 512});
  s.head_dim = rng.chance(0.3) ? dims : rng.integer(1, dims);
  s.value_dim = rng.chance(0.5) ? s.head_dim : rng.integer(1, dims);
  const std::int64_t per_pair =
      std::max<std::int64_t>(s.batch, 1) * s.num_heads * (s.head_dim + s.value_dim);
  const std::int64_t pairs = std::max<std::int64_t>(max_work / per_pair, 4);
  if (rng.chance(0.4)) {  // self-attention
    s.q_len = s.kv_len = random_length(rng, static_cast<std::int64_t>(std::sqrt(pairs)));
  } else {
    s.kv_len = random_length(rng, std::min<std::int64_t>(pairs, 1100));
    s.q_len = random_length(
        rng, std::min<std::int64_t>(pairs / std::max<std::int64_t>(s.kv_len, 1), 600));
  }
  return s;
}

// Some axes of stride 0: the numbers along them become equal.
void broadcast_some(Rng& rng, Problem& problem) {
  for (Tensor<4>* tensor : {&problem.query, &problem.key, &problem.value}) {
    Tensor<4> other(tensor->view().shape, random_layout<4>(rng, true));
    const std::vector<float> values = tensor->values();
    std::size_t n = 0;
    other.for_each([&](float& x) { x = values[n++]; });
    *tensor = other;
  }
}

}  // namespace

Problem random_problem(Rng& rng, std::int64_t max_work) {
  const AttentionShape shape = random_shape(rng, max_work);
  Problem problem = make_problem(rng, shape, static_cast<Data>(rng.integer(0, 4)));
  if (rng.chance(0.5)) broadcast_some(rng, problem);
  problem.mask = random_mask(rng, std::max(shape.q_len, shape.kv_len) + rng.integer(0, 20), 2);
  if (shape.q_len != shape.kv_len || rng.chance(0.4)) {
    problem.q_offset = rng.integer(-shape.q_len - 3, shape.kv_len + 3);
    if (rng.chance(0.5)) problem.q_offset = shape.kv_len - shape.q_len;  // as decoding does
  }
  if (rng.chance(0.3)) problem.scale = rng.pick({0.0F, -0.3F, 1.0F, -1.0F, 0.05F});
  if (rng.chance(0.4)) {
    for (std::int64_t b = 0; b < shape.batch; ++b) {
      problem.kv_lens.push_back(rng.chance(0.2) ? shape.kv_len : rng.integer(0, shape.kv_len));
    }
  }
  return problem;
}

Result run_attention(const Problem& problem, const AttentionOptions& options) {
  const auto& s = problem.shape;
  Result result{Tensor<4>({s.batch, s.num_heads, s.q_len, s.value_dim}),
                Tensor<3>({s.batch, s.num_heads, s.q_len})};
  attention(problem.query, problem.key, problem.value, result.out, options,
            {.lse = result.lse.view()});
  return result;
}

ReferenceResult run_reference(const Problem& problem) {
  return reference_attention(problem.query, problem.key, problem.value, problem.options());
}

}  // namespace regard::test
