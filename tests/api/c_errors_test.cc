// tests/api/c_errors_test.cc - what C functions refuse: codes, messages, structs of other versions.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "regard/c/regard.h"
#include "support/dense.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define REGARD_ADDRESS_SANITIZER
#endif
#endif

namespace regard::test {
namespace {

/// A problem that runs, to be spoiled.
struct Setting {
  Setting() {
    query = regard_row_major_input(q.data.data(), REGARD_F32, 1, 2, 4, 8);
    key = regard_row_major_input(k.data.data(), REGARD_F32, 1, 2, 4, 8);
    value = key;
    out = regard_row_major_output(o.data.data(), REGARD_F32, 1, 2, 4, 8);
    options.size = sizeof(options);
    run.size = sizeof(run);
    lse = {numbers, {1, 2, 4}, {8, 4, 1}};
    shape = {.size = sizeof(shape),
             .batch = 1,
             .num_heads = 2,
             .num_kv_heads = 2,
             .q_len = 4,
             .kv_len = 4,
             .head_dim = 8,
             .value_dim = 8,
             .query_dtype = REGARD_F32,
             .key_dtype = REGARD_F32,
             .value_dtype = REGARD_F32,
             .out_dtype = REGARD_F32};
  }
  regard_status attend() { return regard_attention(&query, &key, &value, &out, &options, &run); }

