// python/bindings/convert.h - Python's numbers and lists as C++'s, and errors in the engine's one
// wording.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace regard::python {

namespace nb = nanobind;

/// "attention: key is read-only, expected one that can be written", as ValueError or TypeError.
[[noreturn]] void refuse(const std::string& what, const std::string& came,
                         const std::string& wanted);
[[noreturn]] void refuse_type(const std::string& what, const std::string& came,
                              const std::string& wanted);

/// "str", "numpy.ndarray"
std::string class_name(nb::handle object);

bool to_bool(const char* name, nb::handle object);
double to_double(const char* name, nb::handle object);
/// None: nothing.
std::optional<float> to_float(const char* name, nb::handle object);

/// A whole number, if the object is one (an array is not).
std::optional<std::int64_t> as_int64(const char* name, nb::handle object);
std::int64_t to_int64(const char* name, nb::handle object);
/// A list, tuple or one-dimensional array. None: empty.
std::vector<std::int64_t> to_int64s(const char* name, nb::handle object);
std::vector<float> to_floats(const char* name, nb::handle object);

/// What is used of NumPy, looked up once.
struct Numpy {
  nb::object empty, float32, float16;
  static const Numpy& get();
};

/// A whole number as a parameter: Python's and NumPy's integers, no truth value.
struct Whole {
  std::int64_t value = 0;
  operator std::int64_t() const { return value; }  // NOLINT(google-explicit-constructor)
};

}  // namespace regard::python

template <>
struct nanobind::detail::type_caster<regard::python::Whole> {
  NB_TYPE_CASTER(regard::python::Whole, const_name("int"))
  static handle from_cpp(regard::python::Whole number, rv_policy, cleanup_list*) noexcept {
    return PyLong_FromLongLong(number.value);
  }
  bool from_python(handle object, std::uint32_t, cleanup_list*) noexcept {
    try {
      const auto number = regard::python::as_int64("", object);
      if (number) value = {*number};
      return number.has_value();
    } catch (...) {  // of more than 64 bits
      return false;
    }
  }
};
