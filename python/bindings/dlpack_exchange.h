// python/bindings/dlpack_exchange.h - the part of DLPack 1.3 that gives a tensor's address without
// a Python call (DLPackExchangeAPI; PyTorch has it since 2.10). nanobind's ndarray asks __dlpack__,
// which takes 5 us for three tensors of PyTorch; this takes 0.3.
#pragma once

#include <nanobind/ndarray.h>

#include <cstdint>

namespace regard::python {

struct DlpackVersion {
  std::uint32_t major, minor;
};
struct ManagedTensor {
  DlpackVersion version;
  void* manager_context;
  void (*deleter)(ManagedTensor*);
  std::uint64_t flags;
  nanobind::dlpack::dltensor tensor;
};

/// What type(tensor).__dlpack_c_exchange_api__ points to. All return 0, or -1 with a Python error.
struct DlpackExchange {
  DlpackVersion version;
  DlpackExchange* previous;
  int (*allocate)(nanobind::dlpack::dltensor* prototype, ManagedTensor** out, void* context,
                  void (*set_error)(void* context, const char* kind, const char* message));
  int (*managed_from_object)(void* object, ManagedTensor** out);
  int (*object_from_managed)(ManagedTensor* tensor, void** object);
  int (*tensor_from_object)(void* object, nanobind::dlpack::dltensor* out);
  int (*current_stream)(std::int32_t device_type, std::int32_t device_id, void** stream);
};

}  // namespace regard::python
