// tests/compile_fail/view_of_const.cc - an output must not be a view of constant numbers.
#include "regard/tensor_view.h"

int main() {
  const float numbers[2] = {};
#ifdef REGARD_CONTROL
  const regard::TensorView<const float, 1> view(numbers, {2});
#else
  const regard::TensorView<float, 1> view(regard::TensorView<const float, 1>(numbers, {2}));
#endif
  return view.size() != 2;
}
