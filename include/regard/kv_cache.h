// include/regard/kv_cache.h - the keys and values of many sequences in a pool of pages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <memory_resource>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "regard/dtype.h"
#include "regard/paged_view.h"
#include "regard/tensor_view.h"

namespace regard {

/// What a cache holds of every token, and how much it may hold.
struct KvCacheShape {
  std::int64_t num_layers = 1;
  std::int64_t num_kv_heads = 1;  ///< G
  std::int64_t head_dim = 0;      ///< D, 1..1024
  std::int64_t value_dim = 0;     ///< E, 1..1024
  /// Of keys and values: kF32, kBF16, kF16, or kI8, which keeps a float32 scale for each row (key
  /// or value of a token and head) and rounds to the nearest 1/127 of its largest magnitude (to 0
  /// where that is below 2^-100).
  DType dtype = DType::kF32;
  /// Tokens of a page, a multiple of 16. A page holds them for all layers. A page as long as the
  /// longest sequence makes the cache contiguous.
  std::int64_t page_size = 64;
  /// Most bytes of pages. They are taken from `memory` (new and delete when null) when needed.
  std::int64_t budget_bytes = std::int64_t{1} << 30;
  std::pmr::memory_resource* memory = nullptr;
  /// Says which model made the keys and values; files carry it and load() compares it.
  std::string fingerprint = {};
};

/// To whom a sequence belongs. Pages are never shared between owners, unless both sequences name
/// the same `share_with`.
struct SequenceOptions {
  std::string owner = {};
  /// Empty: only with the owner's own sequences that name nothing either.
  std::string share_with = {};
};

struct KvCacheStats {
  std::int64_t page_bytes = 0, num_pages = 0;  ///< num_pages: the budget, in pages
  std::int64_t used_pages = 0;                 ///< held by sequences, each counted once
  std::int64_t kept_pages = 0;    ///< published, held by no sequence: given up when room is needed
  std::int64_t saved_pages = 0;   ///< that would be used too if nothing were shared
  std::int64_t wasted_bytes = 0;  ///< of used pages, beyond the ends of sequences
  std::int64_t num_sequences = 0;
  std::int64_t looked_up_tokens = 0, found_tokens = 0;  ///< by adopt(), since the beginning
  std::int64_t used_bytes() const { return used_pages * page_bytes; }
};

/// A sequence (PagedKvCache::Sequence) and the ids that a file keeps with it.
struct SavedSequence {
  std::int64_t sequence = 0;
  std::vector<std::int32_t> ids;
};

/// Thrown when the budget does not suffice; nothing has changed then.
class CacheFull : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Sequences over a pool of pages. A sequence is a list of pages and a length; pages are shared by
/// forks and by equal prefixes, and copied when one that is shared is written. Freed pages are
/// wiped before anybody sees them again. Errors: std::invalid_argument for arguments, CacheFull,
/// std::runtime_error for files. Not thread safe, but for calls of const functions at the same
/// time.
class PagedKvCache {
 public:
  /// A number that no other sequence of the cache ever had.
  using Sequence = std::int64_t;

  explicit PagedKvCache(const KvCacheShape& shape);
  ~PagedKvCache();
  PagedKvCache(PagedKvCache&&) noexcept;
  PagedKvCache& operator=(PagedKvCache&&) noexcept;

  const KvCacheShape& shape() const;

  /// An empty sequence.
  Sequence create(SequenceOptions options = {});
  /// Ends a sequence. Its published pages are kept until their room is needed.
  void release(Sequence sequence);
  /// A second sequence with the same tokens, of the same owner: O(1) per page.
  Sequence fork(Sequence sequence);

  std::int64_t length(Sequence sequence) const;
  const SequenceOptions& options(Sequence sequence) const;

  /// Makes room for `count` more tokens, 0 until written; returns the position of the first. O(1)
  /// per page. Throws CacheFull, and says who uses the pool.
  std::int64_t extend(Sequence sequence, std::int64_t count);
  /// Stores keys and values of one layer at positions [position, position + n). key (G, n, D),
  /// value (G, n, E), any strides and dtype but kI8. A page that another sequence shares is copied
  /// first. A kI8 cache refuses numbers that are not finite.
  void write(std::int64_t layer, Sequence sequence, std::int64_t position, InputView<3> key,
             InputView<3> value);
  /// Forgets all tokens from `length` on.
  void truncate(Sequence sequence, std::int64_t length);
  /// Gives back every page with tokens of [keep_first, length - keep_last) alone, those positions
  /// being forgotten for good; attention whose mask allows a query to see one of them is refused.
  /// Positions do not change. What is evicted of a sequence is one range: the next one must touch
  /// it.
  void evict(Sequence sequence, std::int64_t keep_first, std::int64_t keep_last);

  /// Says which tokens the sequence's keys and values belong to, all of them from position 0 on.
  /// Full pages can then be found by adopt(). What counts as the same must be the same for all:
  /// these ids, at these positions, through the model of the fingerprint.
  void publish(Sequence sequence, std::span<const std::int32_t> ids);
  /// An empty sequence takes the pages published for the longest beginning of `ids`, by its owner
  /// or under its share_with; returns the number of tokens, a multiple of page_size. Pages are
  /// compared by their ids, not by a hash. At most ids.size() - 1, so that something is left to
  /// run.
  std::int64_t adopt(Sequence sequence, std::span<const std::int32_t> ids);

  /// What attention over the sequences reads; layer 0, see PagedView::layer. Valid until one of
  /// them changes.
  PagedView view(std::span<const Sequence> sequences) const;
  PagedView view(Sequence sequence) const { return view(std::span(&sequence, 1)); }
  /// One layer's keys (G, length, D) and values (G, length, E) as float32, copied; not the
  /// evicted ones.
  void read(std::int64_t layer, Sequence sequence, TensorView<float, 3> key,
            TensorView<float, 3> value) const;

  KvCacheStats stats() const;

  /// Writes a sequence to a file: versioned, with checksums, written beside `file`, flushed to the
  /// disk and renamed to it, so that `file` is the old one or the new one, whole, whenever the
  /// process ends. `ids` (may be empty) is kept with it. Readable by the user alone (mode 0600).
  void save(Sequence sequence, const std::filesystem::path& file,
            std::span<const std::int32_t> ids = {}) const;
  /// The saved sequence as a new one, of the given owner, bit for bit; `ids`, when given, receives
  /// what was kept with it. Any page size. Throws std::runtime_error that says where the file is
  /// damaged, or what of its shape or fingerprint differs; the cache has not changed then.
  Sequence load(const std::filesystem::path& file, SequenceOptions options = {},
                std::vector<std::int32_t>* ids = nullptr);
  /// The same for all sequences, in the order of their numbers and with their options; pages that
  /// they share are written once. `ids`: what to keep with some of them.
  void save_all(const std::filesystem::path& file, std::span<const SavedSequence> ids = {}) const;
  /// All sequences of a file as new ones, in the file's order, which share what they shared (with
  /// pages of another size: what then still are whole pages).
  std::vector<SavedSequence> load_all(const std::filesystem::path& file);

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace regard
