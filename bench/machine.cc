// bench/machine.cc - this machine: its names, its sizes, and its limits as they were measured.
#include "bench/machine.h"

#include <algorithm>
#include <fstream>

#include "bench/buffer.h"
#include "bench/peak.h"

namespace regard::bench {
namespace {

constexpr std::int64_t kMostBytes = std::int64_t{1} << 30;

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

}  // namespace

std::string cpu_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    const std::size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown CPU";
}

std::int64_t last_level_cache_bytes() {
  std::int64_t most = 0;
  for (int i = 0; i < 8; ++i) {  // Linux: "32768K"
    const std::string folder = "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(i);
    const std::string size = first_line(folder + "/size");
    if (size.ends_with('K')) most = std::max(most, std::int64_t{std::stoll(size)} * 1024);
  }
  return most > 0 ? most : std::int64_t{32} << 20;
}

std::int64_t beyond_cache_bytes() { return std::min(4 * last_level_cache_bytes(), kMostBytes); }

Machine::Machine() {
  const Buffer memory = random_numbers(DType::kF32, beyond_cache_bytes() / 4);
  const auto half = memory.bytes().size() / 2;
  const ReadLoops loops({memory.bytes().first(half), memory.bytes().subspan(half)});
  for (int i = 0; i < 5; ++i) {
    flops(DType::kF32);
    flops(DType::kBf16);
    bytes(loops);
  }
}

double Machine::flops(DType dtype) {
  const double rate = peak_flops(dtype);
  (dtype == DType::kBf16 && has_bf16_dot() ? dot_ : fma_).push_back(rate);
  return rate;
}

double Machine::bytes(const ReadLoops& read_loops) {
  read_.push_back(read_loops.bytes_per_second());
  return read_.back();
}

double Machine::median_fma() const { return median(fma_); }
double Machine::median_read() const { return median(read_); }
std::optional<double> Machine::median_dot() const {
  return dot_.empty() ? std::nullopt : std::optional(median(dot_));
}

MachineLimits Machine::limits() const {
  return {.fma_flops = median_fma(),
          .dot_flops = median_dot().value_or(0),
          .read_bytes_per_second = median_read()};
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>((values.size() - 1) / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

}  // namespace regard::bench
