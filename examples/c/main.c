// examples/c/main.c - causal self-attention from C: a plan that runs twice, and an error.
#include <regard/c/regard.h>
#include <stdio.h>
#include <stdlib.h>

enum { kHeads = 4, kKvHeads = 2, kLength = 128, kHeadDim = 64 };

static float query[kHeads * kLength * kHeadDim], out[kHeads * kLength * kHeadDim];
static float key[kKvHeads * kLength * kHeadDim], value[kKvHeads * kLength * kHeadDim];

static void check(regard_status status) {
  if (status == REGARD_OK) return;
  fprintf(stderr, "regard: %s\n", regard_last_error());
  exit(1);
}

static void fill(float* numbers, size_t count) {
  for (size_t i = 0; i < count; ++i) numbers[i] = (float)rand() / (float)RAND_MAX - 0.5f;
}

int main(void) {
  fill(query, sizeof query / sizeof *query);
  fill(key, sizeof key / sizeof *key);
  fill(value, sizeof value / sizeof *value);

  // (batch, heads, positions, channels); any strides would do.
  regard_input q = regard_row_major_input(query, REGARD_F32, 1, kHeads, kLength, kHeadDim);
  regard_input k = regard_row_major_input(key, REGARD_F32, 1, kKvHeads, kLength, kHeadDim);
  regard_input v = regard_row_major_input(value, REGARD_F32, 1, kKvHeads, kLength, kHeadDim);
  regard_output o = regard_row_major_output(out, REGARD_F32, 1, kHeads, kLength, kHeadDim);

  // What is not named is 0, and 0 is the default.
  regard_shape shape = {.size = sizeof shape,
                        .batch = 1,
                        .num_heads = kHeads,
                        .num_kv_heads = kKvHeads,
                        .q_len = kLength,
                        .kv_len = kLength,
                        .head_dim = kHeadDim,
                        .value_dim = kHeadDim};
  regard_options options = {.size = sizeof options, .mask = "causal & window(31, 0)"};
  regard_plan* plan;
  check(regard_plan_create(&shape, &options, &plan));
  check(regard_plan_run(plan, &q, &k, &v, &o, NULL));

  // The first token sees itself alone, so its output is its value, bit for bit.
  int same = 1;
  for (int c = 0; c < kHeadDim; ++c) same = same && out[c] == value[c];
  printf("regard %s from C: token 0 %s its value\n", regard_version(), same ? "is" : "is not");

  k.shape[3] = 65;
  const int refused = regard_plan_run(plan, &q, &k, &v, &o, NULL) == REGARD_INVALID_ARGUMENT;
  printf("refused: %s\n", refused ? regard_last_error() : "nothing");
  regard_plan_free(plan);
  return same && refused ? 0 : 1;
}
