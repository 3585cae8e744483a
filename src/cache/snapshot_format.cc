// src/cache/snapshot_format.cc - the table of a cache's file: written, and read with distrust.
#include "cache/snapshot_format.h"

#include <bit>
#include <cstring>
#include <map>
#include <utility>

namespace regard::cache {
namespace {

constexpr std::int64_t kMostLength = std::int64_t{1} << 40;

/// The lowest n of a block's bits.
std::uint32_t bits_below(std::int64_t n) {
  if (n <= 0) return 0;
  return n >= kBlockTokens ? 0xFFFFU : (1U << n) - 1U;
}

class Writer {
 public:
  template <class T>
  void number(T x) {
    numbers(std::span<const T>(&x, 1));
  }
  template <class T>
  void numbers(std::span<const T> all) {
    const auto bytes = std::as_bytes(all);
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }
  void text(const std::string& text) {
    number(static_cast<std::uint64_t>(text.size()));
    numbers(std::span(text));
  }
  std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

/// The table from its beginning to its end; what is not there is refused.
class Reader {
 public:
  Reader(const std::filesystem::path& path, std::span<const std::byte> bytes)
      : path_(path), rest_(bytes), size_(bytes.size()) {}

  template <class T>
  T number(const char* what) {
    T x{};
    std::memcpy(&x, take(what, 1, sizeof x).data(), sizeof x);
    return x;
  }
  template <class T>
  std::vector<T> numbers(const char* what, std::uint64_t count) {
    const std::span<const std::byte> bytes = take(what, count, sizeof(T));
    std::vector<T> all(static_cast<std::size_t>(count));
    if (count > 0) std::memcpy(all.data(), bytes.data(), bytes.size());
    return all;
  }
  std::string text(const char* what) {
    const std::vector<char> all = numbers<char>(what, number<std::uint64_t>(what));
    return {all.begin(), all.end()};
  }
  std::int64_t position(const char* what, std::int64_t least, std::int64_t most) {
    const auto came = number<std::int64_t>(what);
    if (came < least || came > most)
      refuse(what, std::to_string(came), std::to_string(least) + ".." + std::to_string(most));
    return came;
  }
  [[noreturn]] void refuse(const char* what, const std::string& came, const std::string& wanted) {
    fail(path_, "byte " + std::to_string(sizeof(FileHeader) + size_ - rest_.size()) + ": " + what +
                    " is " + came + ", expected " + wanted);
  }
  std::uint64_t left() const { return rest_.size(); }

 private:
  std::span<const std::byte> take(const char* what, std::uint64_t count, std::size_t bytes) {
    if (count > rest_.size() / bytes)
      refuse(what, std::to_string(count) + " times " + std::to_string(bytes) + " bytes",
             "no more than the table's " + std::to_string(rest_.size()) + " that are left");
    const auto taken = rest_.first(static_cast<std::size_t>(count) * bytes);
    rest_ = rest_.subspan(taken.size());
    return taken;
  }

  const std::filesystem::path& path_;
  std::span<const std::byte> rest_;
  std::size_t size_;
};

SavedState decode_state(Reader& reader) {
  SavedState s;
  s.options.owner = reader.text("owner");
  s.options.share_with = reader.text("share_with");
  s.length = reader.position("length", 0, kMostLength);
  s.evicted_begin = reader.position("evicted_begin", 0, s.length);
  s.evicted_end = reader.position("evicted_end", s.evicted_begin, s.length);
  s.ids = reader.numbers<std::int32_t>("num_ids", reader.number<std::uint64_t>("num_ids"));
  s.blocks = reader.numbers<std::uint32_t>(
      "blocks", static_cast<std::uint64_t>(SavedState::blocks_for(s.length)));
  return s;
}

/// Holds the numbers of blocks to what save() writes: the next one or a known one, and a known one
/// only where it was before and where the store shares pages.
class BlockCheck {
 public:
  void check(Reader& reader, const SavedState& s) {
    const std::string name = space_of(s.options);
    const std::size_t space = spaces_.try_emplace(name, spaces_.size()).first->second;
    for (std::size_t i = 0; i < s.blocks.size(); ++i) {
      const std::uint32_t block = s.blocks[i];
      if (block == SavedState::kNoBlock) {
        if (s.tokens_of(i) != 0) reader.refuse("a block", "missing", "one: it has tokens");
        continue;
      }
      if (block > first_.size())
        reader.refuse("a block", std::to_string(block),
                      "at most the next, " + std::to_string(first_.size()));
      if (block == first_.size()) first_.push_back({space, i});
      if (first_[block] != std::pair(space, i))
        reader.refuse("a block", std::to_string(block), "one of its own place and owner");
    }
  }

 private:
  std::map<std::string, std::size_t> spaces_;
  std::vector<std::pair<std::size_t, std::size_t>> first_;  // space and index, by block
};

}  // namespace

std::uint32_t SavedState::tokens_of(std::size_t i) const {
  const std::int64_t begin = static_cast<std::int64_t>(i) * kBlockTokens;
  const std::uint32_t evicted =
      bits_below(evicted_end - begin) & ~bits_below(evicted_begin - begin);
  return bits_below(length - begin) & ~evicted;
}

void SavedTable::add(SavedState state) {
  for (std::size_t i = 0; i < state.blocks.size(); ++i) {
    const std::uint32_t block = state.blocks[i];
    if (block == SavedState::kNoBlock) continue;
    if (block == tokens.size()) tokens.push_back(0);
    tokens[block] |= state.tokens_of(i);
  }
  sequences.push_back(std::move(state));
}

std::uint64_t record_bytes(const KvCacheShape& shape, std::uint32_t tokens) {
  const auto dims = static_cast<std::uint64_t>(shape.head_dim + shape.value_dim);
  const auto rows = static_cast<std::uint64_t>(shape.num_layers * shape.num_kv_heads);
  return rows * (dims * size_of(shape.dtype) + 2 * scale_bytes(shape.dtype)) *
         static_cast<std::uint64_t>(std::popcount(tokens));
}

std::vector<std::byte> encode_table(const SavedTable& table) {
  Writer to;
  to.text(table.fingerprint);
  for (const SavedState& s : table.sequences) {
    to.text(s.options.owner);
    to.text(s.options.share_with);
    to.number(s.length);
    to.number(s.evicted_begin);
    to.number(s.evicted_end);
    to.number(static_cast<std::uint64_t>(s.ids.size()));
    to.numbers(std::span(s.ids));
    to.numbers(std::span(s.blocks));
  }
  return to.take();
}

SavedTable decode_table(const std::filesystem::path& path, std::span<const std::byte> bytes,
                        std::uint32_t num_sequences) {
  Reader reader(path, bytes);
  BlockCheck blocks;
  SavedTable table;
  table.fingerprint = reader.text("fingerprint");
  for (std::uint32_t i = 0; i < num_sequences; ++i) {
    SavedState s = decode_state(reader);
    blocks.check(reader, s);
    table.add(std::move(s));
  }
  if (reader.left() != 0)
    reader.refuse("the rest of the table", std::to_string(reader.left()) + " bytes", "nothing");
  return table;
}

}  // namespace regard::cache
