// python/bindings/rope.h - rotary positions.
#pragma once

#include <nanobind/nanobind.h>

namespace regard::python {

void bind_rope(nanobind::module_& module);

}  // namespace regard::python
