// tests/support/c_problem.h - a random problem as C has it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "regard/c/regard.h"
#include "support/problem.h"

namespace regard::test {

inline regard_input c_input(const InputView<4>& view) {
  regard_input c{};
  c.data = view.data;
  c.dtype = static_cast<regard_dtype>(view.dtype);
  std::copy_n(view.shape.begin(), 4, c.shape);
  std::copy_n(view.strides.begin(), 4, c.strides);
  return c;
}
inline regard_output c_output(const OutputView<4>& view) {
  regard_output c{};
  c.data = view.data;
  c.dtype = static_cast<regard_dtype>(view.dtype);
  std::copy_n(view.shape.begin(), 4, c.shape);
  std::copy_n(view.strides.begin(), 4, c.strides);
  return c;
}
inline regard_lse c_lse(const TensorView<float, 3>& view) {
  regard_lse c{};
  c.data = view.data;
  std::copy_n(view.shape.begin(), 3, c.shape);
  std::copy_n(view.strides.begin(), 3, c.strides);
  return c;
}
inline regard_ints c_ints(const std::vector<std::int64_t>& numbers) {
  return {numbers.data(), static_cast<std::int64_t>(numbers.size())};
}
inline regard_floats c_floats(const std::vector<float>& numbers) {
  return {numbers.data(), static_cast<std::int64_t>(numbers.size())};
}
regard_shape c_shape(const AttentionShape& shape);

/// The problem's options; they point into it and into themselves. Its mask goes as text where it
/// has one and `dense` does not ask for booleans. Same for all sequences and heads.
class CProblem {
 public:
  CProblem(const Problem& problem, bool dense);
  CProblem(const CProblem&) = delete;
  CProblem& operator=(const CProblem&) = delete;

  regard_options options{};

 private:
  void add_dense(const Problem& problem);
  static regard_score_mod score_mod(const ScoreMod& mod);

  std::string text_;
  std::unique_ptr<bool[]> allowed_;
  regard_dense_mask dense_mask_{};
  std::vector<regard_score_mod> score_mods_;
};

}  // namespace regard::test
