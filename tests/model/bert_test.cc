// tests/model/bert_test.cc - BERT against transformers, and what is shown against what ran.
#include "regard/model/bert.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "exec/tiles.h"
#include "model/bert_run.h"
#include "model/golden_bert.h"
#include "model/temp_folder.h"
#include "regard/model/models.h"

namespace regard::model {
namespace {

using testing::BertRun;
using testing::golden_folder;
using testing::GoldenText;
using testing::message_of;
using testing::run_bert;

constexpr double kUnit = 0x1p-24;  // of rounding
// What the model must keep: twice transformers' own float32 error, or this where that is smaller.
constexpr double kWeightFloor = 4e-6;
constexpr double kHiddenFloor = 6e-6;

/// n roundings, one after another.
double gamma(double n) { return n * kUnit / (1 - n * kUnit); }

/// Levels of the tree that chunk states merge in.
double merge_levels(std::int64_t length) {
  return std::ceil(
      std::log2(static_cast<double>((length + exec::kChunkKeys - 1) / exec::kChunkKeys)));
}

double largest_error(const float* got, std::span<const double> wanted) {
  double error = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const double difference = std::abs(double{got[i]} - wanted[i]);
    error = std::isnan(difference) ? INFINITY : std::max(error, difference);
  }
  return error;
}

class TinyBert : public ::testing::TestWithParam<const char*> {
 protected:
  std::filesystem::path folder() const { return golden_folder() / GetParam(); }
};

class MiniLm : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    const auto folder = models_folder() / "minilm";
    if (std::filesystem::exists(folder / "model.safetensors")) model().emplace(Bert::load(folder));
  }
  static void TearDownTestSuite() { model().reset(); }
  void SetUp() override {
    if (!model()) GTEST_SKIP() << "minilm is not on this machine; regard models get minilm";
  }
  static std::optional<Bert>& model() {
    static std::optional<Bert> bert;
    return bert;
  }
  static const std::vector<GoldenText>& golden() {
    static const auto texts = testing::read_golden_bert(384);
    return texts;
  }
};

TEST_P(TinyBert, EqualsTransformers) {
  const auto expected = testing::read_golden_json(folder() / "expected.json");
  const std::vector<std::int32_t> ids = expected.at("ids");
  const BertRun run = run_bert(Bert::load(folder()), ids);
  const std::vector<double> weights = expected.at("weights"), hidden = expected.at("hidden");
  ASSERT_EQ(run.weights.size(), weights.size());
  ASSERT_EQ(run.hidden.size(), hidden.size());
  EXPECT_LE(largest_error(run.weights.data(), weights),
            std::max(2 * expected.at("weight_error_f32").get<double>(), kWeightFloor));
  EXPECT_LE(largest_error(run.hidden.data(), hidden),
            std::max(2 * expected.at("hidden_error_f32").get<double>(), kHiddenFloor));
}

INSTANTIATE_TEST_SUITE_P(Activations, TinyBert,
                         ::testing::Values("tiny_bert_gelu", "tiny_bert_gelu_new",
                                           "tiny_bert_relu"),
                         [](const auto& test) { return std::string(test.param); });

TEST_F(MiniLm, WeightsAndHiddenStatesLieWithinTwiceTheErrorOfTransformersInFloat32) {
  ASSERT_EQ(golden().size(), 220U);
  for (std::size_t i = 0; i < golden().size(); ++i) {
    const GoldenText& text = golden()[i];
    const BertRun run = run_bert(*model(), text.ids);
    double weight_error = 0, hidden_error = 0;
    for (const auto& [place, values] : text.weight_rows) {
      weight_error = std::max(weight_error,
                              largest_error(run.weight_row(place[0], place[1], place[2]), values));
    }
    for (const auto& [token, values] : text.hidden_rows) {
      hidden_error = std::max(hidden_error, largest_error(run.hidden.data() + token * 384, values));
    }
    EXPECT_LE(weight_error, std::max(2 * text.weight_error_f32, kWeightFloor))
        << i << ": " << text.text;
    EXPECT_LE(hidden_error, std::max(2 * text.hidden_error_f32, kHiddenFloor))
        << i << ": " << text.text;
  }
}

/// The rows that are shown sum to 1: the sum has chains of 16 virtual lanes, a fold of 4, and the
/// merges; a shown weight has one exp, one division, one multiplication more. (exp: 2 roundings.)
void check_sums(const BertRun& run, std::int64_t num_layers) {
  const double chain = static_cast<double>(std::min(run.length, exec::kChunkKeys)) / 16 + 1 + 4;
  const double bound = gamma(chain + 4 * merge_levels(run.length) + 4);
  for (std::int64_t row = 0; row < num_layers * run.num_heads * run.length; ++row) {
    const float* weights = run.weights.data() + row * run.length;
    double sum = 0;
    for (std::int64_t j = 0; j < run.length; ++j) {
      ASSERT_GE(weights[j], 0);
      sum += weights[j];
    }
    ASSERT_LE(std::abs(sum - 1), bound) << "row " << row << " of " << run.length;
  }
}

