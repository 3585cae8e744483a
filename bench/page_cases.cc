// bench/page_cases.cc - one query row against keys and values in pages: what pages cost, and what
// int8 saves.
#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <vector>

#include "bench/cases.h"
#include "bench/clock.h"

namespace regard::bench {
namespace {

constexpr std::int64_t kKvHeads = 8;
constexpr std::int64_t kHeadDim = 128;
constexpr std::int64_t kKvLen = 65536;

/// A sequence in a cache of one layer; another one has every second page.
class PagedProblem {
 public:
  PagedProblem(DType dtype, std::int64_t page_size, std::int64_t ratio = 4)
      : heads_(kKvHeads * ratio),
        cache_({.num_kv_heads = kKvHeads,
                .head_dim = kHeadDim,
                .value_dim = kHeadDim,
                .dtype = dtype,
                .page_size = page_size,
                .budget_bytes = std::int64_t{1} << 32}),
        query_(random_numbers(DType::kF32, heads_ * kHeadDim)),
        out_(random_numbers(DType::kF32, heads_ * kHeadDim)),
        plan_(attention_shape(page_size), attention_options()) {
    fill();
    run();
  }

  void run() {
    const std::array<std::int64_t, 4> shape{1, heads_, 1, kHeadDim};
    const std::array<std::int64_t, 4> strides{heads_ * kHeadDim, kHeadDim, kHeadDim, 1};
    plan_.run({query_.bytes().data(), DType::kF32, shape, strides}, view_,
              {out_.data(), DType::kF32, shape, strides});
  }
  double seconds() {
    return seconds_of(cpu_seconds, kLeastSeconds, [&] { run(); });
  }
  const Plan& plan() const { return plan_; }
  /// Of keys, values and scales.
  double bytes() const {
    const KvCacheShape& shape = cache_.shape();
    const auto row = static_cast<double>(kHeadDim) * static_cast<double>(size_of(shape.dtype)) +
                     (shape.dtype == DType::kI8 ? sizeof(float) : 0);
    return 2 * static_cast<double>(kKvHeads * kKvLen) * row;
  }

 private:
  AttentionShape attention_shape(std::int64_t page_size) const {
    return {.batch = 1,
            .num_heads = heads_,
            .num_kv_heads = kKvHeads,
            .q_len = 1,
            .kv_len = kKvLen,
            .head_dim = kHeadDim,
            .value_dim = kHeadDim,
            .key_dtype = cache_.shape().dtype,
            .value_dtype = cache_.shape().dtype,
            .page_size = page_size};
  }
  static AttentionOptions attention_options() {
    AttentionOptions options;
    options.q_offset = kKvLen - 1;
    options.executor = &serial_executor();
    return options;
  }

  void fill() {
    constexpr std::int64_t kRows = 1024;
    const Buffer numbers = random_numbers(DType::kF32, kKvHeads * kRows * kHeadDim);
    const InputView<3> rows(reinterpret_cast<const float*>(numbers.bytes().data()),
                            {kKvHeads, kRows, kHeadDim});
    const auto sequence = cache_.create(), other = cache_.create();
    const std::int64_t page_size = cache_.shape().page_size;
    for (std::int64_t at = 0; at < kKvLen; at += page_size) {
      cache_.extend(sequence, page_size);
      if (page_size < kKvLen) cache_.extend(other, page_size);
    }
    for (std::int64_t at = 0; at < kKvLen; at += kRows) cache_.write(0, sequence, at, rows, rows);
    cache_.release(other);
    view_ = cache_.view(sequence);
  }

  std::int64_t heads_;
  PagedKvCache cache_;
  PagedView view_;
  Buffer query_, out_;
  Plan plan_;
};

std::string name_of_type(DType dtype) { return dtype == DType::kI8 ? "int8" : name_in_case(dtype); }

/// Bytes/s of keys and values against those of the one-page case.
Case pages_case(DType dtype, std::int64_t page_size) {
  const auto prepare = [=](const Context&) -> Prepared {
    const auto pages = std::make_shared<PagedProblem>(dtype, page_size);
    const auto whole = std::make_shared<PagedProblem>(dtype, kKvLen);
    const double bytes = pages->bytes() * kGiga;
    return {[=]() -> Pair { return {bytes / pages->seconds(), bytes / whole->seconds()}; },
            {},
            [=](const MachineLimits& limits, double) {
              return bytes / pages->plan().predict(limits).seconds;
            }};
  };
  return {.name = "pages." + name_of_type(dtype) + ".p" + std::to_string(page_size) + ".n" +
                  std::to_string(kKvLen),
          .unit = "GB/s",
          .prepare = prepare};
}

/// Bytes/s of keys, values and scales against reading as many.
Case int8_case(std::int64_t ratio) {
  const auto prepare = [ratio](const Context& context) -> Prepared {
    const auto work = std::make_shared<PagedProblem>(DType::kI8, 256, ratio);
    const auto memory = std::make_shared<Buffer>(static_cast<std::size_t>(work->bytes()));
    std::fill_n(memory->data(), memory->bytes().size(), std::byte{1});
    const auto loops = std::make_shared<ReadLoops>(std::vector<Bytes>{memory->bytes()});
    const double bytes = work->bytes() * kGiga;
    return {[=, &machine = context.machine]() -> Pair {
              // `memory` is named so that it lives as long as the loops.
              return {bytes / work->seconds(),
                      memory->bytes().empty() ? 0 : machine.bytes(*loops) * kGiga};
            },
            {},
            [=](const MachineLimits& limits, double) {
              return bytes / work->plan().predict(limits).seconds;
            }};
  };
  return {.name = "decode.int8.ratio" + std::to_string(ratio) + ".n" + std::to_string(kKvLen),
          .unit = "GB/s",
          .prepare = prepare};
}

}  // namespace

void add_page_cases(std::vector<Case>& cases) {
  for (const std::int64_t ratio : {1, 4}) cases.push_back(int8_case(ratio));
  for (const DType dtype : {DType::kF32, DType::kBf16, DType::kF16, DType::kI8}) {
    for (const std::int64_t page_size : {16, 64, 256}) {
      cases.push_back(pages_case(dtype, page_size));
    }
  }
}

}  // namespace regard::bench
