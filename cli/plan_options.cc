// cli/plan_options.cc - the arguments of regard plan, checked.
#include "cli/plan_options.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "cli/command.h"
#include "cli/mask_options.h"
#include "cli/suggest.h"
#include "cli/unicode.h"
#include "regard/executor.h"

namespace regard::cli {
namespace {

constexpr std::int64_t kMostExtent = std::int64_t{1} << 40, kMostHeads = std::int64_t{1} << 20;
constexpr std::int64_t kMostDim = 1024, kMostThreads = 1024;
constexpr double kMostRows = 0x1p31, kMostElements = 0x1p56;  // a plan lists its blocks of rows

constexpr const char* kFooter = R"END(
Nothing is allocated or computed. Pairs are of a query and a key, useful FLOPs
those of pairs that the mask allows. The time is predicted from this machine's
limits, measured in half a second, or from --limits; docs/plan.md says how, and
regard bench how well. Masks are expressions in quotes, see regard mask --help.
Queries are the last ones of the keys unless --q-offset says where they begin.

Examples:
  regard plan --q 4096
  regard plan --heads 32 --kv-heads 8 --q 1 --kv 131072 --dtype bf16
  regard plan --q 65536 --mask "causal & window(4095, 0)" --threads 1
  regard plan --heads 32 --kv-heads 8 --dtype bf16 --table
  regard plan --table --mask "causal & window(4095, 0)" --json -
  regard plan --kv 8192 --limits 118,236,22
)END";

/// As they came: empty where they did not.
struct Words {
  std::string heads = "32", kv_heads, head_dim = "128", value_dim, q, kv, batch = "1";
  std::string dtype = "f32", kv_dtype, mask = "causal", q_offset, threads, limits;
};

DType read_dtype(const std::string& option, const std::string& text) {
  std::vector<std::string> names;
  for (const DType dtype : {DType::kF32, DType::kBf16, DType::kF16}) {
    if (text == name_of(dtype)) return dtype;
    names.emplace_back(name_of(dtype));
  }
  throw UsageError(option + " is \"" + printable(text) + "\", expected f32, bf16 or f16" +
                   did_you_mean(text, names));
}

/// FMA, dot and read as numbers of 1e9 a second.
MachineLimits read_limits(const std::string& text) {
  std::array<double, 3> rates{};
  const char *at = text.data(), *const end = at + text.size();
  for (std::size_t i = 0; i < rates.size(); ++i) {
    const auto [stop, error] = std::from_chars(at, end, rates[i]);
    const bool last = i + 1 == rates.size(), may_be_0 = i == 1;
    const bool in_range = rates[i] <= 1e9 && (rates[i] >= 1e-3 || (may_be_0 && rates[i] == 0));
    if (error != std::errc{} || !in_range || (last ? stop != end : stop == end || *stop != ',')) {
      throw UsageError("--limits is \"" + printable(text) +
                       "\", expected three numbers as in 118,236,22: GFLOP/s of float32 and of "
                       "bf16 pairs (0: none) and GB/s, of one core");
    }
    at = stop + 1;
  }
  return {.fma_flops = rates[0] * 1e9,
          .dot_flops = rates[1] * 1e9,
          .read_bytes_per_second = rates[2] * 1e9};
}

/// "4 or 8": the divisors of n on both sides of k.
std::string nearest_divisors(std::int64_t n, std::int64_t k) {
  std::int64_t below = 1, above = n;
  for (std::int64_t d = 1; d * d <= n; ++d) {
    if (n % d != 0) continue;
    for (const std::int64_t divisor : {d, n / d}) {
      if (divisor < k) below = std::max(below, divisor);
      if (divisor > k) above = std::min(above, divisor);
    }
  }
  return std::to_string(below) + (above == below ? "" : " or " + std::to_string(above));
}

/// Sizes of which no product overflows, here or in the plan.
void check_products(const AttentionShape& s) {
  const auto check = [](const char* what, std::initializer_list<std::int64_t> extents,
                        double most) {
    double product = 1;
    for (const std::int64_t extent : extents) product *= static_cast<double>(extent);
    if (product > most)
      throw UsageError(std::string(what) + " is too large, expected at most 2^" +
                       std::to_string(static_cast<int>(std::log2(most))) + " of them together");
  };
  check("--batch * --kv-heads", {s.batch, s.num_kv_heads}, kMostHeads);
  check("--batch * --heads * --q", {s.batch, s.num_heads, s.q_len}, kMostRows);
  check("--batch * --kv-heads * --kv * --head-dim or --value-dim",
        {s.batch, s.num_kv_heads, s.kv_len, std::max(s.head_dim, s.value_dim)}, kMostElements);
}

void read_lengths(const Words& words, bool table, AttentionShape& s) {
  for (const auto& [name, text] :
       {std::pair{"--q", &words.q}, {"--kv", &words.kv}, {"--q-offset", &words.q_offset}}) {
    if (table && !text->empty())
      throw UsageError(std::string("--table has lengths of its own, leave out ") + name);
  }
  if (table) {
    s.q_len = s.kv_len = std::int64_t{1} << 17;
    return;
  }
  if (words.q.empty() && words.kv.empty())
    throw UsageError("how many queries and keys? --q 4096, or --q 1 --kv 131072, or --table");
  s.q_len = whole_number(words.q.empty() ? "--kv" : "--q", words.q.empty() ? words.kv : words.q, 1,
                         kMostExtent);
  s.kv_len = words.kv.empty() ? s.q_len : whole_number("--kv", words.kv, 1, kMostExtent);
}

AttentionShape read_shape(const Words& words, bool table) {
  AttentionShape s;
  s.batch = whole_number("--batch", words.batch, 1, kMostHeads);
  s.num_heads = whole_number("--heads", words.heads, 1, kMostHeads);
  s.num_kv_heads = words.kv_heads.empty()
                       ? s.num_heads
                       : whole_number("--kv-heads", words.kv_heads, 1, kMostHeads);
  if (s.num_heads % s.num_kv_heads != 0)
    throw UsageError("--kv-heads is " + words.kv_heads + ", expected a divisor of --heads (" +
                     words.heads + "): " + nearest_divisors(s.num_heads, s.num_kv_heads));
  s.head_dim = whole_number("--head-dim", words.head_dim, 1, kMostDim);
  s.value_dim = words.value_dim.empty() ? s.head_dim
                                        : whole_number("--value-dim", words.value_dim, 1, kMostDim);
  s.query_dtype = s.out_dtype = read_dtype("--dtype", words.dtype);
  s.key_dtype = s.value_dtype =
      words.kv_dtype.empty() ? s.query_dtype : read_dtype("--kv-dtype", words.kv_dtype);
  read_lengths(words, table, s);
  check_products(s);
  return s;
}

void add_options(CLI::App& app, Words& words, PlanOptions& options) {
  app.footer(kFooter);
  const auto add = [&app](const char* name, std::string& value, const char* type,
                          const char* what) {
    return app.add_option(name, value, what)->type_name(type);
  };
  add("--q", words.q, "N", "Queries; as many as keys by default");
  add("--kv", words.kv, "N", "Keys; as many as queries by default");
  add("--heads", words.heads, "N", "Query heads")->capture_default_str();
  add("--kv-heads", words.kv_heads, "N", "Key and value heads; as many by default");
  add("--head-dim", words.head_dim, "N", "Numbers of a query and a key")->capture_default_str();
  add("--value-dim", words.value_dim, "N", "... of a value; the same by default");
  add("--batch", words.batch, "N", "Sequences")->capture_default_str();
  add("--dtype", words.dtype, "TYPE", "f32, bf16 or f16")->capture_default_str();
  add("--kv-dtype", words.kv_dtype, "TYPE", "... of keys and values; the same by default");
  add("--mask", words.mask, "MASK", "Which query sees which key")->capture_default_str();
  add("--q-offset", words.q_offset, "N", "First query's position; --kv less --q by default");
  add("--threads", words.threads, "N", "Threads; one for each CPU by default");
  add("--limits", words.limits, "F,D,R", "Instead of measuring: GFLOP/s, bf16 GFLOP/s, GB/s");
  app.add_flag("--table", options.table, "Prompts and steps of 1K to 128K tokens");
  add("--json", options.json, "FILE", "Write JSON too; - is standard output, alone");
}

}  // namespace

bool PlanOptions::parse(std::span<const char* const> arguments) {
  CLI::App app{"Say what an attention computation costs before it runs.", "regard plan"};
  Words words;
  add_options(app, words, *this);
  if (!cli::parse(app, arguments)) return false;
  shape = read_shape(words, table);
  mask = read_mask(words.mask);
  if (!words.q_offset.empty())
    q_offset = whole_number("--q-offset", words.q_offset, -kMostExtent, kMostExtent);
  threads = words.threads.empty()
                ? default_num_threads()
                : static_cast<int>(whole_number("--threads", words.threads, 1, kMostThreads));
  if (!words.limits.empty()) limits = read_limits(words.limits);
  return true;
}

}  // namespace regard::cli
