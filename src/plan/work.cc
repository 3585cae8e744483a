// src/plan/work.cc - what a run will do, counted by asking the mask and nothing else.
#include "plan/work.h"

#include <algorithm>
#include <array>
#include <bit>
#include <map>
#include <random>
#include <vector>

#include "plan/cost.h"

namespace regard::plan {
namespace {

using exec::kChunkKeys, exec::kTileKeys;

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
constexpr double real(std::int64_t n) { return static_cast<double>(n); }

/// Blocks of rows [block_begin, block_end) of a KV head, and chunks of keys. Counts `times`.
struct Part {
  std::int64_t sequence, kv_head;
  std::int64_t block_begin, block_end, chunk_begin, chunk_end;
  double times;
};

class Counter {
 public:
  Counter(const exec::Setup& setup, const TileMap& masks) : s_(setup), masks_(masks) {}

  /// One part for each KV head of each sequence; where the mask is the same for all, one for all
  /// that have the same lengths and position.
  std::vector<Part> roots() {
    std::vector<Part> parts;
    std::map<std::array<std::int64_t, 3>, std::size_t> seen;
    for (std::size_t i = 0; i < s_.sequences.size(); ++i) {
      const exec::Sequence& q = s_.sequences[i];
      const std::int64_t blocks = ceil_div(q.q_len * s_.heads_per_kv_head(), most_rows()),
                         chunks = ceil_div(q.kv_len, kChunkKeys);
      if (blocks == 0 || chunks == 0) continue;
      const auto sequence = static_cast<std::int64_t>(i);
      work.pairs += real(s_.shape.num_heads) * real(q.q_len) * real(q.kv_len);
      const std::int64_t heads = masks_.varies() ? s_.shape.num_kv_heads : 1;
      const double times = real(s_.shape.num_kv_heads / heads);
      const auto [at, is_new] = seen.try_emplace({q.q_len, q.kv_len, q.q_offset}, parts.size());
      if (!masks_.varies() && !is_new) {
        parts[at->second].times += times;
        continue;
      }
      for (std::int64_t head = 0; head < heads; ++head)
        parts.push_back({sequence, head, 0, blocks, 0, chunks, times});
    }
    return parts;
  }

  /// Counts the part, or adds its halves to `rest`.
  void visit(const Part& part, std::vector<Part>& rest) {
    const TileKind kind = masks_.classify(rows_of(part), first_key(part), last_key(part));
    const std::int64_t blocks = part.block_end - part.block_begin,
                       chunks = part.chunk_end - part.chunk_begin;
    if (kind != TileKind::kPartial) return add_uniform(part, kind == TileKind::kFull);
    if (blocks == 1 && chunks == 1) return add_block(part);
    Part first = part, second = part;
    if (chunks == 1 ||
        (blocks > 1 && blocks * most_rows() > chunks * kChunkKeys * s_.heads_per_kv_head())) {
      first.block_end = second.block_begin = part.block_begin + blocks / 2;
    } else {
      first.chunk_end = second.chunk_begin = part.chunk_begin + chunks / 2;
    }
    rest.push_back(second);
    rest.push_back(first);
  }

  Work work;

 private:
  std::int64_t most_rows() const { return std::max<std::int64_t>(s_.block_rows, 1); }
  std::int64_t first_key(const Part& p) const { return s_.kv_offset + p.chunk_begin * kChunkKeys; }
  std::int64_t last_key(const Part& p) const {
    return s_.kv_offset + std::min(p.chunk_end * kChunkKeys, sequence_of(p).kv_len);
  }
  const exec::Sequence& sequence_of(const Part& p) const {
    return s_.sequences[static_cast<std::size_t>(p.sequence)];
  }
  exec::Rows rows_of(const Part& p) const {
    const std::int64_t end = sequence_of(p).q_len * s_.heads_per_kv_head();
    exec::Rows rows = exec::rows_of(s_, {}, {p.sequence, p.kv_head, 0, 0});
    rows.begin = p.block_begin * most_rows();
    rows.end = std::min(p.block_end * most_rows(), end);
    return rows;
  }

