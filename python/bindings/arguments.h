// python/bindings/arguments.h - the arguments that attention, plan and weights share.
#pragma once

#include <memory>
#include <vector>

#include "array.h"
#include "regard/attention.h"

namespace regard::python {

/// As they came. None: not given.
struct Keywords {
  nb::handle causal, window, mask, bias, scale, softcap, alibi_slopes, sinks, q_offset, kv_lens,
      cu_seqlens_q, cu_seqlens_kv, num_threads;
};

/// A call's tensors as views of rank 4, and its options. Holds all that they point to.
class Arguments {
 public:
  /// Without `value` (null) the key stands in its place.
  Arguments(nb::handle query, nb::handle key, nb::handle value, const Keywords& keywords);
  Arguments(const Arguments&) = delete;
  Arguments& operator=(const Arguments&) = delete;

  InputView<4> query, key, value;
  AttentionOptions options;
  Array like;  ///< the query: results are of its library

  AttentionShape shape() const;
  /// Floating point operations, if nothing is masked.
  double flops() const;
  bool is_packed() const { return is_packed_; }
  /// Whether every packed query belongs to a sequence; the engine does not write the others.
  bool covers_queries() const;

  /// The caller's shape of a result per query: (batch, heads, q_len, last) as far as the query has
  /// these axes, packed (tokens, heads, last).
  std::vector<std::int64_t> result_shape(std::int64_t last) const;
  /// Without the last axis; packed (heads, tokens).
  std::vector<std::int64_t> lse_shape() const;
  /// Such an array as the engine's view; throws ValueError when it has another shape.
  OutputView<4> result_view(const Array& array, std::int64_t last) const;
  TensorView<float, 3> lse_view(const Array& array) const;

 private:
  InputView<4> import_view(const char* name, nb::handle object);
  void add_positions(const Keywords& keywords);
  void add_mask(const Keywords& keywords);
  AnyMask mask_of_array(const Array& array, bool positions_matter);
  void add_scores(const Keywords& keywords);

  bool is_packed_ = false;
  std::vector<std::int64_t> q_offsets_, kv_lens_, cu_seqlens_q_, cu_seqlens_kv_;
  std::vector<float> sinks_;
  std::vector<Array> kept_;
  std::shared_ptr<Executor> executor_;
};

/// (left, right), None for an unbounded side.
WindowMask to_window(nb::handle window);

/// The pool of so many threads, kept for the next call; None: null, which is the engine's default.
/// `name` is that of the argument.
std::shared_ptr<Executor> executor_of(const char* name, nb::handle num_threads);

/// The keyword arguments that all of them take, for nanobind; each adds its own.
#define REGARD_SHARED_ARGS                                                                        \
  nb::arg("causal").none() = false, nb::arg("window") = nb::none(), nb::arg("mask") = nb::none(), \
  nb::arg("bias") = nb::none(), nb::arg("scale") = nb::none(), nb::arg("softcap") = nb::none(),   \
  nb::arg("alibi_slopes") = nb::none()

}  // namespace regard::python
