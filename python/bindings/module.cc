// python/bindings/module.cc - regard._engine: the engine for Python, without logic of its own.
#include <nanobind/nanobind.h>

#include "attend.h"
#include "generate.h"
#include "look.h"
#include "masks.h"
#include "regard/version.h"
#include "rope.h"
#include "wrong_call.h"

NB_MODULE(_engine, module) {
  // What somebody's global still holds when Python ends is no leak, and their terminal not the
  // place to speak of it.
  nanobind::set_leak_warnings(false);
  module.attr("__version__") = REGARD_VERSION;
  regard::python::bind_masks(module);
  regard::python::bind_attention(module);
  regard::python::bind_weights(module);
  regard::python::bind_state(module);
  regard::python::bind_rope(module);
  regard::python::bind_look(module);
  regard::python::bind_kv_cache(module);
  regard::python::bind_generate(module);
  regard::python::explain_wrong_calls(module);
}
