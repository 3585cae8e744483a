// src/cache/snapshot.cc - a sequence in a file and back.
#include "cache/snapshot.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>

#include "cache/crc32c.h"
#include "cache/file.h"

namespace regard::cache {
namespace {

static_assert(std::endian::native == std::endian::little, "files are little-endian");

constexpr std::uint64_t kMagic = 0x31564B4452474552U;  // "REGRDKV1"
constexpr std::uint32_t kVersion = 1;
constexpr std::int64_t kRecordTokens = 64;
constexpr std::uint64_t kMostText = 4096;

/// What the numbers in the file mean. Every byte is written: no padding.
struct Header {
  std::uint64_t magic = kMagic;
  std::uint32_t version = kVersion;
  std::uint32_t dtype = 0;
  std::int64_t num_layers = 0, num_kv_heads = 0, head_dim = 0, value_dim = 0;
  std::int64_t length = 0, evicted_begin = 0, evicted_end = 0;
  std::uint64_t num_ids = 0;      ///< that follow the header
  std::uint64_t fingerprint = 0;  ///< bytes of it, after the ids
};
static_assert(sizeof(Header) == 88);

template <class T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

/// The rows of a token, one after another: for each layer and KV head its key, its value and, for
/// int8, both scales.
class TokenRows {
 public:
  explicit TokenRows(const Store& store)
      : store_(store),
        key_bytes_(static_cast<std::size_t>(store.shape().head_dim) * size_of(store.shape().dtype)),
        value_bytes_(static_cast<std::size_t>(store.shape().value_dim) *
                     size_of(store.shape().dtype)) {}

  std::size_t bytes() const {
    const std::size_t scales = store_.shape().dtype == DType::kI8 ? 2 * sizeof(float) : 0;
    return static_cast<std::size_t>(store_.shape().num_layers * store_.shape().num_kv_heads) *
           (key_bytes_ + value_bytes_ + scales);
  }
  void get(const SequenceState& s, std::int64_t position, std::vector<std::byte>& to) const {
    each(s, position,
         [&](std::byte* row, std::size_t size) { to.insert(to.end(), row, row + size); });
  }
  void put(const SequenceState& s, std::int64_t position, const std::byte* from) const {
    each(s, position, [&](std::byte* row, std::size_t size) {
      std::memcpy(row, from, size);
      from += size;
    });
  }
  /// Whether the scales of a token's rows are finite and not negative.
  bool has_good_scales(const std::byte* from) const {
    if (store_.shape().dtype != DType::kI8) return true;
    for (const std::byte* end = from + bytes(); from < end;) {
      from += key_bytes_ + value_bytes_;
      for (int i = 0; i < 2; ++i, from += sizeof(float)) {
        float scale;
        std::memcpy(&scale, from, sizeof scale);
        if (!std::isfinite(scale) || std::signbit(scale)) return false;
      }
    }
    return true;
  }

 private:
  template <class Do>
  void each(const SequenceState& s, std::int64_t position, const Do& action) const {
    for (std::int64_t layer = 0; layer < store_.shape().num_layers; ++layer) {
      for (std::int64_t head = 0; head < store_.shape().num_kv_heads; ++head) {
        const Store::Row key = store_.row(Store::Part::kKey, s, {layer, head, position}),
                         value = store_.row(Store::Part::kValue, s, {layer, head, position});
        action(key.data, key_bytes_);
        action(value.data, value_bytes_);
        if (key.scale == nullptr) continue;
        action(reinterpret_cast<std::byte*>(key.scale), sizeof(float));
        action(reinterpret_cast<std::byte*>(value.scale), sizeof(float));
      }
    }
  }

  const Store& store_;
  std::size_t key_bytes_, value_bytes_;
};

/// Positions that are there: [0, evicted_begin) and [evicted_end, length), in records.
template <class Record>
void for_records(const Header& h, const Record& record) {
  for (const auto& [first, last] :
       {std::pair{std::int64_t{0}, h.evicted_begin}, std::pair{h.evicted_end, h.length}}) {
    for (std::int64_t begin = first; begin < last; begin += kRecordTokens)
      record(begin, std::min(begin + kRecordTokens, last));
  }
}

class Reader {
 public:
  Reader(const Store& store, const std::filesystem::path& path) : store_(store), file_(path) {}

  /// Reads and checks everything but the records; those follow.
  Header header() {
    Crc32c crc;
    Header h;
    read("the header", {reinterpret_cast<std::byte*>(&h), sizeof h}, crc);
    if (h.magic != kMagic) file_.fail("is no cache file of regard (its first 8 bytes are others)");
    if (h.version != kVersion)
      file_.fail("has version " + std::to_string(h.version) + ", expected 1");
    // Sizes before what they size is read; their checksum follows it.
    if (h.num_ids > file_.left() / sizeof(std::int32_t) || h.fingerprint > kMostText)
      file_.fail("the header is damaged: it speaks of more than the file holds");
    ids_.resize(h.num_ids);
    read("the ids", std::as_writable_bytes(std::span(ids_)), crc);
    fingerprint_.resize(h.fingerprint);
    read("the fingerprint", std::as_writable_bytes(std::span(fingerprint_)), crc);
    check_crc("the header", crc);
    check(h);
    return h;
  }

