// python/bindings/convert.cc - Python's numbers and lists as C++'s, and errors in the engine's one
// wording.
#include "convert.h"

#include <stdexcept>

namespace regard::python {
namespace {

/// NumPy's scalars too, but no array, and no truth value.
bool is_whole(nb::handle object) {
  return PyIndex_Check(object.ptr()) && !PyBool_Check(object.ptr()) &&
         !nb::hasattr(object, "__dlpack__") && class_name(object) != "numpy.bool";
}

/// Lists and arrays alike: list(object).
nb::list items(const char* name, nb::handle object, const char* wanted) {
  if (PyUnicode_Check(object.ptr()) || PyBytes_Check(object.ptr()) || PyDict_Check(object.ptr()) ||
      !nb::hasattr(object, "__len__"))
    refuse_type(name, "a " + class_name(object), wanted);
  const nb::object values =
      nb::hasattr(object, "tolist") ? nb::object(object.attr("tolist")()) : nb::borrow(object);
  if (!nb::hasattr(values, "__len__")) refuse_type(name, "a scalar", wanted);
  return nb::list(values);
}

std::string at(const char* name, std::size_t i) {
  return std::string(name) + "[" + std::to_string(i) + "]";
}

}  // namespace

void refuse(const std::string& what, const std::string& came, const std::string& wanted) {
  throw std::invalid_argument(what + " is " + came + ", expected " + wanted);
}

void refuse_type(const std::string& what, const std::string& came, const std::string& wanted) {
  throw nb::type_error((what + " is " + came + ", expected " + wanted).c_str());
}

std::string class_name(nb::handle object) {
  const nb::handle type = object.type();
  const std::string name = nb::str(nb::getattr(type, "__name__")).c_str();
  const std::string module = nb::str(nb::getattr(type, "__module__")).c_str();
  return module == "builtins" ? name : module + "." + name;
}

bool to_bool(const char* name, nb::handle object) {
  if (object.is(Py_True)) return true;
  if (object.is(Py_False)) return false;
  if (class_name(object).find("numpy.bool") == 0) return nb::cast<bool>(object.attr("item")());
  refuse_type(name, "a " + class_name(object), "True or False");
}

double to_double(const char* name, nb::handle object) {
  const bool is_number = PyFloat_Check(object.ptr()) || is_whole(object) ||
                         (nb::hasattr(object, "__float__") && !PyBool_Check(object.ptr()));
  if (!is_number) refuse_type(name, "a " + class_name(object), "a number");
  const double value = PyFloat_AsDouble(object.ptr());
  if (value == -1 && PyErr_Occurred()) {
    PyErr_Clear();
    refuse_type(name, "a " + class_name(object), "a number");
  }
  return value;
}

std::optional<float> to_float(const char* name, nb::handle object) {
  if (object.is_none()) return {};
  return static_cast<float>(to_double(name, object));
}

std::optional<std::int64_t> as_int64(const char* name, nb::handle object) {
  if (!is_whole(object)) return {};
  const nb::object index = nb::steal(PyNumber_Index(object.ptr()));
  if (!index.is_valid()) {
    PyErr_Clear();
    return {};
  }
  int overflow = 0;
  const long long value = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
  if (overflow != 0) refuse(name, nb::str(index).c_str(), "a number of 64 bits");
  return value;
}

std::int64_t to_int64(const char* name, nb::handle object) {
  const auto value = as_int64(name, object);
  if (!value) refuse_type(name, "a " + class_name(object), "a whole number");
  return *value;
}

std::vector<std::int64_t> to_int64s(const char* name, nb::handle object) {
  std::vector<std::int64_t> values;
  if (object.is_none()) return values;
  for (nb::handle item : items(name, object, "a list or array of whole numbers"))
    values.push_back(to_int64(at(name, values.size()).c_str(), item));
  return values;
}

std::vector<float> to_floats(const char* name, nb::handle object) {
  std::vector<float> values;
  if (object.is_none()) return values;
  for (nb::handle item : items(name, object, "a list or array of numbers"))
    values.push_back(static_cast<float>(to_double(at(name, values.size()).c_str(), item)));
  return values;
}

const Numpy& Numpy::get() {
  static const Numpy* numpy = [] {
    const nb::module_ module = nb::module_::import_("numpy");
    return new Numpy{module.attr("empty"), module.attr("dtype")("float32"),
                     module.attr("dtype")("float16")};  // never freed: Python may be gone by then
  }();
  return *numpy;
}

}  // namespace regard::python
