// tests/support/problem.cc - how random problems are drawn.
#include "support/problem.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "kernels/kernels.h"
#include "regard/attention.h"
#include "regard/isa.h"

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
  Tensor<4> to(from.shape(), layout, from.dtype());
  const std::vector<float> values = from.values();
  std::size_t n = 0;
  to.for_each([&](float& x) { x = values[n++]; });
  return to;
}

}  // namespace

bool Problem::all_bf16() const {
  return shape.query_dtype == DType::kBf16 && shape.key_dtype == DType::kBf16 &&
         shape.value_dtype == DType::kBf16;
}

std::string Problem::describe() const {
  std::ostringstream text;
  const auto& s = shape;
  text << "B " << s.batch << ", H " << s.num_heads << ", G " << s.num_kv_heads << ", N " << s.q_len
       << ", M " << s.kv_len << ", D " << s.head_dim << ", E " << s.value_dim << ", mask "
       << mask.name;
  text << ", " << name_of(s.query_dtype) << " " << name_of(s.key_dtype) << " "
       << name_of(s.value_dtype) << " -> " << name_of(s.out_dtype);
  if (scale) text << ", scale " << *scale;
  if (q_offset) text << ", q_offset " << *q_offset;
  const auto list = [&](const char* name, const std::vector<std::int64_t>& numbers) {
    if (!numbers.empty()) text << ", " << name;
    for (const std::int64_t n : numbers) text << " " << n;
  };
  list("q_offsets", q_offsets);
  list("kv_lens", kv_lens);
  list("cu_seqlens_q", cu_seqlens_q);
  list("cu_seqlens_kv", cu_seqlens_kv);
  if (!score_mods.mods.empty()) text << ", " << score_mods.name;
  if (!sinks.empty()) text << ", sinks";
  return text.str();
}

Problem make_problem(Rng& rng, const AttentionShape& shape, Data data) {
  const auto& s = shape;
  Problem problem;
  problem.shape = shape;
  problem.query = Tensor<4>({s.batch, s.num_heads, s.q_len, s.head_dim}, {}, s.query_dtype);
  problem.key = Tensor<4>({s.batch, s.num_kv_heads, s.kv_len, s.head_dim}, {}, s.key_dtype);
  problem.value = Tensor<4>({s.batch, s.num_kv_heads, s.kv_len, s.value_dim}, {}, s.value_dtype);
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
    *tensor = moved(*tensor, random_layout<4>(rng, true));
  }
}

void random_dtypes(Rng& rng, AttentionShape& s) {
  const auto any = [&] { return rng.pick({DType::kF32, DType::kBf16, DType::kF16}); };
  s.query_dtype = s.key_dtype = s.value_dtype = s.out_dtype = any();
  if (rng.chance(0.5)) s.key_dtype = s.value_dtype = any();
  if (rng.chance(0.3)) s.value_dtype = any();
  if (rng.chance(0.5)) s.out_dtype = any();
}

// S + 1 ascending numbers from 0 to at most `length`; some sequences are empty.
std::vector<std::int64_t> random_ends(Rng& rng, std::int64_t sequences, std::int64_t length) {
  std::vector<std::int64_t> ends{0};
  for (std::int64_t s = 0; s < sequences; ++s) ends.push_back(rng.integer(0, length));
  std::sort(ends.begin(), ends.end());
  if (rng.chance(0.5)) ends.back() = length;
  return ends;
}

