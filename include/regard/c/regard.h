// include/regard/c/regard.h - the engine for C, and for every language that calls C.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// NOLINTBEGIN(readability-identifier-naming): C's names
#ifdef __cplusplus
extern "C" {
#endif

/// How this header is used (docs/c.md):
///  * A function that can fail returns a regard_status and says why in regard_last_error(). It then
///    has changed nothing that it was given but, where a run had begun, the outputs.
///  * A struct that begins with `size` is versioned: set size to sizeof the struct and leave out
///    what you do not need. Zero is the default of every other field. A newer library takes an
///    older, shorter struct; an older library takes a newer, longer one as long as all beyond what
///    it knows is zero.
///  * What a `..._create` function gives, the `..._free` of the same name takes back; null is fine.
///    It keeps copies of texts and spans, and only pointers to views, executors, masks' booleans.
///  * Handles may be used by several threads at once, but not while one frees them.
///  * Meaning, shapes and limits are those of the C++ functions of the same name in ../*.h.

/// "0.1.0": the library that runs, where REGARD_VERSION (../version.h) is the one compiled against.
const char* regard_version(void);

// ---- errors ----

typedef int32_t regard_status;
enum {
  REGARD_OK = 0,
  REGARD_INVALID_ARGUMENT = 1,  ///< the message names it, what came and what was wanted
  REGARD_OUT_OF_MEMORY = 2,     ///< the system's or the caller's allocator gave none
  REGARD_CANCELLED = 3,         ///< the run's regard_cancel was raised
  REGARD_SYSTEM_ERROR = 4,      ///< the system refused something else: a thread, say
  REGARD_INTERNAL_ERROR = 5     ///< anything else, e.g. an exception from a host's callback
};

/// Why the last call of this thread that failed did so; "" when none has. One line (of a wrong mask
/// text three), at most 1023 bytes. Valid until this thread's next call that fails.
const char* regard_last_error(void);

// ---- views ----

typedef int32_t regard_dtype;
enum { REGARD_F32 = 0, REGARD_BF16 = 1, REGARD_F16 = 2 };

/// Element (i0, i1, i2, i3) lies at data + (i0 * strides[0] + ...) elements; strides may be 0 or
/// negative. data may be null when an extent is 0.
typedef struct regard_input {
  const void* data;
  int64_t shape[4];
  int64_t strides[4];  ///< in elements
  regard_dtype dtype;
  int32_t reserved;  ///< 0
} regard_input;

typedef struct regard_output {
  void* data;
  int64_t shape[4];
  int64_t strides[4];  ///< in elements
  regard_dtype dtype;
  int32_t reserved;  ///< 0
} regard_output;

/// lse: (B, H, N), float32.
typedef struct regard_lse {
  float* data;
  int64_t shape[3];
  int64_t strides[3];  ///< in elements
} regard_lse;

/// `count` numbers one after another; count 0: not given.
typedef struct regard_ints {
  const int64_t* data;
  int64_t count;
} regard_ints;
typedef struct regard_floats {
  const float* data;
  int64_t count;
} regard_floats;

/// Row-major views: the last axis is contiguous.
static inline regard_input regard_row_major_input(const void* data, regard_dtype dtype, int64_t n0,
                                                  int64_t n1, int64_t n2, int64_t n3) {
  regard_input view = {data, {n0, n1, n2, n3}, {n1 * n2 * n3, n2 * n3, n3, 1}, dtype, 0};
  return view;
}
static inline regard_output regard_row_major_output(void* data, regard_dtype dtype, int64_t n0,
                                                    int64_t n1, int64_t n2, int64_t n3) {
  regard_output view = {data, {n0, n1, n2, n3}, {n1 * n2 * n3, n2 * n3, n3, 1}, dtype, 0};
  return view;
}

// ---- executors: where work runs ----

typedef struct regard_executor regard_executor;

/// Does task(data, index, worker) for one index.
typedef void (*regard_task)(void* data, int64_t index, int32_t worker);

/// A host's own threads. See Executor in ../executor.h for what parallel_for must keep.
typedef struct regard_host_executor {
  size_t size;
  /// Calls task(data, i, worker) once for every i in [0, num_tasks), worker in [0, num_threads) and
  /// different for tasks that run at the same time; returns when all have returned.
  void (*parallel_for)(void* user, int64_t num_tasks, regard_task task, void* data);
  void* user;
  int64_t num_threads;  ///< 1 or more
} regard_host_executor;

/// A pool of num_threads threads, the caller included.
regard_status regard_executor_create(int32_t num_threads, regard_executor** executor);
regard_status regard_executor_create_host(const regard_host_executor* host,
                                          regard_executor** executor);
void regard_executor_free(regard_executor* executor);

/// CPUs that this process may run on: the threads of the executor that is used where none is given.
int32_t regard_default_num_threads(void);

// ---- attention ----

/// See AttentionShape. Extents that are 0 mean 0 here: batch, num_heads and num_kv_heads have no
/// default.
typedef struct regard_shape {
  size_t size;
  int64_t batch, num_heads, num_kv_heads;
  int64_t q_len, kv_len;
  int64_t head_dim, value_dim;
  regard_dtype query_dtype, key_dtype, value_dtype, out_dtype;
} regard_shape;

/// A boolean for every pair, see DenseMask: (B or 1, H or 1, N, M), true = may see; row 0 is for
/// the query at position q_begin. Read during run, not copied.
typedef struct regard_dense_mask {
  size_t size;
  const bool* data;
  int64_t shape[4];
  int64_t strides[4];
  int64_t q_begin;
} regard_dense_mask;

/// Scores of some rows against some keys, see ScoreTile. Rows of a KV head are numbered query *
/// heads_per_kv_head + head in group; row r of the tile is row_begin + r of them.
typedef struct regard_score_tile {
  float* scores;   ///< row r, key j: scores[r * stride + j]
  int64_t stride;  ///< floats from one row to the next
  int64_t num_rows, num_keys;
  int64_t batch;  ///< index of the sequence
  int64_t kv_head, heads_per_kv_head;
  int64_t row_begin;
  int64_t q_offset;  ///< absolute position of query 0
  int64_t kv_begin;  ///< absolute position of key 0 of the tile
} regard_score_tile;

enum {
  REGARD_SOFT_CAP = 1,  ///< cap
  REGARD_ALIBI = 2,     ///< numbers: slopes (H)
  REGARD_BIAS = 3,      ///< bias: (B or 1, H or 1, N or 1, M or 1); read during run, not copied
  REGARD_RELATIVE_BIAS = 4,  ///< numbers: table (H, num_buckets); bidirectional, max_distance
  REGARD_USER_MOD = 5        ///< apply, user
};

/// One step between score and mask, see score_mod.h. Fields that `kind` does not name are not read.
typedef struct regard_score_mod {
  size_t size;
  int32_t kind;
  float cap;
  regard_floats numbers;
  int64_t num_buckets;    ///< 0: 32
  int64_t max_distance;   ///< 0: 128
  int64_t one_direction;  ///< not 0: keys after the query share bucket 0
  regard_input bias;
  /// Called from several threads at once; see UserMod.
  void (*apply)(void* user, const regard_score_tile* tile);
  void* user;
} regard_score_mod;

/// Where scratch memory comes from. Both functions may be called from several threads at once.
typedef struct regard_allocator {
  size_t size;
  /// An address that is a multiple of `alignment`; null when there is no memory.
  void* (*allocate)(void* user, size_t bytes, size_t alignment);
  void (*deallocate)(void* user, void* memory, size_t bytes, size_t alignment);
  void* user;
} regard_allocator;

/// See AttentionOptions. Null for the whole: all defaults.
typedef struct regard_options {
  size_t size;
  const char* mask;                     ///< "causal & window(4096, 0)", see mask_text.h; null: full
  const regard_dense_mask* dense_mask;  ///< a pair must be allowed by both masks; null: none
  const float* scale;                   ///< null: 1 / sqrt(head_dim)
  const int64_t* q_offset;              ///< null: not given
  regard_ints q_offsets;                ///< (S)
  regard_ints kv_lens;                  ///< (S)
  regard_ints cu_seqlens_q, cu_seqlens_kv;  ///< (S + 1)
  const regard_score_mod* score_mods;       ///< in order, all of the first one's size
  int64_t num_score_mods;
  regard_floats sinks;  ///< (H)
  int64_t kv_offset;
  regard_executor* executor;          ///< null: the process-wide pool. Must outlive the plan.
  const regard_allocator* allocator;  ///< null: malloc's. What it points to is copied.
} regard_options;

/// Stops runs from another thread or a signal handler.
typedef struct regard_cancel regard_cancel;
regard_status regard_cancel_create(regard_cancel** cancel);
/// Runs that watch it end within 50 ms with REGARD_CANCELLED; runs that begin do so at once.
void regard_cancel_raise(regard_cancel* cancel);
/// For the next run, when none is watching.
void regard_cancel_lower(regard_cancel* cancel);
void regard_cancel_free(regard_cancel* cancel);

/// See RunOptions. Null for the whole: all defaults.
typedef struct regard_run_options {
  size_t size;
  const regard_lse* lse;  ///< also written, when given
  const regard_cancel* cancel;
  regard_ints q_offsets;  ///< (S), instead of the plan's
  regard_ints kv_lens;    ///< (S), instead of the plan's
  void* workspace;        ///< 64-byte aligned; null: the plan's own
  size_t workspace_bytes;
} regard_run_options;

/// Attention in one call, see attention().
regard_status regard_attention(const regard_input* query, const regard_input* key,
                               const regard_input* value, const regard_output* out,
                               const regard_options* options, const regard_run_options* run);

/// A decided computation for many calls of one shape, see Plan.
typedef struct regard_plan regard_plan;
regard_status regard_plan_create(const regard_shape* shape, const regard_options* options,
                                 regard_plan** plan);
regard_status regard_plan_run(const regard_plan* plan, const regard_input* query,
                              const regard_input* key, const regard_input* value,
                              const regard_output* out, const regard_run_options* run);
/// Scratch memory of one run, for all threads together; 0 for null.
int64_t regard_plan_workspace_bytes(const regard_plan* plan);
/// A few lines for people. Null on an error. Valid until this thread's next regard_plan_explain.
const char* regard_plan_explain(const regard_plan* plan);
void regard_plan_free(regard_plan* plan);

// ---- states: attention over a part of the keys, and the parts put together ----

/// What rows know after some of the keys, see AttentionState.
typedef struct regard_state regard_state;

/// The numbers of a state, to be sent elsewhere or received: (B, H, N), and out (B, H, N, E),
/// row-major. Valid until the state is merged into or freed.
typedef struct regard_state_view {
  size_t size;
  int64_t batch, num_heads, q_len, value_dim;
  float *max, *sum, *out;
} regard_state_view;

/// See partial_attention().
regard_status regard_partial_attention(const regard_input* query, const regard_input* key,
                                       const regard_input* value, const regard_options* options,
                                       const regard_run_options* run, regard_state** state);
/// A state of rows that saw no key.
regard_status regard_state_create(int64_t batch, int64_t num_heads, int64_t q_len,
                                  int64_t value_dim, regard_state** state);
/// Fills in all of view but its size, which says how much of it there is.
regard_status regard_state_get(regard_state* state, regard_state_view* view);
/// right becomes the state over the keys of both; left's come before right's. See merge().
regard_status regard_state_merge(const regard_state* left, regard_state* right);
/// See finish(). lse may be null, sinks too.
regard_status regard_state_finish(const regard_state* state, const regard_output* out,
                                  const regard_lse* lse, const regard_floats* sinks);
void regard_state_free(regard_state* state);

// ---- rotary positions ----

enum { REGARD_ROPE_HALF_SPLIT = 0, REGARD_ROPE_INTERLEAVED = 1 };
enum {
  REGARD_ROPE_NO_SCALING = 0,
  REGARD_ROPE_LINEAR = 1,       ///< factor
  REGARD_ROPE_NTK = 2,          ///< factor
  REGARD_ROPE_DYNAMIC_NTK = 3,  ///< factor, original_max_len, seq_len
  REGARD_ROPE_YARN = 4,         ///< all but seq_len, low_freq_factor and high_freq_factor
  REGARD_ROPE_LLAMA3 = 5        ///< factor, low_freq_factor, high_freq_factor, original_max_len
};

/// See RopeOptions; a field that is 0 has the default that rope.h says.
typedef struct regard_rope_options {
  size_t size;
  double base;
  int64_t rotary_dim;
  int32_t style, scaling;
  double factor;
  int64_t original_max_len, seq_len;
  double low_freq_factor, high_freq_factor;
  double beta_fast, beta_slow;
  double attention_factor;
  double mscale, mscale_all_dim;
  int64_t no_truncate;  ///< not 0: the ramp's ends are not rounded
} regard_rope_options;

typedef struct regard_rope regard_rope;
regard_status regard_rope_create(int64_t head_dim, const regard_rope_options* options,
                                 regard_rope** rope);
/// Token n stands at first_position + n, in place where out has x's data and strides. See Rope.
regard_status regard_rope_apply(const regard_rope* rope, const regard_input* x,
                                const regard_output* out, int64_t first_position,
                                regard_executor* executor);
/// The same with a position per token: (N) or (B, N).
regard_status regard_rope_apply_at(const regard_rope* rope, const regard_input* x,
                                   const regard_output* out, const regard_ints* positions,
                                   regard_executor* executor);
void regard_rope_free(regard_rope* rope);

// ---- linear layers ----

/// y = x weight^T + bias, float32, all row-major; see Linear.
typedef struct regard_linear regard_linear;
/// weight (out_features, in_features); bias (out_features) or null. Both are copied.
regard_status regard_linear_create(const float* weight, const float* bias, int64_t out_features,
                                   int64_t in_features, regard_linear** linear);
/// x (rows, in_features), y (rows, out_features), not overlapping.
regard_status regard_linear_run(const regard_linear* linear, const float* x, float* y, int64_t rows,
                                regard_executor* executor);
void regard_linear_free(regard_linear* linear);

#ifdef __cplusplus
}
#endif
// NOLINTEND(readability-identifier-naming)
