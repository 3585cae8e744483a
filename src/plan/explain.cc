// src/plan/explain.cc - a plan in words: what will run, how much of it, and why so.
#include <algorithm>
#include <array>
#include <cstdio>

#include "plan/plan.h"

namespace regard {
namespace {

/// 1234567, "B" -> "1.2 MB".
std::string short_number(double x, const char* unit) {
  constexpr std::array<const char*, 7> kPrefixes{"", "k", "M", "G", "T", "P", "E"};
  std::size_t i = 0;
  for (; x >= 999.5 && i + 1 < kPrefixes.size(); ++i) x /= 1000;
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), i == 0 || x >= 99.5 ? "%.0f %s%s" : "%.1f %s%s", x,
                kPrefixes[i], unit);
  return text.data();
}

/// Pairs of a query and a key that the tiles hold: computed, whether or not the mask then forbids
/// some.
double pairs_in(std::int64_t tiles, const exec::Setup& setup) {
  return static_cast<double>(tiles) *
         static_cast<double>(std::min(setup.strip_rows, setup.block_rows) * exec::kTileKeys);
}

std::string describe_dtypes(const AttentionShape& s) {
  std::string text = name_of(s.query_dtype);
  for (const DType dtype : {s.key_dtype, s.value_dtype}) text += std::string(" ") + name_of(dtype);
  return text + " -> " + name_of(s.out_dtype);
}

std::string why_this_arithmetic(const exec::Setup& setup) {
  const AttentionShape& s = setup.shape;
  if (setup.arithmetic->word == 2) return "pairs of bf16 are multiplied, weights rounded to bf16";
  const bool all_bf16 =
      s.query_dtype == DType::kBf16 && s.key_dtype == DType::kBf16 && s.value_dtype == DType::kBf16;
  if (all_bf16) return "float32: this instruction set cannot multiply pairs of bf16";
  const bool all_f32 =
      s.query_dtype == DType::kF32 && s.key_dtype == DType::kF32 && s.value_dtype == DType::kF32;
  return all_f32 ? "float32"
                 : "float32: 16-bit numbers are widened, since not all of query, key and value are "
                   "bf16";
}

std::string why_this_cut(const exec::Setup& setup) {
  const auto rows = std::to_string(setup.strip_rows);
  if (setup.block_rows <= exec::kMostStripRows)
    return "one strip of up to " + rows +
           " rows: keys and values are read once, values where they lie";
  return "strips of " + rows + " rows, " + std::to_string(setup.block_rows) +
         " rows share packed keys and values";
}

}  // namespace

std::string Plan::Impl::explain() const {
  const AttentionShape& s = setup.shape;
  const TileCounts tiles = count_tiles();
  const double computed = pairs_in(tiles.full + tiles.partial, setup);
  double kv_bytes = 0;
  for (const exec::Sequence& sequence : setup.sequences) {
    kv_bytes +=
        static_cast<double>(sequence.kv_len * s.num_kv_heads) *
        static_cast<double>(s.head_dim * static_cast<std::int64_t>(size_of(s.key_dtype)) +
                            s.value_dim * static_cast<std::int64_t>(size_of(s.value_dtype)));
  }
  std::string text = "attention: " + std::to_string(setup.sequences.size()) + " sequences, " +
                     std::to_string(s.num_heads) + " heads over " + std::to_string(s.num_kv_heads) +
                     ", " + std::to_string(s.q_len) + " queries x " + std::to_string(s.kv_len) +
                     " keys, head_dim " + std::to_string(s.head_dim) + ", value_dim " +
                     std::to_string(s.value_dim) + ", " + describe_dtypes(s) + "\n";
  text +=
      "kernels:   " + std::string(setup.kernels->isa) + ", " + why_this_arithmetic(setup) + "\n";
  text += "cut:       " + why_this_cut(setup) + "; tiles of " + std::to_string(exec::kTileKeys) +
          " keys, chunks of " + std::to_string(exec::kChunkKeys) + "\n";
  text += "tiles:     " + std::to_string(tiles.full) + " full, " + std::to_string(tiles.partial) +
          " partial, " + std::to_string(tiles.empty) + " skipped\n";
  text += "work:      " +
          short_number(2 * computed * static_cast<double>(s.head_dim + s.value_dim), "FLOP") +
          " computed, " + short_number(kv_bytes, "B") + " of keys and values\n";
  if (!setup.score_mods.empty())
    text += "scores:    " + std::to_string(setup.score_mods.size()) + " modifiers\n";
  text += "memory:    " + short_number(static_cast<double>(workspace_bytes), "B") +
          " of scratch for " + std::to_string(executor.num_threads()) + " threads\n";
  return text;
}

}  // namespace regard
