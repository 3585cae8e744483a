// python/bindings/generate.h - the cache of keys and values, and text from a model.
#pragma once

#include <nanobind/nanobind.h>

#include <string>

#include "regard/dtype.h"

namespace regard::python {

/// "f32", "bf16", "f16", "int8"; throws ValueError for others.
DType to_cache_dtype(const char* name, const std::string& text);

void bind_kv_cache(nanobind::module_& module);  // kv_cache.cc
void bind_generate(nanobind::module_& module);  // generate.cc

}  // namespace regard::python
