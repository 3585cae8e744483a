// src/api/c_support.h - what the C functions share: errors as codes, versioned structs, views.
#pragma once

#include <atomic>
#include <memory>
#include <memory_resource>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <system_error>

#include "api/check.h"
#include "regard/attention.h"
#include "regard/c/regard.h"

struct regard_executor {  // NOLINT(readability-identifier-naming): C's name
  std::unique_ptr<regard::Executor> executor;
};

struct regard_cancel {  // NOLINT(readability-identifier-naming)
  std::atomic<bool> raised{false};
};

namespace regard::api {

/// Keeps the message for regard_last_error(); allocates nothing.
regard_status fail(regard_status status, const char* message) noexcept;

/// Does the work; whatever it throws becomes a code and a message.
template <class Work>
regard_status guarded(const Work& work) noexcept {
  try {
    work();
    return REGARD_OK;
  } catch (const Cancelled& error) {
    return fail(REGARD_CANCELLED, error.what());
  } catch (const std::invalid_argument& error) {
    return fail(REGARD_INVALID_ARGUMENT, error.what());
  } catch (const std::bad_alloc&) {
    return fail(REGARD_OUT_OF_MEMORY, "out of memory");
  } catch (const std::length_error&) {  // more than any memory holds
    return fail(REGARD_OUT_OF_MEMORY, "out of memory");
  } catch (const std::system_error& error) {
    return fail(REGARD_SYSTEM_ERROR, error.what());
  } catch (const std::exception& error) {
    return fail(REGARD_INTERNAL_ERROR, error.what());
  } catch (...) {
    return fail(REGARD_INTERNAL_ERROR, "an exception that is no std::exception");
  }
}

/// What an argument that must be there points to.
template <class T>
T& required(const char* what, T* given) {
  if (given == nullptr) refuse(what, "null", "a pointer to one");
  return *given;
}

/// *handle = make(), or null when that throws.
template <class Handle, class Make>
regard_status create(const char* what, Handle** handle, const Make& make) noexcept {
  return guarded([&] {
    required(what, handle) = nullptr;
    *handle = make().release();
  });
}

/// The size that a versioned struct says it has; throws where none can have it.
std::size_t checked_size(const char* what, const void* versioned);

/// Copies a versioned struct of any age over `known`, which is all zero; throws where it has
/// something that this library does not know.
void copy_versioned(const char* what, const void* given, void* known, std::size_t known_size);

/// Null: all defaults.
template <class T>
T versioned(const char* what, const T* given) {
  T known{};
  if (given != nullptr) copy_versioned(what, given, &known, sizeof(T));
  return known;
}

/// `what` names the argument: "attention: query".
InputView<4> input_of(const char* what, const regard_input* view);
OutputView<4> output_of(const char* what, const regard_output* view);
std::optional<TensorView<float, 3>> lse_of(const regard_lse* view);
DType dtype_of_c(const std::string& what, regard_dtype dtype);
std::span<const std::int64_t> span_of(const char* what, const regard_ints& numbers);
std::span<const float> span_of(const char* what, const regard_floats& numbers);
inline Executor* executor_of(const regard_executor* handle) {
  return handle == nullptr ? nullptr : handle->executor.get();
}

/// Scratch memory from a host's functions.
class HostMemory final : public std::pmr::memory_resource {
 public:
  explicit HostMemory(const regard_allocator& host);

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override;
  void do_deallocate(void* memory, std::size_t bytes, std::size_t alignment) override;
  bool do_is_equal(const memory_resource& other) const noexcept override { return this == &other; }

  regard_allocator host_;
};

/// C's options as C++ has them, with the memory that they point to.
class HostOptions {
 public:
  explicit HostOptions(const regard_options* given);
  HostOptions(const HostOptions&) = delete;
  HostOptions& operator=(const HostOptions&) = delete;
  const AttentionOptions& get() const { return options_; }

 private:
  std::optional<HostMemory> memory_;
  AttentionOptions options_;
};

RunOptions run_options_of(const regard_run_options* given);

}  // namespace regard::api
