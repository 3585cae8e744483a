// src/model/gguf.cc - an open GGUF file: metadata by type, tensors by shape.
#include "regard/model/gguf.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

#include "model/block_format.h"
#include "model/gguf_header.h"
#include "model/input_file.h"
#include "model/json.h"

namespace regard::model {
namespace {

template <class T>
constexpr const char* kTypeName = nullptr;
template <>
constexpr const char* kTypeName<std::int64_t> = "an integer";
template <>
constexpr const char* kTypeName<double> = "a number with a fraction";
template <>
constexpr const char* kTypeName<bool> = "a truth value";
template <>
constexpr const char* kTypeName<std::string> = "a string";
template <>
constexpr const char* kTypeName<std::vector<std::int64_t>> = "an array of integers";
template <>
constexpr const char* kTypeName<std::vector<double>> = "an array of numbers with fractions";
template <>
constexpr const char* kTypeName<std::vector<std::string>> = "an array of strings";

std::string type_name(const GgufValue& value) {
  return std::visit([]<class T>(const T&) { return std::string(kTypeName<T>); }, value);
}

std::string shape_text(std::span<const std::int64_t> shape) {
  std::string text = "(";
  for (std::size_t i = 0; i < shape.size(); ++i)
    text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + ")";
}

}  // namespace

struct GgufFile::Impl {
  InputFile file;
  GgufHeader header;
};

GgufFile::GgufFile(const std::filesystem::path& path) {
  InputFile file(path);
  GgufHeader header =
      read_gguf_header({file.size(), path.string(), [&](std::uint64_t at, std::span<char> to) {
                          file.read(at, to.data(), to.size());
                        }});
  impl_ = std::make_unique<Impl>(Impl{std::move(file), std::move(header)});
}
GgufFile::~GgufFile() = default;
GgufFile::GgufFile(GgufFile&&) noexcept = default;
GgufFile& GgufFile::operator=(GgufFile&&) noexcept = default;

const std::filesystem::path& GgufFile::path() const { return impl_->file.path(); }
const std::map<std::string, GgufValue, std::less<>>& GgufFile::metadata() const {
  return impl_->header.metadata;
}
const std::map<std::string, GgufTensor, std::less<>>& GgufFile::tensors() const {
  return impl_->header.tensors;
}
void GgufFile::fail(const std::string& what) const { impl_->file.fail(what); }

template <class T>
const T* GgufFile::find(std::string_view key) const {
  const auto found = metadata().find(key);
  if (found == metadata().end()) return nullptr;
  const T* value = std::get_if<T>(&found->second);
  if (value == nullptr)
    fail(in_quotes(key) + " is " + type_name(found->second) + ", expected " + kTypeName<T>);
  return value;
}

template <class T>
const T& GgufFile::at(std::string_view key) const {
  const T* value = find<T>(key);
  if (value == nullptr) fail(in_quotes(key) + " is missing, expected " + kTypeName<T>);
  return *value;
}

#define REGARD_GGUF_TYPE(T)                                    \
  template const T* GgufFile::find<T>(std::string_view) const; \
  template const T& GgufFile::at<T>(std::string_view) const;
REGARD_GGUF_TYPE(std::int64_t)
REGARD_GGUF_TYPE(double)
REGARD_GGUF_TYPE(bool)
REGARD_GGUF_TYPE(std::string)
REGARD_GGUF_TYPE(std::vector<std::int64_t>)
REGARD_GGUF_TYPE(std::vector<double>)
REGARD_GGUF_TYPE(std::vector<std::string>)
#undef REGARD_GGUF_TYPE

std::int64_t GgufFile::integer(std::string_view key, std::int64_t least, std::int64_t most,
                               std::optional<std::int64_t> otherwise) const {
  if (otherwise && metadata().find(key) == metadata().end()) return *otherwise;
  const std::int64_t value = at<std::int64_t>(key);
  if (value >= least && value <= most) return value;
  fail(in_quotes(key) + " is " + std::to_string(value) + ", expected " + std::to_string(least) +
       ".." + std::to_string(most));
}

double GgufFile::real(std::string_view key, std::optional<double> otherwise) const {
  if (otherwise && metadata().find(key) == metadata().end()) return *otherwise;
  const double value = at<double>(key);
  if (!std::isfinite(value))
    fail(in_quotes(key) + " is " + std::to_string(value) + ", expected a finite number");
  return value;
}

const GgufTensor& GgufFile::tensor(std::string_view name,
                                   std::span<const std::int64_t> shape) const {
  const auto found = tensors().find(name);
  if (found == tensors().end())
    fail("tensor " + in_quotes(name) + " is missing, expected " + shape_text(shape));
  if (!std::ranges::equal(found->second.shape, shape)) {
    fail("tensor " + in_quotes(name) + " is " + shape_text(found->second.shape) + ", expected " +
         shape_text(shape));
  }
  return found->second;
}

void GgufFile::read(std::uint64_t begin, std::span<std::byte> out) const {
  impl_->file.read(begin, out.data(), out.size());
}

std::vector<float> GgufFile::read_f32(std::string_view name,
                                      std::span<const std::int64_t> shape) const {
  const GgufTensor& found = tensor(name, shape);
  std::vector<std::byte> bytes(found.end - found.begin);
  read(found.begin, bytes);
  const BlockFormatInfo& format = info(static_cast<BlockFormat>(found.type));
  std::vector<float> numbers(bytes.size() / static_cast<std::size_t>(format.bytes) *
                             static_cast<std::size_t>(format.elements));
  dequantize(format.format, bytes, numbers);
  const auto bad = std::ranges::find_if_not(numbers, [](float x) { return std::isfinite(x); });
  if (bad != numbers.end()) {
    fail("tensor " + in_quotes(name) + " holds " + std::to_string(*bad) + " at element " +
         std::to_string(bad - numbers.begin()) + ", expected finite numbers");
  }
  return numbers;
}

}  // namespace regard::model
