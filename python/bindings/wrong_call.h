// python/bindings/wrong_call.h - what is said of a call whose arguments do not fit by number or
// name.
#pragma once

#include <nanobind/nanobind.h>

namespace regard::python {

/// To be called when all functions are there. Each gets an overload that comes to its turn where
/// the function itself does not fit, and throws TypeError with the one word that does not.
void explain_wrong_calls(nanobind::module_& module);

}  // namespace regard::python