/// Shown weights times values are the attention output that the model went on with: both come from
/// the same exp(score - max), so what differs is the product's chain, the merges, and the roundings
/// of either normalisation.
void check_products(const BertRun& run, std::int64_t layer) {
  const auto& values = run.values[static_cast<std::size_t>(layer)];
  const auto& attended = run.attended[static_cast<std::size_t>(layer)];
  const double chain = static_cast<double>(std::min(run.length, exec::kChunkKeys));
  const double relative = gamma(chain + 8 * merge_levels(run.length) + 6);
  const auto at = [&](const std::vector<float>& numbers, std::int64_t head, std::int64_t token,
                      std::int64_t d) {
    return double{
        numbers[static_cast<std::size_t>((head * run.length + token) * run.head_dim + d)]};
  };
  for (std::int64_t head = 0; head < run.num_heads; ++head) {
    for (std::int64_t i = 0; i < run.length; ++i) {
      const float* weights = run.weight_row(layer, head, i);
      for (std::int64_t d = 0; d < run.head_dim; ++d) {
        double product = 0, size = 0;
        for (std::int64_t j = 0; j < run.length; ++j) {
          product += weights[j] * at(values, head, j, d);
          size += weights[j] * std::abs(at(values, head, j, d)) + 0x1p-126;  // what underflows
        }
        ASSERT_LE(std::abs(product - at(attended, head, i, d)), relative * size)
            << "layer " << layer << " head " << head << " query " << i << " dim " << d;
      }
    }
  }
}

TEST_F(MiniLm, ShownWeightsSumToOneAndMakeTheAttentionOutput) {
  for (const std::size_t i : {0, 9, 15, 56, 84, 120, 200}) {
    const BertRun run = run_bert(*model(), golden()[i].ids);
    ASSERT_EQ(run.values.size(), 6U);
    check_sums(run, 6);
    // One layer of the long text: the check itself costs 12 * 512^2 * 32 products of it.
    for (std::int64_t layer = 0; layer < (i == 200 ? 1 : 6); ++layer) check_products(run, layer);
  }
}

TEST_F(MiniLm, TheSameBitsForAnyNumberOfThreads) {
  for (const std::size_t i : {0, 28, 200}) {
    const BertRun one = run_bert(*model(), golden()[i].ids, &serial_executor());
    for (const int threads : {2, 3}) {
      const auto pool = make_thread_pool(threads);
      const BertRun many = run_bert(*model(), golden()[i].ids, pool.get());
      EXPECT_EQ(one.weights, many.weights) << threads << " threads";
      EXPECT_EQ(one.hidden, many.hidden) << threads << " threads";
    }
  }
}

TEST_F(MiniLm, LookingChangesNoBit) {
  const auto& ids = golden()[1].ids;
  EXPECT_EQ(model()->run(ids), run_bert(*model(), ids).hidden);
}

TEST(Bert, RefusesIdsThatItCannotRun) {
  const Bert bert = Bert::load(golden_folder() / "tiny_bert_gelu");
  const auto said = [&](const std::vector<std::int32_t>& ids) {
    return message_of<std::invalid_argument>([&] { bert.run(ids); });
  };
  EXPECT_EQ(said({}), "bert: ids has 0 tokens, expected 1 to 20");
  EXPECT_EQ(said(std::vector<std::int32_t>(21)), "bert: ids has 21 tokens, expected 1 to 20");
  EXPECT_EQ(said({1, -1}), "bert: ids[1] is -1, expected 0 to 39");
  EXPECT_EQ(said({40}), "bert: ids[0] is 40, expected 0 to 39");
  EXPECT_EQ(said({39}), "");
  EXPECT_EQ(said(std::vector<std::int32_t>(20)), "");
}

TEST(Bert, RefusesAVocabularyThatIsTooLarge) {
  const Bert bert = Bert::load(golden_folder() / "tiny_bert_gelu");
  EXPECT_NO_THROW(bert.check_vocabulary(40));
  const std::string message = message_of<std::runtime_error>([&] { bert.check_vocabulary(41); });
  EXPECT_NE(message.find("tiny_bert_gelu: tokenizer.json has ids up to 40, expected at most 39"),
            std::string::npos)
      << message;
}

TEST(Bert, AnObserversExceptionPassesThrough) {
  const Bert bert = Bert::load(golden_folder() / "tiny_bert_gelu");
  BertObserver observer;
  observer.attended = [](std::int64_t, auto, auto) { throw std::domain_error("stop"); };
  EXPECT_THROW(bert.run(std::vector<std::int32_t>{1, 2}, observer), std::domain_error);
}

}  // namespace
}  // namespace regard::model
