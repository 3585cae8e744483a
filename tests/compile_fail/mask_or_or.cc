// tests/compile_fail/mask_or_or.cc - || between masks must not compile; with REGARD_CONTROL it is |
// and must.
#include "regard/any_mask.h"

int main() {
  const regard::AnyMask a = regard::CausalMask{};
  const regard::FullMask b;
#ifdef REGARD_CONTROL
  const auto either = a | b;
  return !either.allows(0, 1);
#else
  a || b;
#endif
}
