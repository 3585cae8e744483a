// tests/api/c_header.c - must compile without a warning as C99, C11 and C++ (tests/CMakeLists.txt).
#include "regard/c/regard.h"

#include "regard/version.h"

const char* compiled_against(void);
const char* compiled_against(void) { return REGARD_VERSION; }

regard_options no_options(void);
regard_options no_options(void) {
  regard_options options = {sizeof options};
  return options;
}

regard_input row_major(const float* data);
regard_input row_major(const float* data) {
  return regard_row_major_input(data, REGARD_F32, 1, 2, 3, 4);
}