// q_offset or q_offsets, and kv_lens, of sequences of at most these lengths.
void random_positions(Rng& rng, Problem& p, std::int64_t sequences, bool per_sequence) {
  const auto offset = [&] {
    const std::int64_t end = p.shape.kv_len - p.shape.q_len;  // as decoding does
    return rng.chance(0.5) ? end : rng.integer(-p.shape.q_len - 3, p.shape.kv_len + 3);
  };
  const bool packed = !p.cu_seqlens_q.empty();
  if (per_sequence && rng.chance(0.5)) {
    for (std::int64_t s = 0; s < sequences; ++s) p.q_offsets.push_back(offset());
  } else if (packed || p.shape.q_len != p.shape.kv_len || rng.chance(0.4)) {
    p.q_offset = offset();
  }
  if ((packed && !per_sequence) || !rng.chance(0.4)) return;
  for (std::int64_t s = 0; s < sequences; ++s) {
    const std::size_t n = static_cast<std::size_t>(s);
    const std::int64_t most = packed ? p.cu_seqlens_kv[n + 1] - p.cu_seqlens_kv[n] : p.shape.kv_len;
    p.kv_lens.push_back(rng.chance(0.2) ? most : rng.integer(0, most));
  }
}

}  // namespace

Problem random_problem(Rng& rng, std::int64_t max_work, const Features& features) {
  AttentionShape shape = random_shape(rng, max_work);
  if (features.dtypes && rng.chance(0.7)) random_dtypes(rng, shape);
  const bool packed = features.packed && rng.chance(0.4);
  if (packed) shape.batch = 1;
  Problem problem = make_problem(rng, shape, static_cast<Data>(rng.integer(0, 4)));
  if (rng.chance(0.5)) broadcast_some(rng, problem);
  std::int64_t sequences = shape.batch;
  if (packed) {
    sequences = rng.integer(1, 4);
    problem.cu_seqlens_q = random_ends(rng, sequences, shape.q_len);
    problem.cu_seqlens_kv = random_ends(rng, sequences, shape.kv_len);
  }
  const std::int64_t positions = std::max(shape.q_len, shape.kv_len) + rng.integer(0, 20);
  problem.mask = features.varying_masks && rng.chance(0.4)
                     ? random_varying_mask(rng, positions, sequences, shape.num_heads)
                     : random_mask(rng, positions, 2);
  random_positions(rng, problem, sequences, features.per_sequence);
  if (rng.chance(0.3)) problem.scale = rng.pick({0.0F, -0.3F, 1.0F, -1.0F, 0.05F});
  if (features.mods && rng.chance(0.6)) problem.score_mods = random_score_mods(rng, shape);
  if (features.sinks && rng.chance(0.4)) {
    for (std::int64_t h = 0; h < shape.num_heads; ++h) problem.sinks.push_back(3 * rng.normal());
  }
  return problem;
}

Result make_result(const Problem& problem) {
  const auto& s = problem.shape;
  return {Tensor<4>({s.batch, s.num_heads, s.q_len, s.value_dim}, {}, s.out_dtype),
          Tensor<3>({s.batch, s.num_heads, s.q_len})};
}

Result run_attention(const Problem& problem, const AttentionOptions& options) {
  Result result = make_result(problem);
  attention(problem.query, problem.key, problem.value, result.out, options,
            {.lse = result.lse.view()});
  return result;
}

bool uses_bf16_dots(const Problem& problem) {
  const std::string isa = active_isa();
  for (const kernels::KernelTable* table : kernels::supported_tables()) {
    if (table->isa == isa && table->bf16 != nullptr && problem.all_bf16()) return true;
  }
  return false;
}

namespace {

Bf16Dots bf16_dots_of(const Problem& problem) {
  return uses_bf16_dots(problem) ? Bf16Dots::kModelled : Bf16Dots::kNo;
}

}  // namespace

ReferenceResult run_reference(const Problem& problem, Bf16Dots bf16_dots) {
  return reference_attention(problem.query, problem.key, problem.value, problem.options(),
                             {.out_dtype = problem.shape.out_dtype, .bf16_dots = bf16_dots});
}

ReferenceResult run_reference(const Problem& problem) {
  return run_reference(problem, bf16_dots_of(problem));
}

const ReferenceResult& Reference::get() {
  const Bf16Dots dots = bf16_dots_of(problem_);
  if (!results_.contains(dots)) results_[dots] = run_reference(problem_, dots);
  return results_[dots];
}

}  // namespace regard::test