  /// All rows see all keys, or none.
  void add_uniform(const Part& p, bool full) {
    const exec::Rows rows = rows_of(p);
    const std::int64_t keys = last_key(p) - first_key(p),
                       strips = ceil_div(rows.count(), s_.strip_rows);
    const double tiles = p.times * real(strips) * real(ceil_div(keys, kTileKeys)),
                 pairs = p.times * real(rows.count()) * real(keys);
    if (!full) {
      work.empty_tiles += tiles;
      return;
    }
    work.full_tiles += tiles;
    work.full_pairs += pairs;
    work.allowed_pairs += pairs;
    const std::int64_t last_rows = rows.count() - (strips - 1) * s_.strip_rows;
    work.product_pairs +=
        p.times * real(keys) * (real(strips - 1) * paid_rows(s_.strip_rows) + paid_rows(last_rows));
    work.strip_chunks += p.times * real(strips) * real(p.chunk_end - p.chunk_begin);
    work.packed_keys += p.times * real(p.block_end - p.block_begin) * real(keys);
    work.read_keys += p.times * real(p.block_end - p.block_begin) * real(keys);
  }

  /// One block and one chunk, strip by strip, as exec does.
  void add_block(const Part& p) {
    const exec::Rows rows = rows_of(p);
    const std::int64_t begin = first_key(p), end = last_key(p);
    std::uint32_t packed = 0;
    for (std::int64_t i = 0; i < ceil_div(rows.count(), s_.strip_rows); ++i) {
      const exec::Rows strip = exec::strip_of(s_, rows, i);
      masks_.tiles(strip, begin, end, tiles_);
      work.empty_tiles += p.times * real(ceil_div(end - begin, kTileKeys) - tiles_.size);
      work.strip_chunks += tiles_.size == 0 ? 0 : p.times;
      for (const exec::Tile& tile : tiles_) {
        packed |= 1U << (tile.kv_begin - begin) / kTileKeys;
        add_tile(tile, strip.count(), p.times);
      }
    }
    const std::int64_t keys = std::min(std::popcount(packed) * kTileKeys, end - begin);
    work.packed_keys += p.times * real(keys);
    work.read_keys += packed == 0 ? 0 : p.times * real(end - begin);
  }

  void add_tile(const exec::Tile& tile, std::int64_t rows, double times) {
    const std::int64_t keys = tile.kv_end - tile.kv_begin;
    const bool full = tile.kind == TileKind::kFull;
    std::int64_t allowed = rows * keys;
    if (!full) {
      allowed = 0;
      for (std::int64_t r = 0; r < rows; ++r)
        allowed += std::popcount(tiles_.row_bits(tile, r) & low_bits(keys));
    }
    work.allowed_pairs += times * real(allowed);
    (full ? work.full_tiles : work.partial_tiles) += times;
    (full ? work.full_pairs : work.partial_pairs) += times * real(rows * keys);
    work.product_pairs += times * real(keys) * paid_rows(rows);
  }

  const exec::Setup& s_;
  const TileMap& masks_;
  exec::ChunkTiles tiles_;
};

/// One part of every few counts for all of them: any, since halves lie in turns and are not alike.
void thin(std::vector<Part>& parts, std::int64_t most, std::minstd_rand& random) {
  const auto size = static_cast<std::int64_t>(parts.size()), step = ceil_div(size, most);
  const double times = real(size) / real(ceil_div(size, step));
  for (std::int64_t i = 0; i * step < size; ++i) {
    const std::int64_t group = std::min(step, size - i * step),
                       chosen = i * step + static_cast<std::int64_t>(random()) % group;
    Part& kept = parts[static_cast<std::size_t>(i)];
    kept = parts[static_cast<std::size_t>(chosen)];
    kept.times *= times;
  }
  parts.resize(static_cast<std::size_t>(ceil_div(size, step)));
}

}  // namespace

Work count_work(const exec::Setup& setup, const TileMap& masks, std::int64_t most_parts) {
  Counter counter(setup, masks);
  std::vector<Part> parts = counter.roots(), rest;
  if (most_parts == kAllParts) {  // depth first: few wait at a time
    while (!parts.empty()) {
      const Part part = parts.back();
      parts.pop_back();
      counter.visit(part, parts);
    }
    return counter.work;
  }
  std::minstd_rand random(1);
  for (; !parts.empty(); parts.swap(rest)) {  // size by size, so that those left out are alike
    if (static_cast<std::int64_t>(parts.size()) > most_parts) {
      thin(parts, most_parts, random);
      counter.work.is_exact = false;
    }
    rest.clear();
    for (const Part& part : parts) counter.visit(part, rest);
  }
  return counter.work;
}

}  // namespace regard::plan
