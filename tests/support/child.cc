// tests/support/child.cc - LeakSanitizer does not look at forked children.
#include "support/child.h"

bool regard::test::is_child = false;

extern "C" int __lsan_is_turned_off();  // NOLINT: LeakSanitizer asks it where there is one
extern "C" int __lsan_is_turned_off() { return regard::test::is_child ? 1 : 0; }
