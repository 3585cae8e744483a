// src/plan/explain.cc - a plan in words: what will run, how much of it, and why so.
#include <algorithm>
#include <array>
#include <cstdio>
#include <string_view>

#include "exec/run.h"
#include "plan/plan.h"

namespace regard {
namespace {

/// 1234567, "B" -> "1.2 MB".
std::string short_number(double x, std::string_view unit) {
  constexpr std::array<const char*, 7> kPrefixes{"", "k", "M", "G", "T", "P", "E"};
  std::size_t i = 0;
  for (; x >= 999.5 && i + 1 < kPrefixes.size(); ++i) x /= 1000;
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), i == 0 || x >= 99.5 ? "%.0f %s" : "%.1f %s", x,
                kPrefixes[i]);
  return text.data() + std::string(unit.substr(i == 0 && unit.front() == ' ' ? 1 : 0));
}

/// 0.00123 -> "1.2 ms".
std::string short_time(double seconds) {
  struct Unit {
    double seconds, least;  // "90 s" rather than "1.5 min"
    const char* name;
  };
  constexpr Unit kUnits[] = {{86'400, 2, " days"}, {3600, 2, " h"},       {60, 2, " min"},
                             {1, 0.9995, " s"},    {1e-3, 0.9995, " ms"}, {1e-6, 0, " us"}};
  const Unit* unit = kUnits;
  while (seconds < unit->seconds * unit->least) ++unit;
  const double x = seconds / unit->seconds;
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), x >= 99.5 ? "%.0f%s" : "%.2g%s", x, unit->name);
  return text.data();
}

/// "1 query", "2 queries".
std::string count(std::int64_t n, const char* one, const char* many) {
  return std::to_string(n) + " " + (n == 1 ? one : many);
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
                 : "float32: 16-bit numbers are widened, since not all\nof query, key and value "
                   "are bf16";
}

std::string why_this_cut(const exec::Setup& setup, int num_threads) {
  const std::string rows = std::to_string(setup.strip_rows);
  std::string text =
      setup.block_rows <= exec::kMostStripRows
          ? "one strip of up to " + rows + " rows: keys and values are read once, where they lie"
          : "strips of " + rows + " rows, " + std::to_string(setup.block_rows) +
                " rows share packed keys and values";
  text += "\ntiles of " + std::to_string(exec::kTileKeys) + " keys, chunks of " +
          std::to_string(exec::kChunkKeys);
  const auto blocks = static_cast<std::int64_t>(setup.blocks.size()),
             tasks = exec::num_tasks(setup, num_threads);
  if (tasks > blocks) {
    text += "\nkeys in " + std::to_string(tasks / blocks) +
            " parts: " + count(blocks, "block", "blocks") + " of rows for " +
            count(num_threads, "thread", "threads");
  }
  return text;
}

std::string describe_mask(const plan::TileMap& masks, const PlanCost& cost) {
  constexpr std::size_t kLongest = 50;
  std::string text = masks.describe();
  if (text.size() > kLongest) text = text.substr(0, kLongest) + "...";
  std::array<char, 32> share{};
  std::snprintf(share.data(), share.size(), "%.3g%%",
                cost.pairs > 0 ? 100 * cost.allowed_pairs / cost.pairs : 0.0);
  return text + (masks.varies() ? ", another in each head or sequence" : "") + ": " + share.data() +
         " of " + short_number(cost.pairs, " pairs");
}

std::string describe_tiles(const PlanCost& cost) {
  return std::string(cost.is_exact ? "" : "about ") + std::to_string(cost.tiles.full) + " full, " +
         std::to_string(cost.tiles.partial) + " partial, " + std::to_string(cost.tiles.empty) +
         " skipped, since no query sees their keys";
}

std::string describe_work(const PlanCost& cost) {
  std::string text = short_number(cost.useful_flops, "FLOP");
  if (cost.computed_flops > cost.useful_flops)
    text += " of use, " + short_number(cost.computed_flops, "FLOP") + " computed in whole tiles";
  return text;
}

std::string describe_bytes(const PlanCost& cost) {
  return short_number(cost.cache_bytes, "B") + " of keys and values, " +
         short_number(cost.read_bytes, "B") + " read by all blocks of rows";
}

std::string describe_time(const Prediction& p, int threads) {
  return short_time(p.seconds) + " predicted on " + count(threads, "thread", "threads") + "\n" +
         (p.reading_binds() ? "reading binds" : "arithmetic binds") + ": alone, computing takes " +
         short_time(p.compute_seconds) + " and reading " + short_time(p.read_seconds);
}

std::string describe_shape(const exec::Setup& setup) {
  const AttentionShape& s = setup.shape;
  return count(static_cast<std::int64_t>(setup.sequences.size()), "sequence", "sequences") + ", " +
         count(s.num_heads, "head", "heads") + " over " + std::to_string(s.num_kv_heads) + ", " +
         count(s.q_len, "query", "queries") + " x " + count(s.kv_len, "key", "keys") +
         "\nhead_dim " + std::to_string(s.head_dim) + ", value_dim " + std::to_string(s.value_dim) +
         ", " + describe_dtypes(s);
}

/// A name, and what follows it with its lines below each other.
std::string line(std::string_view name, std::string_view what) {
  constexpr std::size_t kIndent = 11;
  std::string text = std::string(name) + std::string(kIndent - name.size(), ' ');
  for (const char c : what) {
    text += c;
    if (c == '\n') text.append(kIndent, ' ');
  }
  return text + "\n";
}

}  // namespace

std::string Plan::Impl::explain(const MachineLimits* limits) const {
  const PlanCost c = cost();
  std::string text = line("attention:", describe_shape(setup));
  text += line("mask:", describe_mask(masks, c));
  text += line("kernels:", std::string(setup.kernels->isa) + ", " + why_this_arithmetic(setup));
  text += line("cut:", why_this_cut(setup, c.threads));
  text += line("tiles:", describe_tiles(c));
  text += line("work:", describe_work(c));
  text += line("bytes:", describe_bytes(c));
  if (!setup.score_mods.empty())
    text += line("scores:", std::to_string(setup.score_mods.size()) + " modifiers");
  text += line("memory:", short_number(static_cast<double>(workspace_bytes), "B") +
                              " of scratch for " + count(c.threads, "thread", "threads"));
  if (limits != nullptr) text += line("time:", describe_time(predict(*limits), c.threads));
  return text;
}

}  // namespace regard
