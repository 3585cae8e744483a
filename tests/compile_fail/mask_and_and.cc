// tests/compile_fail/mask_and_and.cc - && between masks must not compile; with REGARD_CONTROL it is
// & and must.
#include "regard/mask.h"

int main() {
  const regard::CausalMask a;
  const regard::FullMask b;
#ifdef REGARD_CONTROL
  const auto both = a & b;
  return both.allows(0, 1);
#else
  a&& b;
#endif
}
