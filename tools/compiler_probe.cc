// tools/compiler_probe.cc - what ./dev asks a compiler for: C++20 with its library, and for fuzz
// targets libFuzzer.
#include <stdlib.h>

#include <span>

#if defined(__clang__) ? __clang_major__ < 16 : __GNUC__ < 12
#error "too old"
#endif

extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, size_t) { return 0; }
