// src/cache/save_snapshot.cc - sequences of the store into a file.
#include <cstring>
#include <map>
#include <utility>

#include "cache/crc32c.h"
#include "cache/file.h"
#include "cache/snapshot.h"
#include "cache/snapshot_format.h"

namespace regard::cache {
namespace {

/// The blocks of sequences: a part of a page is one block, whoever holds the page.
class Blocks {
 public:
  /// Any sequence that has the block, and its first token there.
  struct Source {
    const SequenceState* state;
    std::int64_t position;
  };

  explicit Blocks(std::int64_t page_size) : page_size_(page_size) {}

  std::vector<std::uint32_t> number(const SequenceState& s) {
    std::vector<std::uint32_t> numbers;
    for (std::int64_t at = 0; at < s.length; at += kBlockTokens) {
      const std::int32_t page = s.pages[static_cast<std::size_t>(at / page_size_)];
      if (page == SequenceState::kEvicted) {
        numbers.push_back(SavedState::kNoBlock);
        continue;
      }
      const auto next = static_cast<std::uint32_t>(sources_.size());
      const auto [known, is_new] = known_.try_emplace({page, at % page_size_}, next);
      if (is_new) sources_.push_back({&s, at});
      numbers.push_back(known->second);
    }
    return numbers;
  }
  const std::vector<Source>& sources() const { return sources_; }

 private:
  std::int64_t page_size_;
  std::map<std::pair<std::int32_t, std::int64_t>, std::uint32_t> known_;
  std::vector<Source> sources_;
};

FileHeader header_of(const KvCacheShape& shape, const SavedTable& table, std::size_t table_bytes) {
  FileHeader header{.dtype = static_cast<std::uint32_t>(shape.dtype),
                    .file_bytes = sizeof(FileHeader) + table_bytes + kChecksumBytes,
                    .table_bytes = table_bytes,
                    .num_layers = static_cast<std::uint64_t>(shape.num_layers),
                    .num_kv_heads = static_cast<std::uint64_t>(shape.num_kv_heads),
                    .head_dim = static_cast<std::uint32_t>(shape.head_dim),
                    .value_dim = static_cast<std::uint32_t>(shape.value_dim),
                    .num_sequences = static_cast<std::uint32_t>(table.sequences.size())};
  for (const std::uint32_t tokens : table.tokens)
    header.file_bytes += record_bytes(shape, tokens) + kChecksumBytes;
  return header;
}

/// Bytes followed by the checksum of all so far.
void write_checked(NewFile& file, std::span<const std::byte> bytes, std::uint32_t& crc) {
  crc = crc32c(bytes, crc);
  file.write(bytes);
  file.write(std::as_bytes(std::span(&crc, 1)));
}

void gather(const Store& store, const Blocks::Source& from, std::uint32_t tokens,
            std::vector<std::byte>& record) {
  record.clear();
  for_each_row(store.shape(), tokens, [&](const SavedRow& row) {
    const Store::Row at =
        store.row(row.part, *from.state, {row.layer, row.head, from.position + row.token});
    record.insert(record.end(), at.data, at.data + row.bytes);
    if (at.scale == nullptr) return;
    const auto scale = std::as_bytes(std::span(at.scale, 1));
    record.insert(record.end(), scale.begin(), scale.end());
  });
}

}  // namespace

void save_snapshot(const Store& store, std::span<const ToSave> sequences,
                   const std::filesystem::path& path) {
  Blocks blocks(store.shape().page_size);
  SavedTable table{.fingerprint = store.shape().fingerprint, .sequences = {}, .tokens = {}};
  for (const auto& [id, ids] : sequences) {
    const SequenceState& s = store.at(id);
    table.add({.options = s.options,
               .length = s.length,
               .evicted_begin = s.evicted_begin,
               .evicted_end = s.evicted_end,
               .ids = {ids.begin(), ids.end()},
               .blocks = blocks.number(s)});
  }
  const std::vector<std::byte> bytes = encode_table(table);
  if (bytes.size() > kMostTableBytes)
    fail(path, "its table would have " + std::to_string(bytes.size()) +
                   " bytes, expected at most " + std::to_string(kMostTableBytes));
  const FileHeader header = header_of(store.shape(), table, bytes.size());

  NewFile file(path);
  std::uint32_t crc = 0;
  write_checked(file, std::as_bytes(std::span(&header, 1)).first(offsetof(FileHeader, checksum)),
                crc);
  write_checked(file, bytes, crc);
  std::vector<std::byte> record;
  for (std::size_t i = 0; i < table.tokens.size(); ++i) {
    gather(store, blocks.sources()[i], table.tokens[i], record);
    write_checked(file, record, crc);
  }
  file.commit();
}

}  // namespace regard::cache
