// python/bindings/arguments.cc - the arguments that attention, plan and weights share.
#include "arguments.h"

#include <algorithm>
#include <array>
#include <mutex>
#include <utility>

#include "convert.h"
#include "masks.h"

namespace regard::python {
namespace {

std::int64_t window_side(const char* name, nb::handle side) {
  return side.is_none() ? WindowMask::kUnbounded : to_int64(name, side);
}

}  // namespace

WindowMask to_window(nb::handle window) {
  const bool is_pair =
      (PyTuple_Check(window.ptr()) || PyList_Check(window.ptr())) && nb::len(window) == 2;
  if (!is_pair)
    refuse_type("attention: window", "a " + class_name(window),
                "a pair (left, right), None for an unbounded side");
  return {.left = window_side("attention: window[0]", window[0]),
          .right = window_side("attention: window[1]", window[1])};
}

Arguments::Arguments(nb::handle query_object, nb::handle key_object, nb::handle value_object,
                     const Keywords& keywords) {
  is_packed_ = !keywords.cu_seqlens_q.is_none() || !keywords.cu_seqlens_kv.is_none();
  like = import_array("attention: query", query_object);
  if (is_packed_ && like.rank != 3)
    refuse("attention: query", "of shape " + like.describe_shape(),
           "(tokens, heads, head_dim) with cu_seqlens_q and cu_seqlens_kv");
  if (like.rank < 2 || like.rank > 4)
    refuse("attention: query", "of shape " + like.describe_shape(),
           "(batch, heads, q_len, head_dim), or the last three or two of these");
  query.data = like.data;
  query.dtype = dtype_of(like);
  set_axes(like, is_packed_, query.shape, query.strides);
  key = import_view("attention: key", key_object);
  value = value_object.ptr() == nullptr ? key : import_view("attention: value", value_object);
  add_positions(keywords);
  add_mask(keywords);
  add_scores(keywords);
  executor_ = executor_of("attention: num_threads", keywords.num_threads);
  const bool is_small = &default_executor(shape()) == &serial_executor();
  options.executor = is_small ? &serial_executor() : executor_.get();
}

InputView<4> Arguments::import_view(const char* name, nb::handle object) {
  const Array& array = kept_.emplace_back(import_array(name, object));
  if (array.rank != like.rank)
    refuse(name, "of shape " + array.describe_shape(),
           std::to_string(like.rank) + " axes, as query has: " + like.describe_shape());
  InputView<4> view;
  view.data = array.data;
  view.dtype = dtype_of(array);
  set_axes(array, is_packed_, view.shape, view.strides);
  return view;
}

void Arguments::add_positions(const Keywords& k) {
  if (const auto offset = as_int64("attention: q_offset", k.q_offset)) {
    options.q_offset = offset;
  } else {
    options.q_offsets = q_offsets_ = to_int64s("attention: q_offset", k.q_offset);
    if (!k.q_offset.is_none() && q_offsets_.empty() && query.shape[0] != 0)
      refuse("attention: q_offset", "empty", "one number per sequence");
  }
  options.kv_lens = kv_lens_ = to_int64s("attention: kv_lens", k.kv_lens);
  if (!k.kv_lens.is_none() && kv_lens_.empty() && query.shape[0] != 0)
    refuse("attention: kv_lens", "empty", "one number per sequence");
  if (!is_packed_) return;
  if (k.cu_seqlens_q.is_none())
    refuse("attention: cu_seqlens_q", "None", "given with cu_seqlens_kv");
  if (k.cu_seqlens_kv.is_none())
    refuse("attention: cu_seqlens_kv", "None", "given with cu_seqlens_q");
  options.cu_seqlens_q = cu_seqlens_q_ = to_int64s("attention: cu_seqlens_q", k.cu_seqlens_q);
  options.cu_seqlens_kv = cu_seqlens_kv_ = to_int64s("attention: cu_seqlens_kv", k.cu_seqlens_kv);
  if (cu_seqlens_q_.empty()) refuse("attention: cu_seqlens_q", "empty", "to begin with 0");
  if (cu_seqlens_kv_.empty()) refuse("attention: cu_seqlens_kv", "empty", "to begin with 0");
}

void Arguments::add_mask(const Keywords& k) {
  const auto add = [&](AnyMask mask) {
    options.mask =
        options.mask.is_full() ? std::move(mask) : AnyMask(options.mask & std::move(mask));
  };
  if (!k.causal.is(Py_False) && to_bool("attention: causal", k.causal)) add(CausalMask{});
  if (!k.window.is_none()) add(to_window(k.window));
  if (k.mask.is_none()) return;
  if (const AnyMask* mask = as_mask(k.mask)) {
    add(*mask);
  } else {
    const bool positions_matter = !options.mask.is_full() || !k.alibi_slopes.is_none();
    add(mask_of_array(kept_.emplace_back(import_array("attention: mask", k.mask)),
                      positions_matter));
  }
}

/// Its rows are the queries of the call, so that it needs no position.
AnyMask Arguments::mask_of_array(const Array& array, bool positions_matter) {
  if (array.element != Element::kBool)
    refuse_type("attention: mask", "of another type than bool",
                "booleans, or a mask of regard.masks (bias= is what is added to scores)");
  if (is_packed_)
    refuse("attention: mask", "an array",
           "a mask of regard.masks with cu_seqlens (rows begin anew in each)");
  const std::int64_t q_len = query.shape[2], kv_len = key.shape[2];
  const bool unsaid = !options.q_offset && q_offsets_.empty();
  if (unsaid && !positions_matter) options.q_offset = 0;
  const ScoreLayout layout = layout_of_scores(array, q_len, kv_len);
  TensorView<const bool, 4> view(static_cast<const bool*>(array.data), layout.shape,
                                 layout.strides);
  if (q_offsets_.empty()) return DenseMask(view, options.q_offset.value_or(0));
  DenseMask(view).check(query.shape[0], query.shape[1]);
  std::vector<AnyMask> masks;
  for (std::size_t b = 0; b < q_offsets_.size(); ++b) {
    TensorView<const bool, 4> one = view;
    one.shape[0] = 1;
    if (view.shape[0] > static_cast<std::int64_t>(b))
      one.data += static_cast<std::int64_t>(b) * view.strides[0];
    masks.emplace_back(DenseMask(one, q_offsets_[b]));
  }
  return PerSequenceMask(std::move(masks));
}

void Arguments::add_scores(const Keywords& k) {
  options.scale = to_float("attention: scale", k.scale);
  auto& mods = options.score_mods;
  if (const auto cap = to_float("attention: softcap", k.softcap)) mods.emplace_back(SoftCap{*cap});
  if (!k.alibi_slopes.is_none())
    mods.emplace_back(Alibi{to_floats("attention: alibi_slopes", k.alibi_slopes)});
  if (!k.bias.is_none()) {
    const Array& array = kept_.emplace_back(import_array("attention: bias", k.bias));
    const DType dtype = dtype_of(array);
    const ScoreLayout layout = layout_of_scores(array, query.shape[2], key.shape[2]);
    mods.emplace_back(Bias{InputView<4>(array.data, dtype, layout.shape, layout.strides)});
  }
  options.sinks = sinks_ = to_floats("attention: sinks", k.sinks);
}

AttentionShape Arguments::shape() const {
  return {.batch = query.shape[0],
          .num_heads = query.shape[1],
          .num_kv_heads = key.shape[1],
          .q_len = query.shape[2],
          .kv_len = key.shape[2],
          .head_dim = query.shape[3],
          .value_dim = value.shape[3],
          .query_dtype = query.dtype,
          .key_dtype = key.dtype,
          .value_dtype = value.dtype,
          .out_dtype = query.dtype};
}

double Arguments::flops() const {
  double product = 2;
  for (std::size_t i = 0; i < 3; ++i) product *= static_cast<double>(query.shape[i]);
  return product * static_cast<double>(key.shape[2]) *
         static_cast<double>(query.shape[3] + value.shape[3]);
}

bool Arguments::covers_queries() const {
  return !is_packed_ || cu_seqlens_q_.back() == query.shape[2];
}

std::vector<std::int64_t> Arguments::result_shape(std::int64_t last) const {
  std::vector<std::int64_t> shape(like.shape.begin(),
                                  like.shape.begin() + static_cast<std::ptrdiff_t>(like.rank));
  shape.back() = last;
  return shape;
}

std::vector<std::int64_t> Arguments::lse_shape() const {
  std::vector<std::int64_t> shape = result_shape(0);
  shape.pop_back();
  if (is_packed_) std::swap(shape[0], shape[1]);
  return shape;
}

OutputView<4> Arguments::result_view(const Array& array, std::int64_t last) const {
  const std::vector<std::int64_t> wanted = result_shape(last);
  if (!std::equal(wanted.begin(), wanted.end(), array.shape.begin(),
                  array.shape.begin() + static_cast<std::ptrdiff_t>(array.rank))) {
    std::string text;
    for (const std::int64_t extent : wanted)
      text += (text.empty() ? "(" : ", ") + std::to_string(extent);
    refuse(array.name, "of shape " + array.describe_shape(), text + ")");
  }
  OutputView<4> view;
  view.data = array.data;
  view.dtype = dtype_of(array);
  set_axes(array, is_packed_, view.shape, view.strides);
  return view;
}

TensorView<float, 3> Arguments::lse_view(const Array& array) const {
  TensorView<float, 3> view(static_cast<float*>(array.data),
                            {query.shape[0], query.shape[1], query.shape[2]});
  return view;
}

std::shared_ptr<Executor> executor_of(const char* name, nb::handle num_threads) {
  // The pools of the last few numbers asked for: making one takes a thread's start.
  struct Pool {
    std::int64_t num_threads;
    std::shared_ptr<Executor> executor;
  };
  static auto* pools = new std::vector<Pool>;  // never freed: its threads may be gone by then
  static auto* mutex = new std::mutex;
  constexpr std::size_t kMost = 4;
  if (num_threads.is_none()) return nullptr;
  const std::int64_t n = to_int64(name, num_threads);
  if (n < 1 || n > 1024) refuse(name, std::to_string(n), "1..1024");
  if (n == 1) return {std::shared_ptr<void>(), &serial_executor()};
  if (n == default_num_threads()) return {std::shared_ptr<void>(), &default_executor()};
  const std::lock_guard lock(*mutex);
  const auto at =
      std::find_if(pools->begin(), pools->end(), [&](const Pool& p) { return p.num_threads == n; });
  Pool pool = at != pools->end() ? *at : Pool{n, make_thread_pool(static_cast<int>(n))};
  if (at != pools->end()) pools->erase(at);
  if (pools->size() == kMost) pools->pop_back();
  pools->insert(pools->begin(), pool);
  return pool.executor;
}

}  // namespace regard::python
