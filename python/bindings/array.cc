// python/bindings/array.cc - arrays of any library as strided views, and results of the caller's
// kind.
#include "array.h"

#include "convert.h"

namespace regard::python {
namespace {

Element element_of(nb::dlpack::dtype dtype) {
  using Code = nb::dlpack::dtype_code;
  if (dtype.lanes != 1) return Element::kOther;
  const auto is = [&](Code code, int bits) {
    return dtype.code == static_cast<std::uint8_t>(code) && dtype.bits == bits;
  };
  if (is(Code::Float, 32)) return Element::kF32;
  if (is(Code::Bfloat, 16)) return Element::kBf16;
  if (is(Code::Float, 16)) return Element::kF16;
  if (is(Code::Float, 64)) return Element::kF64;
  if (is(Code::Bool, 8)) return Element::kBool;
  if (is(Code::Int, 32)) return Element::kInt32;
  if (is(Code::Int, 64)) return Element::kInt64;
  return Element::kOther;
}

nb::dlpack::dtype dlpack_dtype(Element element) {
  using Code = nb::dlpack::dtype_code;
  switch (element) {
    case Element::kBf16:
      return {static_cast<std::uint8_t>(Code::Bfloat), 16, 1};
    case Element::kF16:
      return {static_cast<std::uint8_t>(Code::Float), 16, 1};
    default:
      return {static_cast<std::uint8_t>(Code::Float), 32, 1};
  }
}

void set_layout(Array& array, std::size_t rank, const std::int64_t* shape,
                const std::int64_t* strides) {
  if (rank > Array::kMostRank)
    refuse(array.name, "of rank " + std::to_string(rank), "one of rank 4 or less");
  array.rank = rank;
  std::int64_t step = 1;
  for (std::size_t i = rank; i-- > 0;) {  // no strides: row-major
    array.shape[i] = shape[i];
    array.strides[i] = strides == nullptr ? step : strides[i];
    step *= shape[i];
  }
}

std::string text_of(nb::handle object) { return nb::str(object).c_str(); }

/// The exchange functions of a type that has them in a version that we know.
const DlpackExchange* exchange_of(nb::handle type) {
  nb::object capsule = nb::getattr(type, "__dlpack_c_exchange_api__", nb::none());
  if (!PyCapsule_IsValid(capsule.ptr(), "dlpack_exchange_api")) return nullptr;
  const auto* exchange = static_cast<const DlpackExchange*>(
      PyCapsule_GetPointer(capsule.ptr(), "dlpack_exchange_api"));
  while (exchange != nullptr && exchange->version.major != 1) exchange = exchange->previous;
  return exchange != nullptr && exchange->tensor_from_object != nullptr ? exchange : nullptr;
}

/// PyTorch, with gradients on: the engine's result would not be part of the graph.
void refuse_gradients(const Array& array) {
  if (!nb::cast<bool>(nb::getattr(array.object, "requires_grad", nb::bool_(false)))) return;
  if (!nb::cast<bool>(nb::module_::import_("torch").attr("is_grad_enabled")())) return;
  throw nb::type_error((std::string(array.name) + " tracks gradients, expected one that does not: "
                                                  "use it under torch.no_grad(), or detach() it")
                           .c_str());
}

/// PyTorch's lazy negation (x.conj().imag) is a bit that DLPack does not tell of: made true here.
void resolve_negation(Array& array, bool writable) {
  const nb::object is_negated = nb::getattr(array.object, "is_neg", nb::none());
  if (is_negated.is_none() || !nb::cast<bool>(is_negated())) return;
  if (writable) refuse(array.name, "a negated view", "plain memory");
  array.object = array.object.attr("resolve_neg")();
}

void refuse_device(const Array& array) {
  const std::string device =
      text_of(nb::getattr(array.object, "device", nb::str("another device")));
  refuse_type(array.name, "on " + device, "one in the CPU's memory");
}

bool import_by_exchange(Array& array, bool writable) {
  array.exchange = exchange_of(array.object.type());
  if (array.exchange == nullptr) return false;
  refuse_gradients(array);
  resolve_negation(array, writable);
  nb::dlpack::dltensor tensor{};
  if (array.exchange->tensor_from_object(array.object.ptr(), &tensor) != 0) {
    const nb::python_error error;  // takes Python's error
    if (nb::hasattr(array.object, "device") && text_of(array.object.attr("device")) != "cpu")
      refuse_device(array);
    const std::string why = text_of(error.value());
    refuse_type(array.name, "without strided memory (" + why.substr(0, why.find('\n')) + ")",
                "a dense array");
  }
  if (tensor.device.device_type != nb::device::cpu::value) refuse_device(array);
  array.data = static_cast<char*>(tensor.data) + tensor.byte_offset;
  array.element = element_of(tensor.dtype);
  set_layout(array, static_cast<std::size_t>(tensor.ndim), tensor.shape, tensor.strides);
  return true;
}

/// NumPy's extension types (ml_dtypes) are exported as what they are made of.
bool is_bfloat16(nb::handle object) {
  const nb::object dtype = nb::getattr(object, "dtype", nb::none());
  return nb::hasattr(dtype, "name") && text_of(dtype.attr("name")) == "bfloat16" &&
         nb::hasattr(object, "view");
}

template <class Exported>
bool try_export(Array& array, nb::handle object) {
  Exported exported;
  if (!nb::try_cast(object, exported)) return false;
  PyErr_Clear();
  if (exported.device_type() != nb::device::cpu::value) refuse_device(array);
  array.data = exported.data_handle() == nullptr ? nullptr : const_cast<void*>(exported.data());
  array.element = element_of(exported.dtype());
  set_layout(array, exported.ndim(), exported.shape_ptr(), exported.stride_ptr());
  array.exported = nb::ndarray<nb::ro>(exported);
  return true;
}

bool is_array(nb::handle object) {
  return nb::ndarray_check(object) || nb::hasattr(object, "__dlpack__");
}

}  // namespace

std::string Array::describe_shape() const {
  std::string text = "(";
  for (std::size_t i = 0; i < rank; ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + (rank == 1 ? ",)" : ")");
}

Array import_array(const char* name, nb::handle object, bool writable) {
  Array array;
  array.name = name;
  array.object = nb::borrow(object);
  // What has the buffer protocol is NumPy's, or as plain; asking it for the other would cost more.
  const bool has_buffer = PyObject_CheckBuffer(object.ptr()) != 0;
  if (!has_buffer && import_by_exchange(array, writable)) return array;
  using Written = nb::ndarray<>;
  using Read = nb::ndarray<nb::ro>;
  if (writable ? try_export<Written>(array, object) : try_export<Read>(array, object)) return array;
  PyErr_Clear();
  if (is_bfloat16(object)) {
    const nb::object bits = object.attr("view")("uint16");
    if (writable ? try_export<Written>(array, bits) : try_export<Read>(array, bits)) {
      array.element = Element::kBf16;
      return array;
    }
  } else if (writable && try_export<Read>(array, object)) {
    refuse(name, "read-only", "one that can be written");
  }
  if (!is_array(object)) refuse_type(name, "a " + class_name(object), "an array");
  if (nb::hasattr(object, "dtype"))
    refuse_type(name, text_of(object.attr("dtype")),
                "float32, bfloat16 or float16 in plain strides");
  refuse_type(name, "a " + class_name(object) + " that gives no strided memory", "an array");
}

DType dtype_of(const Array& array) {
  switch (array.element) {
    case Element::kF32:
      return DType::kF32;
    case Element::kBf16:
      return DType::kBf16;
    case Element::kF16:
      return DType::kF16;
    default:
      break;
  }
  const nb::object dtype = nb::getattr(array.object, "dtype", nb::none());
  refuse_type(array.name, dtype.is_none() ? "of another type" : text_of(dtype),
              "float32, bfloat16 or float16");
}

Element element_of(DType dtype) {
  return dtype == DType::kF32    ? Element::kF32
         : dtype == DType::kBf16 ? Element::kBf16
                                 : Element::kF16;
}

void set_axes(const Array& array, bool is_packed, Axes& shape, Axes& strides) {
  for (std::size_t i = 0; i < 4; ++i) {
    if (i + array.rank < 4) {
      shape[i] = 1;
      strides[i] = 0;
      continue;
    }
    const std::size_t axis = i + array.rank - 4;
    const std::size_t from = is_packed && axis < 2 ? 1 - axis : axis;
    shape[i] = array.shape[from];
    strides[i] = array.strides[from];
  }
}

ScoreLayout layout_of_scores(const Array& array, std::int64_t q_len, std::int64_t kv_len) {
  if (array.rank > 4)
    refuse(array.name, "of shape " + array.describe_shape(),
           "one that broadcasts to (batch, heads, q_len, kv_len)");
  ScoreLayout layout{};
  set_axes(array, false, layout.shape, layout.strides);
  const auto broadcast = [&](std::size_t axis, std::int64_t wanted, const char* what) {
    if (layout.shape[axis] == wanted) return;
    if (layout.shape[axis] != 1)
      refuse(std::string(array.name) + ".shape[" + std::to_string(static_cast<int>(axis) - 4) + "]",
             std::to_string(layout.shape[axis]),
             (wanted == 1 ? "1 (" : "1 or " + std::to_string(wanted) + " (") + what + ")");
    layout.shape[axis] = wanted;
    layout.strides[axis] = 0;
  };
  broadcast(2, q_len, "q_len");
  broadcast(3, kv_len, "kv_len");
  return layout;
}

nb::object new_array(const Array& like, Element element, const std::vector<std::int64_t>& shape) {
  if (like.exchange != nullptr) {
    auto extents = shape;
    nb::dlpack::dltensor prototype{};
    prototype.device = {nb::device::cpu::value, 0};
    prototype.ndim = static_cast<std::int32_t>(shape.size());
    prototype.dtype = dlpack_dtype(element);
    prototype.shape = extents.data();
    ManagedTensor* tensor = nullptr;
    std::string error;
    const auto set_error = [](void* context, const char*, const char* message) {
      *static_cast<std::string*>(context) = message;
    };
    if (like.exchange->allocate(&prototype, &tensor, &error, set_error) != 0)
      throw std::runtime_error("attention: could not allocate the result: " + error);
    void* object = nullptr;
    if (like.exchange->object_from_managed(tensor, &object) != 0) nb::raise_python_error();
    return nb::steal(static_cast<PyObject*>(object));
  }
  nb::tuple extents = nb::steal<nb::tuple>(PyTuple_New(static_cast<Py_ssize_t>(shape.size())));
  for (std::size_t i = 0; i < shape.size(); ++i)
    PyTuple_SET_ITEM(extents.ptr(), static_cast<Py_ssize_t>(i), PyLong_FromLongLong(shape[i]));
  const Numpy& numpy = Numpy::get();
  switch (element) {
    case Element::kF32:
      return numpy.empty(extents, numpy.float32);
    case Element::kF16:
      return numpy.empty(extents, numpy.float16);
    default:
      return numpy.empty(extents, like.object.attr("dtype"));  // bfloat16 as it came
  }
}

nb::object finish_array(const Array& like, nb::object made) {
  if (like.exchange != nullptr || !nb::hasattr(like.object, "__array_namespace__")) return made;
  if (PyObject_CheckBuffer(like.object.ptr()) && like.object.type().is(made.type())) return made;
  return like.object.attr("__array_namespace__")().attr("asarray")(made);
}

}  // namespace regard::python
