// tests/support/saved_cache.cc - files of caches, and files changed on purpose (without gtest, for
// fuzzing).
#include "support/saved_cache.h"

#include <stdlib.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <iterator>
#include <span>

#include "cache/crc32c.h"
#include "cache/snapshot_format.h"

namespace regard::test {
TempFolder::TempFolder(const std::filesystem::path& parent) {
  std::string name = (parent / "regard-test-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no folder " + name);
  path_ = name;
}

TempFolder::~TempFolder() {
  std::error_code error;
  std::filesystem::remove_all(path_, error);
}

std::vector<std::string> TempFolder::names() const {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(path_))
    names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
  return names;
}

std::string read_bytes(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_bytes(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

std::string contents(const PagedKvCache& cache, PagedKvCache::Sequence sequence) {
  const PagedView view = cache.view(sequence);
  const std::int64_t element = static_cast<std::int64_t>(size_of(view.dtype));
  std::string all = std::to_string(view.kv_lens[0]) + " without " +
                    std::to_string(view.evicted_begin[0]) + ".." +
                    std::to_string(view.evicted_end[0]) + ":";
  const auto take = [&](std::int64_t j, std::int64_t row, std::int64_t offset, std::int64_t bytes) {
    const auto* page = reinterpret_cast<const char*>(view.tables[0][j / view.page_size]);
    all.append(page + offset + row * bytes, static_cast<std::size_t>(bytes));
  };
  for (std::int64_t j = 0; j < view.kv_lens[0]; ++j) {
    if (j >= view.evicted_begin[0] && j < view.evicted_end[0]) continue;
    for (std::int64_t layer = 0; layer < view.num_layers; ++layer) {
      for (std::int64_t head = 0; head < view.num_kv_heads; ++head) {
        const std::int64_t row = head * view.page_size + j % view.page_size;
        const std::int64_t begin = layer * view.layer_bytes;
        take(j, row, begin + view.key_offset, view.head_dim * element);
        take(j, row, begin + view.value_offset, view.value_dim * element);
        if (view.dtype != DType::kI8) continue;
        take(j, row, begin + view.key_scale_offset, 4);
        take(j, row, begin + view.value_scale_offset, 4);
      }
    }
  }
  return all;
}

std::string with_right_checksums(std::string bytes, const KvCacheShape& shape) {
  using cache::FileHeader;
  FileHeader header;
  if (bytes.size() < sizeof header + cache::kChecksumBytes) return bytes;
  const std::uint64_t size = bytes.size();
  std::memcpy(bytes.data() + offsetof(FileHeader, file_bytes), &size, sizeof size);
  const auto all = std::as_writable_bytes(std::span(bytes));
  std::uint32_t crc = 0;
  const auto put_checksum = [&](std::uint64_t begin, std::uint64_t length) {
    if (begin > size || length > size - begin || size - begin - length < sizeof crc) return false;
    crc = cache::crc32c(all.subspan(begin, length), crc);
    std::memcpy(all.data() + begin + length, &crc, sizeof crc);
    return true;
  };
  put_checksum(0, offsetof(FileHeader, checksum));
  std::memcpy(&header, bytes.data(), sizeof header);
  std::uint64_t at = sizeof header;
  if (!put_checksum(at, header.table_bytes)) return bytes;
  try {
    const cache::SavedTable table =
        cache::decode_table("", all.subspan(at, header.table_bytes), header.num_sequences);
    at += header.table_bytes + sizeof crc;
    for (const std::uint32_t tokens : table.tokens) {
      const std::uint64_t record = cache::record_bytes(shape, tokens);
      if (!put_checksum(at, record)) break;
      at += record + sizeof crc;
    }
  } catch (const std::runtime_error&) {
    return bytes;  // nobody can say where its records are
  }
  return bytes;
}

}  // namespace regard::test
