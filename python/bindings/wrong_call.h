// python/bindings/wrong_call.h - what is said of a call whose arguments do not fit by number or
// name.
#pragma once

#include <nanobind/nanobind.h>

#include <string>
#include <vector>

namespace regard::python {

/// To be called when all functions are there. Each gets an overload that comes to its turn where
/// the function itself does not fit, and throws TypeError with the one word that does not.
void explain_wrong_calls(nanobind::module_& module);

/// Of a call that a function or method does not take, in one line; `is_method`: its first parameter
/// is self, which is not among `args`.
[[noreturn]] void refuse_call(nanobind::handle function, const std::string& name,
                              const nanobind::args& args, const nanobind::kwargs& kwargs,
                              bool is_method);
/// The names of what is defined in a class or module and may be called wrongly.
std::vector<std::string> names_of_calls(nanobind::handle scope);
extern const char* const kAnyMethodSignature;

/// The same for the methods of a class, its constructor too. Their parameters may have no
/// conversions of nanobind's: these come after all overloads (so Whole for numbers).
template <class T>
void explain_wrong_calls(nanobind::class_<T>& type) {
  namespace nb = nanobind;
  for (const std::string& name : names_of_calls(type)) {
    type.def(
        name.c_str(),
        [type = nb::handle(type), name](nb::handle, const nb::args& args,
                                        const nb::kwargs& kwargs) {
          const nb::str own(type.attr("__name__"));
          refuse_call(type.attr(name.c_str()), name == "__init__" ? own.c_str() : name, args,
                      kwargs, true);
        },
        nb::sig(("def " + name + kAnyMethodSignature).c_str()));
  }
}

}  // namespace regard::python
