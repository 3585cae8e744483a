// bench/problem.h - one attention computation to be measured: inputs, plan, and what it costs.
#pragma once

#include <cstdint>
#include <vector>

#include "bench/buffer.h"
#include "bench/read_loops.h"
#include "regard/regard.h"

namespace regard::bench {

/// Letters as in regard/attention.h. One storage type for all four tensors, batch 1.
struct ProblemShape {
  DType dtype = DType::kF32;
  std::int64_t num_heads = 1;
  std::int64_t num_kv_heads = 1;
  std::int64_t q_len = 1;
  std::int64_t kv_len = 1;
  std::int64_t head_dim = 128;
  AnyMask mask = {};
  double pairs = 0;  ///< (query, key) pairs that the mask allows, per head

  /// Useful operations: both products over the allowed pairs.
  double flops() const { return 4 * pairs * static_cast<double>(num_heads * head_dim); }
  /// Bytes of keys and values.
  double cache_bytes() const {
    return 2 * static_cast<double>(num_kv_heads * kv_len * head_dim) *
           static_cast<double>(size_of(dtype));
  }
};

/// The problem on random inputs. With several copies of keys and values, like the layers of a
/// model, no call finds them in the cache.
class Problem {
 public:
  /// Throws what Plan throws.
  explicit Problem(const ProblemShape& shape, Executor& executor = serial_executor(),
                   std::int64_t num_copies = 1);

  void run_all_copies();
  void run(const RunOptions& options = {}) { run_copy(caches_.front(), options); }

  const ProblemShape& shape() const { return shape_; }
  const Plan& plan() const { return plan_; }
  std::int64_t num_copies() const { return static_cast<std::int64_t>(caches_.size()); }
  /// Keys and values of all copies, in turns.
  std::vector<Bytes> cache() const;

 private:
  struct Cache {
    Buffer key, value;
  };
  void run_copy(const Cache& cache, const RunOptions& options);

  ProblemShape shape_;
  Plan plan_;
  Buffer query_, out_;
  std::vector<Cache> caches_;
};

}  // namespace regard::bench
