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

}  // namespace regard::python
