// python/bindings/attend.h - attention, its plan, its weights, its parts.
#pragma once

#include <nanobind/nanobind.h>

namespace regard::python {

void bind_attention(nanobind::module_& module);

}  // namespace regard::python