  void records(const Header& h, const TokenRows& rows,
               const std::function<void(std::int64_t position, const std::byte*)>& use) {
    std::vector<std::byte> bytes;
    for_records(h, [&](std::int64_t begin, std::int64_t end) {
      Crc32c crc;
      bytes.resize(static_cast<std::size_t>(end - begin) * rows.bytes());
      std::string what("tokens ");
      what.append(std::to_string(begin)).append("..").append(std::to_string(end - 1));
      read(what.c_str(), bytes, crc);
      check_crc(what, crc);
      for (std::int64_t position = begin; position < end; ++position) {
        const std::byte* token =
            bytes.data() + static_cast<std::size_t>(position - begin) * rows.bytes();
        if (!rows.has_good_scales(token))
          file_.fail("a scale of token " + std::to_string(position) + " is negative or not finite");
        use(position, token);
      }
    });
    if (file_.left() != 0) {
      file_.fail("has " + std::to_string(file_.left()) + " bytes after its end at byte " +
                 std::to_string(file_.at()));
    }
  }

  std::vector<std::int32_t> take_ids() { return std::move(ids_); }

 private:
  void read(const char* what, std::span<std::byte> out, Crc32c& crc) {
    file_.read(what, out);
    crc.add(out);
  }
  void check_crc(const std::string& what, const Crc32c& crc) {
    std::uint32_t wanted = 0;
    const std::uint64_t at = file_.at();
    file_.read("a checksum", std::as_writable_bytes(std::span(&wanted, 1)));
    if (crc.value() != wanted)
      file_.fail(what + " are damaged: the checksum at byte " + std::to_string(at) + " is another");
  }
  void check(const Header& h) {
    const KvCacheShape& shape = store_.shape();
    if (h.dtype != static_cast<std::uint32_t>(shape.dtype)) {
      file_.fail("holds " + std::string(h.dtype < 4 ? name_of(static_cast<DType>(h.dtype)) : "?") +
                 ", expected " + name_of(shape.dtype) + " (the cache's dtype)");
    }
    const auto same = [&](const char* name, std::int64_t came, std::int64_t wanted) {
      if (came != wanted)
        file_.fail(std::string("has ") + name + " " + std::to_string(came) + ", expected " +
                   std::to_string(wanted) + " (the cache's)");
    };
    same("num_layers", h.num_layers, shape.num_layers);
    same("num_kv_heads", h.num_kv_heads, shape.num_kv_heads);
    same("head_dim", h.head_dim, shape.head_dim);
    same("value_dim", h.value_dim, shape.value_dim);
    if (fingerprint_ != shape.fingerprint)
      file_.fail("was made by another model (its fingerprint is \"" + fingerprint_.substr(0, 16) +
                 "...\", expected \"" + shape.fingerprint.substr(0, 16) + "...\")");
    if (h.length < 0 || h.evicted_begin < 0 || h.evicted_begin > h.evicted_end ||
        h.evicted_end > h.length || (h.num_ids != 0 && std::cmp_not_equal(h.num_ids, h.length)) ||
        h.length > std::int64_t{1} << 40)
      file_.fail("the header is damaged: its lengths contradict each other");
  }

  const Store& store_;
  ReadFile file_;
  std::vector<std::int32_t> ids_;
  std::string fingerprint_;
};

}  // namespace

void save_sequence(const Store& store, Store::Id id, std::span<const std::int32_t> ids,
                   const std::filesystem::path& path) {
  const SequenceState& s = store.at(id);
  const KvCacheShape& shape = store.shape();
  AtomicFile file(path);
  Crc32c crc;
  const auto write = [&](std::span<const std::byte> bytes) {
    file.write(bytes);
    crc.add(bytes);
  };
  const auto finish = [&] {
    file.write(bytes_of(crc.value()));
    crc = {};
  };
  Header h;
  h.dtype = static_cast<std::uint32_t>(shape.dtype);
  h.num_layers = shape.num_layers;
  h.num_kv_heads = shape.num_kv_heads;
  h.head_dim = shape.head_dim;
  h.value_dim = shape.value_dim;
  h.length = s.length;
  h.evicted_begin = s.evicted_begin;
  h.evicted_end = s.evicted_end;
  h.num_ids = ids.size();
  h.fingerprint = shape.fingerprint.size();
  write(bytes_of(h));
  write(std::as_bytes(ids));
  write(std::as_bytes(std::span(shape.fingerprint)));
  finish();
  const TokenRows rows(store);
  std::vector<std::byte> bytes;
  for_records(h, [&](std::int64_t begin, std::int64_t end) {
    bytes.clear();
    for (std::int64_t position = begin; position < end; ++position) rows.get(s, position, bytes);
    write(bytes);
    finish();
  });
  file.commit();
}

Store::Id load_sequence(Store& store, const std::filesystem::path& path, SequenceOptions options,
                        std::vector<std::int32_t>* ids) {
  const TokenRows rows(store);
  {  // Once to check all of it: the store changes only for a file that is whole.
    Reader reader(store, path);
    const Header h = reader.header();
    reader.records(h, rows, [](std::int64_t, const std::byte*) {});
  }
  const Store::Id id = store.create(std::move(options));
  try {
    Reader reader(store, path);
    const Header h = reader.header();
    store.extend(id, h.length);
    store.evict(id, h.evicted_begin, h.evicted_end);
    const SequenceState& s = store.at(id);
    reader.records(h, rows, [&](std::int64_t position, const std::byte* from) {
      rows.put(s, position, from);
    });
    if (ids != nullptr) *ids = reader.take_ids();
  } catch (...) {
    store.release(id);
    throw;
  }
  return id;
}

}  // namespace regard::cache
