// python/bindings/masks.h - regard.masks.
#pragma once

#include <nanobind/nanobind.h>

#include "regard/any_mask.h"

namespace regard::python {

void bind_masks(nanobind::module_& module);

/// The mask that a Python object is, or null.
const AnyMask* as_mask(nanobind::handle object);

}  // namespace regard::python
