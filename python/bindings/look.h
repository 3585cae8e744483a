// python/bindings/look.h - what regard.look is made of: a run of a model, and the page.
#pragma once

#include <nanobind/nanobind.h>

namespace regard::python {

void bind_look(nanobind::module_& module);

}  // namespace regard::python
