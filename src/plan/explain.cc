// src/plan/explain.cc - a plan in words: what will run, how much of it, and why so.
#include <algorithm>
#include <array>
#include <cstdio>

#include "exec/run.h"
#include "plan/cost.h"
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

/// 0.00123 -> "1.2 ms".
std::string short_time(double seconds) {
  if (seconds >= 0.9995) return short_number(seconds, "s");
  return seconds >= 0.9995e-3 ? short_number(seconds * 1e3, "ms")
                              : short_number(seconds * 1e6, "us");
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

std::string why_this_cut(const exec::Setup& setup, int num_threads) {
  const auto rows = std::to_string(setup.strip_rows);
  std::string text = "strips of " + rows + " rows, " + std::to_string(setup.block_rows) +
                     " rows share packed keys and values";
  if (setup.block_rows <= exec::kMostStripRows)
    text = "one strip of up to " + rows +
           " rows: keys and values are read once, values where they lie";
  text += "; tiles of " + std::to_string(exec::kTileKeys) + " keys, chunks of " +
          std::to_string(exec::kChunkKeys);
  const auto blocks = static_cast<std::int64_t>(setup.blocks.size()),
             tasks = exec::num_tasks(setup, num_threads);
  if (tasks > blocks)
    text += "; keys in " + std::to_string(tasks / blocks) + " parts, since " +
            std::to_string(blocks) + " blocks of rows do not keep " + std::to_string(num_threads) +
            " threads busy";
  return text;
}

std::string describe_tiles(const PlanCost& cost) {
  return std::string(cost.is_exact ? "" : "about ") + std::to_string(cost.tiles.full) + " full, " +
         std::to_string(cost.tiles.partial) + " partial, " + std::to_string(cost.tiles.empty) +
         " skipped: no query sees their keys";
}

std::string describe_work(const PlanCost& cost) {
  std::string text = short_number(cost.useful_flops, "FLOP");
  if (cost.computed_flops > cost.useful_flops)
    text += " of use, " + short_number(cost.computed_flops, "FLOP") + " computed in whole tiles";
  text += "; " + short_number(cost.cache_bytes, "B") + " of keys and values";
  if (cost.read_bytes > cost.cache_bytes)
    text += ", " + short_number(cost.read_bytes, "B") + " read by all blocks of rows";
  return text;
}

std::string describe_time(const Prediction& p, const PlanCost& cost) {
  return short_time(p.seconds) + " predicted on " + std::to_string(cost.threads) +
         " threads: " + (p.reading_binds() ? "reading binds" : "arithmetic binds") +
         " (alone, computing takes " + short_time(p.compute_seconds) + " and reading " +
         short_time(p.read_seconds) + ")";
}

}  // namespace

std::string Plan::Impl::explain(const MachineLimits* limits) const {
  const AttentionShape& s = setup.shape;
  const plan::Work work = count_work();
  const PlanCost cost = cost_of(work);
  const auto line = [](const char* name, const std::string& what) {
    return std::string(name) + std::string(11 - std::string_view(name).size(), ' ') + what + "\n";
  };
  std::string text =
      line("attention:", std::to_string(setup.sequences.size()) + " sequences, " +
                             std::to_string(s.num_heads) + " heads over " +
                             std::to_string(s.num_kv_heads) + ", " + std::to_string(s.q_len) +
                             " queries x " + std::to_string(s.kv_len) + " keys, head_dim " +
                             std::to_string(s.head_dim) + ", value_dim " +
                             std::to_string(s.value_dim) + ", " + describe_dtypes(s));
  text += line("kernels:", std::string(setup.kernels->isa) + ", " + why_this_arithmetic(setup));
  text += line("cut:", why_this_cut(setup, cost.threads));
  text += line("tiles:", describe_tiles(cost));
  text += line("work:", describe_work(cost));
  if (!setup.score_mods.empty())
    text += line("scores:", std::to_string(setup.score_mods.size()) + " modifiers");
  text += line("memory:", short_number(static_cast<double>(workspace_bytes), "B") +
                              " of scratch for " + std::to_string(cost.threads) + " threads");
  if (limits != nullptr)
    text += line("time:", describe_time(plan::predict(setup, work, cost.threads, *limits), cost));
  return text;
}

}  // namespace regard
