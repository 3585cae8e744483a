// python/bindings/attend.h - attention and its plan, its weights, its parts.
#pragma once

#include <nanobind/nanobind.h>

namespace regard::python {

void bind_attention(nanobind::module_& module);  // attend.cc
void bind_weights(nanobind::module_& module);    // weights.cc
void bind_state(nanobind::module_& module);      // state.cc

}  // namespace regard::python
