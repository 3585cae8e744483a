// tests/model/decoder_test.cc - a real model that decodes: its bits do not depend on how it is run,
// and its greedy answer is the known one.
#include "regard/model/decoder.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <numeric>

#include "model/temp_folder.h"
#include "regard/attention.h"
#include "regard/model/chat.h"
#include "regard/model/generate.h"
#include "regard/model/models.h"

#if defined(__has_feature)
#define REGARD_CLANG_SANITIZES (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define REGARD_CLANG_SANITIZES 0
#endif

namespace regard::model {
namespace {

using testing::message_of;
using testing::TempFolder;

/// The model, loaded once; null where it is not on this machine.
struct Loaded {
  Decoder decoder;
  Tokenizer tokenizer;
  ChatTemplate chat;
};
const Loaded* smollm2() {
  static const std::unique_ptr<Loaded> loaded = []() -> std::unique_ptr<Loaded> {
    std::filesystem::path file;
    try {
      file = find_model("smollm2").source();
    } catch (const std::runtime_error&) {
      return nullptr;
    }
    return std::make_unique<Loaded>(
        Loaded{Decoder::load(file), Tokenizer::load(file), ChatTemplate::load(file)});
  }();
  return loaded.get();
}

// A sanitizer makes the model twenty times slower.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || REGARD_CLANG_SANITIZES
constexpr bool kSlow = true;
#else
constexpr bool kSlow = false;
#endif

#define REGARD_NEEDS_SMOLLM2 \
  if (smollm2() == nullptr) GTEST_SKIP() << "no model smollm2: regard models get smollm2"

std::vector<std::int32_t> ids_of(std::string_view text) {
  std::vector<std::int32_t> ids;
  for (const Token& token : smollm2()->tokenizer.encode(text)) ids.push_back(token.id);
  return ids;
}

constexpr std::string_view kText =
    "It is a truth universally acknowledged, that a single man in possession of a good fortune, "
    "must be in want of a wife. However little known the feelings or views of such a man may be on "
    "his first entering a neighbourhood, this truth is so well fixed in the minds of the "
    "surrounding families, that he is considered the rightful property of some one or other of "
    "their daughters.";

/// Logits of every token, run in pieces of `piece` tokens.
std::vector<float> logits(std::span<const std::int32_t> ids, std::int64_t piece, DType dtype,
                          int threads, std::int64_t page_size = 64) {
  const Decoder& decoder = smollm2()->decoder;
  KvCacheShape shape = decoder.cache_shape(dtype);
  shape.page_size = page_size;
  PagedKvCache cache(shape);
  const auto sequence = cache.create();
  const auto executor = make_thread_pool(threads);
  const std::int64_t words = decoder.config().vocab_size, n = std::ssize(ids);
  std::vector<float> out(static_cast<std::size_t>(n * words));
  DecoderOptions options;
  options.all_logits = true;
  options.executor = executor.get();
  for (std::int64_t at = 0; at < n; at += piece) {
    const std::int64_t count = std::min(piece, n - at);
    const DecoderInput input{
        sequence, ids.subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(count))};
    decoder.run(cache, std::span(&input, 1), {out.data() + at * words, {count, words}}, options);
  }
  return out;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

TEST(Decoder, TheSameBitsForAnyCuttingThreadsAndPages) {
  REGARD_NEEDS_SMOLLM2;
  auto ids = ids_of(kText);
  ids.resize(kSlow ? 10 : 60);
  for (const DType dtype : {DType::kF16, DType::kI8, DType::kF32, DType::kBf16}) {
    const auto whole = logits(ids, 1000, dtype, 1);
    EXPECT_TRUE(same_bits(logits(ids, 1, dtype, 1), whole)) << name_of(dtype);
    if (kSlow) return;
    EXPECT_TRUE(same_bits(logits(ids, 7, dtype, 2), whole)) << name_of(dtype);
    EXPECT_TRUE(same_bits(logits(ids, 30, dtype, 3, 16), whole)) << name_of(dtype);
  }
}

TEST(Decoder, ABatchGivesEachSequenceItsOwnBits) {
  REGARD_NEEDS_SMOLLM2;
  if (kSlow) GTEST_SKIP() << "takes minutes under a sanitizer";
  const Decoder& decoder = smollm2()->decoder;
  const auto first = ids_of(kText), second = ids_of("The capital of France is");
  const std::int64_t words = decoder.config().vocab_size;
  PagedKvCache cache(decoder.cache_shape(DType::kF16));
  const std::vector<DecoderInput> inputs{{cache.create(), first}, {cache.create(), second}};
  std::vector<float> both(static_cast<std::size_t>(2 * words));
  decoder.run(cache, inputs, {both.data(), {2, words}});
  for (std::size_t i = 0; i < 2; ++i) {
    const auto alone = logits(inputs[i].ids, 1000, DType::kF16, 1);
    EXPECT_EQ(0, std::memcmp(&both[i * static_cast<std::size_t>(words)],
                             alone.data() + alone.size() - words,
                             static_cast<std::size_t>(words) * sizeof(float)));
  }
}

/// The weights of one layer, (heads, ids, all keys), while the last `ids` of a sequence run.
std::vector<float> weights(PagedKvCache& cache, PagedKvCache::Sequence sequence,
                           std::span<const std::int32_t> ids, std::int64_t layer) {
  const Decoder& decoder = smollm2()->decoder;
  const std::int64_t heads = decoder.config().num_heads, rows = std::ssize(ids),
                     keys = cache.length(sequence) + rows;
  std::vector<std::int64_t> all_heads(static_cast<std::size_t>(heads)), all_rows(ids.size());
  std::iota(all_heads.begin(), all_heads.end(), 0);
  std::iota(all_rows.begin(), all_rows.end(), 0);
  std::vector<float> out(static_cast<std::size_t>(heads * rows * keys));
  WeightsProbe probe(0, all_heads, all_rows, {out.data(), {heads, rows, keys}});
  DecoderOptions options;
  options.probe = [&](std::int64_t at) { return at == layer ? &probe : nullptr; };
  std::vector<float> logits(static_cast<std::size_t>(decoder.config().vocab_size));
  const DecoderInput input{sequence, ids};
  decoder.run(cache, std::span(&input, 1), {logits.data(), {1, std::ssize(logits)}}, options);
  return out;
}

TEST(Decoder, OnePassLooksWhereDecodingLooked) {
  REGARD_NEEDS_SMOLLM2;
  if (kSlow) GTEST_SKIP() << "takes minutes under a sanitizer";
  const auto ids = ids_of(kText);
  const std::int64_t n = std::ssize(ids), prompt = n - 20, layer = 17;
  PagedKvCache cache(smollm2()->decoder.cache_shape(DType::kF32));
  const auto whole = weights(cache, cache.create(), ids, layer);
  const auto s = cache.create();
  weights(cache, s, std::span(ids).first(static_cast<std::size_t>(prompt)), layer);
  for (std::int64_t i = prompt; i < n; ++i) {
    const auto step =
        weights(cache, s, std::span(ids).subspan(static_cast<std::size_t>(i), 1), layer);
    for (std::int64_t head = 0; head < smollm2()->decoder.config().num_heads; ++head) {
      const float* row = whole.data() + (head * n + i) * n;
      ASSERT_TRUE(std::equal(row, row + i + 1, step.data() + head * (i + 1))) << i << " " << head;
      EXPECT_NEAR(std::accumulate(row, row + i + 1, 0.0), 1, 1e-5);
    }
  }
}

/// What it says to `question`, greedily.
std::string answer(const std::string& question, GenerateOptions options = {}) {
  const Loaded& m = *smollm2();
  PagedKvCache cache(m.decoder.cache_shape(DType::kF32));
  const Message message{"user", question};
  options.end_ids = m.chat.end_ids(m.tokenizer);
  Generation generation(m.decoder, m.tokenizer, cache, cache.create(), options);
  generation.prompt(m.chat.encode(std::span(&message, 1), m.tokenizer));
  std::string text;
  while (const auto piece = generation.next()) text += piece->text;
  return text + generation.rest() + " [" + name_of(generation.stop()) + "]";
}

TEST(Decoder, AnswersAsTransformersDoes) {
  REGARD_NEEDS_SMOLLM2;
  if (kSlow) GTEST_SKIP() << "takes minutes under a sanitizer";
  // transformers 5.23 in float32 on the same file, greedy.
  EXPECT_EQ(answer("What is the capital of France?"), "The capital of France is Paris. [eos]");
}

TEST(Decoder, StopTextsEndAnAnswerAndAreNoPartOfIt) {
  REGARD_NEEDS_SMOLLM2;
  if (kSlow) GTEST_SKIP() << "takes minutes under a sanitizer";
  EXPECT_EQ(answer("What is the capital of France?", {.stop = {"nce is Pa"}}),
            "The capital of Fra [stop]");
  EXPECT_EQ(answer("What is the capital of France?", {.stop = {"Paris!", " xyz"}}),
            "The capital of France is Paris. [eos]");
  EXPECT_EQ(answer("What is the capital of France?", {.max_tokens = 3}), "The capital of [length]");
}

TEST(Decoder, AConversationRunsOnlyWhatIsNew) {
  REGARD_NEEDS_SMOLLM2;
  if (kSlow) GTEST_SKIP() << "takes minutes under a sanitizer";
  const Loaded& m = *smollm2();
  PagedKvCache cache(m.decoder.cache_shape(DType::kF32));
  GenerateOptions options{.max_tokens = 8};
  Generation going(m.decoder, m.tokenizer, cache, cache.create(), options);
  const auto ids = ids_of(kText);
  const auto continued = [&](Generation& g, std::size_t tokens) {
    g.prompt(std::span(ids).first(tokens));
    while (g.next()) {
    }
    return g.ids();
  };
  continued(going, 20);
  const auto second = continued(going, 60);
  EXPECT_GE(going.stats().cached_tokens, 20);
  Generation fresh(m.decoder, m.tokenizer, cache, cache.create(), options);
  EXPECT_EQ(second, continued(fresh, 60));
  EXPECT_EQ(continued(going, 10), continued(fresh, 10)) << "and it goes back";
}

TEST(Decoder, RefusesWhatItCannotRunAndChangesNothing) {
  REGARD_NEEDS_SMOLLM2;
  const Decoder& decoder = smollm2()->decoder;
  PagedKvCache cache(decoder.cache_shape(DType::kF16));
  const auto s = cache.create();
  std::vector<float> out(static_cast<std::size_t>(decoder.config().vocab_size));
  const auto said = [&](std::vector<std::int32_t> ids) {
    const DecoderInput input{s, ids};
    return message_of<std::exception>(
        [&] { decoder.run(cache, std::span(&input, 1), {out.data(), {1, std::ssize(out)}}); });
  };
  EXPECT_EQ(said({}), "decoder: inputs[0].ids is empty, expected at least one");
  EXPECT_EQ(said({5, 49152}), "decoder: inputs[0].ids is with 49152, expected 0 to 49151");
  EXPECT_EQ(said({-1}), "decoder: inputs[0].ids is with -1, expected 0 to 49151");
  EXPECT_EQ(said(std::vector<std::int32_t>(8193, 1)),
            "decoder: inputs[0] is 0 + 8193 tokens, expected at most 8192 (the model's context)");
  KvCacheShape small = decoder.cache_shape(DType::kF16);
  small.budget_bytes = 3'000'000;
  PagedKvCache full(small);
  const std::vector<std::int32_t> many(200, 1);
  const DecoderInput input{full.create(), many};
  EXPECT_THROW(decoder.run(full, std::span(&input, 1), {out.data(), {1, std::ssize(out)}}),
               CacheFull);
  EXPECT_EQ(full.length(input.sequence), 0);
  const std::atomic<bool> cancel{true};
  DecoderOptions options;
  options.cancel = &cancel;
  const DecoderInput three{s, std::span(many).first(3)};
  EXPECT_THROW(
      decoder.run(cache, std::span(&three, 1), {out.data(), {1, std::ssize(out)}}, options),
      Cancelled);
  EXPECT_EQ(cache.length(s), 0);
}

TEST(Decoder, AWindowSeesWhatItShouldAndGivesPagesBack) {
  REGARD_NEEDS_SMOLLM2;
  if (kSlow) GTEST_SKIP() << "takes minutes under a sanitizer";
  const Loaded& m = *smollm2();
  const auto ids = ids_of(kText);
  const auto run = [&](std::int64_t window, PagedKvCache& cache) {
    Generation g(m.decoder, m.tokenizer, cache, cache.create(),
                 {.max_tokens = 100, .sinks = 4, .window = window});
    g.prompt(ids);
    while (g.next()) {
    }
    return g.ids();
  };
  KvCacheShape shape = m.decoder.cache_shape(DType::kF32);
  shape.page_size = 16;
  PagedKvCache small(shape), large(shape);
  const auto wide = run(8000, large);
  EXPECT_EQ(run(0, large), wide) << "a window that holds everything changes nothing";
  EXPECT_NE(run(24, small), wide);
  EXPECT_LE(small.stats().used_pages, 6);
}

}  // namespace
}  // namespace regard::model
