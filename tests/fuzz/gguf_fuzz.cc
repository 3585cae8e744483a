// tests/fuzz/gguf_fuzz.cc - any bytes as a GGUF file: read or refused on one line, never a crash,
// and so for the decoder, the tokenizer and the chat template that may be in it.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "fuzz/check_tokens.h"
#include "regard/model/chat.h"
#include "regard/model/decoder.h"
#include "regard/model/gguf.h"
#include "regard/model/tokenizer.h"

namespace {

using namespace regard;
using namespace regard::model;

template <class Run>
void one_line_or_nothing(const Run& run) {
  try {
    run();
  } catch (const std::runtime_error& error) {
    if (std::string(error.what()).find('\n') != std::string::npos) std::abort();
  }
}

/// What the header's reader promises of the tensors that it lets through, and their numbers.
void read_tensors(const GgufFile& file, std::uint64_t file_bytes) {
  std::uint64_t bytes = 0;
  for (const auto& [name, tensor] : file.tensors()) {
    if (tensor.begin > tensor.end || tensor.end > file_bytes) std::abort();
    for (const std::int64_t extent : tensor.shape) {
      if (extent < 1) std::abort();
    }
    bytes += tensor.end - tensor.begin;
    one_line_or_nothing([&, &name = name, &shape = tensor.shape] { file.read_f32(name, shape); });
  }
  if (bytes > file_bytes) std::abort();  // they overlap
}

/// A few tokens, where the model is small enough.
void run_decoder(const Decoder& decoder) {
  const DecoderConfig& config = decoder.config();
  if (config.num_layers > 4 || config.num_kv_heads > 64) return;
  KvCacheShape shape = decoder.cache_shape(DType::kF32);
  shape.page_size = 16;
  PagedKvCache cache(shape);
  const std::vector<std::int32_t> ids(
      static_cast<std::size_t>(std::min<std::int64_t>(3, config.context_length)), 0);
  const DecoderInput input{cache.create(), ids};
  std::vector<float> logits(static_cast<std::size_t>(config.vocab_size));
  decoder.run(cache, std::span(&input, 1), {logits.data(), {1, config.vocab_size}});
}

/// The texts hold what a small vocabulary has.
void run_tokenizer(const Tokenizer& tokenizer) {
  for (const std::string_view text :
       {"", " the bank", "\u00C9\u2581  a<s>b\n\nab", "</s>\xF0\x9F\x99\x82 abab aab"}) {
    test::check_tokens(tokenizer, text);
    test::check_decoding(tokenizer, text, false);
  }
}

/// A name that ends as a tokenizer's file must.
class Link {
 public:
  explicit Link(const std::string& to) {
    std::string name = (std::filesystem::temp_directory_path() / "regard-fuzz-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    folder_ = name;
    std::filesystem::create_symlink(to, path());
  }
  ~Link() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  std::filesystem::path path() const { return folder_ / "fuzz.gguf"; }

 private:
  std::filesystem::path folder_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const int fd = ::memfd_create("fuzz", 0);
  if (::ftruncate(fd, 0) != 0 || ::pwrite(fd, data, size, 0) != static_cast<ssize_t>(size))
    std::abort();
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  one_line_or_nothing([&] { read_tensors(GgufFile(path), size); });
  static const Link link(path);
  one_line_or_nothing([&] { run_tokenizer(Tokenizer::load(link.path())); });
  one_line_or_nothing([&] { ChatTemplate::load(path); });
  one_line_or_nothing([&] { run_decoder(Decoder::load(path)); });
  return 0;
}
