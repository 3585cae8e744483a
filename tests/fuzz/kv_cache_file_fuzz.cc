// tests/fuzz/kv_cache_file_fuzz.cc - any bytes as a cache's file: loaded or refused on one line,
// and what is loaded can be saved and loaded again.
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>

#include "regard/kv_cache.h"
#include "support/saved_cache.h"

namespace {

using namespace regard;

/// The first byte chooses the cache; the rest is the file.
KvCacheShape shape_of(std::uint8_t choice) {
  constexpr std::int64_t kPageSizes[] = {16, 32, 48, 256};
  return {.num_layers = 1,
          .num_kv_heads = 1,
          .head_dim = 2,
          .value_dim = 1,
          .dtype = static_cast<DType>(choice & 3U),
          .page_size = kPageSizes[choice >> 2U & 3U],
          .budget_bytes = 1 << 14,
          .fingerprint = "model"};
}

std::filesystem::path file_of(const std::string& bytes) {
  static const int fd = ::memfd_create("fuzz", 0);
  if (::ftruncate(fd, 0) != 0 ||
      ::pwrite(fd, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    std::abort();
  return "/proc/self/fd/" + std::to_string(fd);
}

/// A cache with the contents of the loaded one saves them, and they come back.
void save_and_load(const PagedKvCache& cache, const std::vector<SavedSequence>& loaded) {
  static const test::TempFolder folder("/dev/shm");  // a disk would be too slow
  cache.save_all(folder / "again", loaded);
  KvCacheShape shape = cache.shape();
  shape.page_size = 16;
  shape.budget_bytes = 1 << 22;
  PagedKvCache other(shape);
  const std::vector<SavedSequence> again = other.load_all(folder / "again");
  if (again.size() != loaded.size()) std::abort();
  for (std::size_t i = 0; i < again.size(); ++i) {
    if (again[i].ids != loaded[i].ids ||
        test::contents(other, again[i].sequence) != test::contents(cache, loaded[i].sequence))
      std::abort();
  }
}

void load(const KvCacheShape& shape, const std::string& bytes) {
  PagedKvCache cache(shape);
  try {
    const std::vector<SavedSequence> loaded = cache.load_all(file_of(bytes));
    save_and_load(cache, loaded);
    for (const SavedSequence& each : loaded) cache.release(each.sequence);
  } catch (const std::runtime_error& error) {
    if (std::string(error.what()).find('\n') != std::string::npos) std::abort();
  }
  const KvCacheStats stats = cache.stats();
  if (stats.used_pages != 0 || stats.num_sequences != 0) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const KvCacheShape shape = shape_of(data[0]);
  const std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  load(shape, bytes);
  // Checksums would keep nearly everything away from the reader.
  load(shape, regard::test::with_right_checksums(bytes, shape));
  return 0;
}