  Rng rng{1};
  Dense<float> q{{1, 2, 4, 8}, rng}, k{{1, 2, 4, 8}, rng}, o{{1, 2, 4, 8}};
  float numbers[8] = {};
  regard_input query, key, value;
  regard_output out;
  regard_lse lse;
  regard_options options{};
  regard_run_options run{};
  regard_shape shape;
};

#define EXPECT_REFUSED(call, words)         \
  EXPECT_EQ(call, REGARD_INVALID_ARGUMENT); \
  EXPECT_STREQ(regard_last_error(), words)

// ---- every code ----

TEST(CErrors, ANewThreadHasNone) {
  Setting s;
  s.query.dtype = 7;
  EXPECT_EQ(s.attend(), REGARD_INVALID_ARGUMENT);
  std::string seen = "not looked";
  std::thread([&] { seen = regard_last_error(); }).join();
  EXPECT_EQ(seen, "");
  EXPECT_STRNE(regard_last_error(), "");
}

TEST(CErrors, SuccessLeavesTheLastMessage) {
  Setting s;
  EXPECT_EQ(s.attend(), REGARD_OK) << regard_last_error();
  s.query.dtype = 7;
  EXPECT_REFUSED(s.attend(),
                 "attention: query.dtype is 7, expected REGARD_F32, REGARD_BF16 or REGARD_F16");
  s.query.dtype = REGARD_F32;
  EXPECT_EQ(s.attend(), REGARD_OK);
  EXPECT_NE(std::string(regard_last_error()).find("query.dtype is 7"), std::string::npos);
}

TEST(CErrors, NoMemory) {
  Setting s;
  const regard_allocator empty{sizeof(empty),
                               [](void*, std::size_t, std::size_t) -> void* { return nullptr; },
                               [](void*, void*, std::size_t, std::size_t) { FAIL(); }, nullptr};
  s.options.allocator = &empty;
  EXPECT_EQ(s.attend(), REGARD_OUT_OF_MEMORY);
  EXPECT_STREQ(regard_last_error(), "out of memory");
}

TEST(CErrors, MoreMemoryThanThereAreAddresses) {
#if defined(__SANITIZE_ADDRESS__) || defined(REGARD_ADDRESS_SANITIZER)
  GTEST_SKIP() << "AddressSanitizer ends a process that asks for so much";
#endif
  regard_state* state = nullptr;
  EXPECT_EQ(regard_state_create(1, 1 << 23, 1 << 23, 1 << 10, &state), REGARD_OUT_OF_MEMORY);
  EXPECT_EQ(state, nullptr);
}

regard_status attend_on(void (*parallel_for)(void*, std::int64_t, regard_task, void*)) {
  Setting s;
  const regard_host_executor host{sizeof(host), parallel_for, nullptr, 2};
  EXPECT_EQ(regard_executor_create_host(&host, &s.options.executor), REGARD_OK);
  const regard_status status = s.attend();
  regard_executor_free(s.options.executor);
  return status;
}

TEST(CErrors, AHostsExceptionsBecomeCodes) {
  EXPECT_EQ(attend_on([](void*, std::int64_t, regard_task, void*) {
              throw std::system_error(EAGAIN, std::generic_category(), "threads");
            }),
            REGARD_SYSTEM_ERROR);
  EXPECT_NE(std::string(regard_last_error()).find("threads: "), std::string::npos);
  EXPECT_EQ(attend_on([](void*, std::int64_t, regard_task, void*) { throw std::bad_alloc(); }),
            REGARD_OUT_OF_MEMORY);
  EXPECT_EQ(attend_on([](void*, std::int64_t, regard_task, void*) {
              throw std::runtime_error("the host is closed");
            }),
            REGARD_INTERNAL_ERROR);
  EXPECT_STREQ(regard_last_error(), "the host is closed");
  EXPECT_EQ(attend_on([](void*, std::int64_t, regard_task, void*) { throw 1; }),
            REGARD_INTERNAL_ERROR);
  EXPECT_STREQ(regard_last_error(), "an exception that is no std::exception");
}

TEST(CErrors, LongMessagesAreCut) {
  EXPECT_EQ(attend_on([](void*, std::int64_t, regard_task, void*) {
              throw std::runtime_error(std::string(5000, 'x'));
            }),
            REGARD_INTERNAL_ERROR);
  EXPECT_EQ(std::string(regard_last_error()), std::string(1023, 'x'));
}

// ---- versioned structs ----

TEST(CVersions, AnOlderStructIsTaken) {
  Setting s;
  s.options.mask = "causal";
  s.options.num_score_mods = -1;  // beyond what the older struct had
  s.options.size = offsetof(regard_options, dense_mask);
  ASSERT_EQ(s.attend(), REGARD_OK) << regard_last_error();
  const Dense<float> old = s.o;
  s.options = {};
  s.options.size = sizeof(s.options);
  s.options.mask = "causal";
  ASSERT_EQ(s.attend(), REGARD_OK);
  EXPECT_TRUE(old == s.o);
  s.options.mask = nullptr;
  ASSERT_EQ(s.attend(), REGARD_OK);
  EXPECT_FALSE(old == s.o) << "the older struct's mask was not read";
}

TEST(CVersions, ANewerStructIsTakenUpToWhatIsKnown) {
  struct Newer {
    regard_options options;
    const char* wish;
  } newer{};
  Setting s;
  newer.options.size = sizeof(newer);
  const auto attend = [&] {
    return regard_attention(&s.query, &s.key, &s.value, &s.out, &newer.options, nullptr);
  };
  EXPECT_EQ(attend(), REGARD_OK) << regard_last_error();
  newer.wish = "faster";
  const std::string known = std::to_string(sizeof(regard_options));
  EXPECT_REFUSED(attend(),
                 ("attention: options.size is " + std::to_string(sizeof(newer)) + ", expected " +
                  known + ", or zeros beyond: this library is older than the header")
                     .c_str());
}

TEST(CVersions, ASizeThatWasNotSetIsRefused) {
  Setting s;
  for (const std::size_t size : {std::size_t{0}, std::size_t{4}, sizeof(s.options) - 1,
                                 std::size_t{4104}, ~std::size_t{0}}) {
    s.options.size = size;
    EXPECT_REFUSED(s.attend(), ("attention: options.size is " + std::to_string(size) +
                                ", expected sizeof the struct")
                                   .c_str());
  }
}

// Every versioned struct is read as one, also where it is one of many.
TEST(CVersions, EveryStructHasASize) {
  Setting s;
  s.run.size = 0;
  EXPECT_REFUSED(s.attend(), "attention: run.size is 0, expected sizeof the struct");
  s.run.size = sizeof(s.run);
  const regard_dense_mask dense{};
  s.options.dense_mask = &dense;
  EXPECT_REFUSED(s.attend(), "attention: dense_mask.size is 0, expected sizeof the struct");
  s.options.dense_mask = nullptr;
  const regard_allocator allocator{};
  s.options.allocator = &allocator;
  EXPECT_REFUSED(s.attend(), "attention: allocator.size is 0, expected sizeof the struct");
  s.options.allocator = nullptr;
  regard_score_mod mods[2] = {};
  for (regard_score_mod& mod : mods) {
    mod.size = sizeof(mod);
    mod.kind = REGARD_SOFT_CAP;
    mod.cap = 5;
  }
  mods[1].size = 16;
  s.options.score_mods = mods;
  s.options.num_score_mods = 2;
  EXPECT_REFUSED(s.attend(), ("attention: score_mods[1].size is 16, expected " +
                              std::to_string(sizeof(*mods)) + " (as the first one's)")
                                 .c_str());
  s.shape.size = 0;
  regard_plan* plan = nullptr;
  EXPECT_REFUSED(regard_plan_create(&s.shape, nullptr, &plan),
                 "attention: shape.size is 0, expected sizeof the struct");
  const regard_host_executor host{};
  regard_executor* executor = nullptr;
  EXPECT_REFUSED(regard_executor_create_host(&host, &executor),
                 "regard_executor_create_host: host.size is 0, expected sizeof the struct");
  const regard_rope_options rope_options{};
  regard_rope* rope = nullptr;
  EXPECT_REFUSED(regard_rope_create(8, &rope_options, &rope),
                 "Rope: options.size is 0, expected sizeof the struct");
}

// What compiled against 0.1 finds its fields where they were (64-bit machines).
TEST(CVersions, TheLayoutIsFixed) {
  if (sizeof(void*) != 8) GTEST_SKIP() << "the numbers are for 64 bits";
  EXPECT_EQ(sizeof(regard_input), 80U);
  EXPECT_EQ(sizeof(regard_output), 80U);
  EXPECT_EQ(sizeof(regard_lse), 56U);
  EXPECT_EQ(sizeof(regard_host_executor), 32U);
  EXPECT_EQ(sizeof(regard_shape), 80U);
  EXPECT_EQ(sizeof(regard_dense_mask), 88U);
  EXPECT_EQ(sizeof(regard_score_mod), 152U);
  EXPECT_EQ(sizeof(regard_score_tile), 80U);
  EXPECT_EQ(sizeof(regard_allocator), 32U);
  EXPECT_EQ(sizeof(regard_options), 160U);
  EXPECT_EQ(sizeof(regard_run_options), 72U);
  EXPECT_EQ(sizeof(regard_state_view), 64U);
  EXPECT_EQ(sizeof(regard_rope_options), 120U);
}

// ---- what is not there, or no number of ours ----

TEST(CErrors, NullsAreNamed) {
  Setting s;
  EXPECT_REFUSED(regard_attention(nullptr, &s.key, &s.value, &s.out, nullptr, nullptr),
                 "attention: query is null, expected a pointer to one");
  EXPECT_REFUSED(regard_attention(&s.query, &s.key, &s.value, nullptr, nullptr, nullptr),
                 "attention: out is null, expected a pointer to one");
  EXPECT_REFUSED(regard_plan_create(&s.shape, nullptr, nullptr),
                 "regard_plan_create: plan is null, expected a pointer to one");
  EXPECT_REFUSED(regard_plan_run(nullptr, &s.query, &s.key, &s.value, &s.out, nullptr),
                 "regard_plan_run: plan is null, expected a pointer to one");
  regard_plan* plan = nullptr;
  EXPECT_REFUSED(regard_plan_create(nullptr, nullptr, &plan),
                 "attention: shape is null, expected a pointer to one");
  EXPECT_EQ(regard_plan_explain(nullptr), nullptr);
  EXPECT_EQ(regard_plan_workspace_bytes(nullptr), 0);
  EXPECT_REFUSED(regard_rope_apply(nullptr, &s.query, &s.out, 0, nullptr),
                 "regard_rope_apply: rope is null, expected a pointer to one");
  EXPECT_REFUSED(regard_linear_run(nullptr, nullptr, nullptr, 1, nullptr),
                 "regard_linear_run: linear is null, expected a pointer to one");
  EXPECT_REFUSED(regard_state_merge(nullptr, nullptr),
                 "regard_state_merge: right is null, expected a pointer to one");
  regard_plan_free(nullptr);
  regard_state_free(nullptr);
  regard_executor_free(nullptr);
  regard_cancel_free(nullptr);
  regard_cancel_raise(nullptr);
  regard_rope_free(nullptr);
  regard_linear_free(nullptr);
}

TEST(CErrors, AFailedCreateGivesNull) {
  Setting s;
  auto* plan = reinterpret_cast<regard_plan*>(&s);
  s.shape.head_dim = 0;
  EXPECT_REFUSED(regard_plan_create(&s.shape, nullptr, &plan),
                 "attention: head_dim is 0, expected 1..1024");
  EXPECT_EQ(plan, nullptr);
}

TEST(CErrors, ViewsAndSpans) {
  Setting s;
  s.query.reserved = 1;
  EXPECT_REFUSED(s.attend(), "attention: query.reserved is 1, expected 0 (for later versions)");
  s.query.reserved = 0;
  s.options.kv_lens = {nullptr, 1};
  EXPECT_REFUSED(s.attend(), "attention: kv_lens.data is null, expected a pointer to its numbers");
  s.options.kv_lens = {nullptr, -1};
  EXPECT_REFUSED(s.attend(), "attention: kv_lens.count is -1, expected 0 or more");
  s.options.kv_lens = {};
  s.run.workspace_bytes = 64;
  EXPECT_REFUSED(s.attend(),
                 "attention: run.workspace is null, expected a pointer to workspace_bytes bytes");
  s.run.workspace_bytes = 0;
  s.run.lse = &s.lse;
  s.lse.shape[2] = 5;
  EXPECT_REFUSED(s.attend(), "attention: lse.shape[2] is 5, expected 4 (q_len)");
}

TEST(CErrors, MasksAndModifiers) {
  Setting s;
  s.options.mask = "causl";
  EXPECT_EQ(s.attend(), REGARD_INVALID_ARGUMENT);
  EXPECT_NE(std::string(regard_last_error()).find("causl"), std::string::npos);
  s.options.mask = nullptr;
  regard_dense_mask dense{sizeof(dense), nullptr, {1, 1, 4, 4}, {16, 16, 4, 1}, 0};
  s.options.dense_mask = &dense;
  EXPECT_REFUSED(s.attend(), "attention: mask.data is null, expected a pointer to its elements");
  dense.strides[2] = std::int64_t{1} << 60;
  EXPECT_REFUSED(s.attend(),
                 "attention: dense_mask.strides[2] is 1152921504606846976, expected a view that "
                 "fits into memory");
  s.options.dense_mask = nullptr;
  regard_score_mod mod{};
  mod.size = sizeof(mod);
  s.options.num_score_mods = 1;
  EXPECT_REFUSED(s.attend(), "attention: score_mods is null, expected a pointer to one");
  s.options.score_mods = &mod;
  EXPECT_REFUSED(s.attend(), "attention: score_mods[0].kind is 0, expected 1..5");
  mod.kind = REGARD_USER_MOD;
  EXPECT_REFUSED(s.attend(), "attention: score_mods[0].apply is empty, expected a function");
  mod.kind = REGARD_ALIBI;
  EXPECT_REFUSED(s.attend(), "attention: score_mods[0].slopes.size() is 0, expected 2 (num_heads)");
}

TEST(CErrors, AllocatorsAndExecutors) {
  Setting s;
  regard_allocator allocator{};
  allocator.size = sizeof(allocator);
  s.options.allocator = &allocator;
  EXPECT_REFUSED(s.attend(), "attention: allocator.allocate is null, expected a function");
  alignas(64) static std::byte memory[1 << 22];
  allocator.allocate = [](void*, std::size_t, std::size_t) -> void* { return memory + 8; };
  EXPECT_REFUSED(s.attend(), "attention: allocator.deallocate is null, expected a function");
  allocator.deallocate = [](void*, void* p, std::size_t, std::size_t) { EXPECT_EQ(p, memory + 8); };
  EXPECT_REFUSED(s.attend(),
                 "attention: allocator's memory is not aligned, expected an address that is a "
                 "multiple of 64");
  regard_executor* executor = nullptr;
  EXPECT_REFUSED(regard_executor_create(0, &executor),
                 "make_thread_pool: num_threads is 0, expected 1..1024");
  regard_host_executor host{};
  host.size = sizeof(host);
  EXPECT_REFUSED(regard_executor_create_host(&host, &executor),
                 "regard_executor_create_host: parallel_for is null, expected a function");
  host.parallel_for = [](void*, std::int64_t, regard_task, void*) {};
  EXPECT_REFUSED(regard_executor_create_host(&host, &executor),
                 "regard_executor_create_host: num_threads is 0, expected 1..65536");
}

TEST(CErrors, LayersAndStates) {
  regard_rope* rope = nullptr;
  regard_rope_options options{};
  options.size = sizeof(options);
  options.scaling = 6;
  EXPECT_REFUSED(regard_rope_create(8, &options, &rope), "Rope: scaling is 6, expected 0..5");
  options.scaling = 0;
  options.style = 2;
  EXPECT_REFUSED(regard_rope_create(8, &options, &rope), "Rope: style is 2, expected 0..1");
  regard_linear* linear = nullptr;
  EXPECT_REFUSED(regard_linear_create(nullptr, nullptr, 1, 1, &linear),
                 "Linear: weight.data is null, expected a pointer to its elements");
  const float weight[1] = {1};
  EXPECT_REFUSED(regard_linear_create(weight, nullptr, 0, 1, &linear),
                 "regard_linear_create: out_features is 0, expected 1..2147483648");
  ASSERT_EQ(regard_linear_create(weight, nullptr, 1, 1, &linear), REGARD_OK);
  EXPECT_REFUSED(regard_linear_run(linear, weight, nullptr, -1, nullptr),
                 "regard_linear_run: rows is -1, expected 0 or more");
  EXPECT_REFUSED(regard_linear_run(linear, weight, nullptr, std::int64_t{1} << 60, nullptr),
                 "regard_linear_run: rows * features is too large, expected at most 2^56 elements");
  regard_linear_free(linear);
  regard_state* state = nullptr;
  EXPECT_REFUSED(regard_state_create(1, -1, 1, 1, &state),
                 "regard_state_create: num_heads is -1, expected 0 or more");
}

}  // namespace
}  // namespace regard::test
