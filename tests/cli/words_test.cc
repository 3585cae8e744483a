// tests/cli/words_test.cc - words from tokens, attention between them, and finding one by its name.
#include "cli/words.h"

#include <gtest/gtest.h>

#include "cli/command.h"
#include "cli/word_links.h"

namespace regard::cli {
namespace {

constexpr std::string_view kText = "Banks, banks";

/// [CLS] bank ##s , bank ##s [SEP]
std::vector<model::Token> tokens() {
  return {{.id = 101, .text = "[CLS]", .special = true},
          {.id = 1, .text = "bank", .begin = 0, .end = 4, .word = 0},
          {.id = 2, .text = "##s", .begin = 4, .end = 5, .word = 0},
          {.id = 3, .text = ",", .begin = 5, .end = 6, .word = 1},
          {.id = 1, .text = "bank", .begin = 7, .end = 11, .word = 2},
          {.id = 2, .text = "##s", .begin = 11, .end = 12, .word = 2},
          {.id = 102, .text = "[SEP]", .special = true}};
}

TEST(WordsOf, JoinsPiecesAndKnowsSinks) {
  const auto words = words_of(kText, tokens());
  ASSERT_EQ(words.size(), 5u);
  EXPECT_EQ(words[1].text, "Banks");
  EXPECT_EQ(words[1].token_begin, 1u);
  EXPECT_EQ(words[1].token_end, 3u);
  EXPECT_EQ(words[1].label(), "Banks#1");
  EXPECT_EQ(words[3].label(), "banks#2");
  EXPECT_EQ(words[2].label(), ",");
  const std::vector<bool> sinks{true, false, true, false, true};
  for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(words[i].sink, sinks[i]) << i;
}

TEST(WordsOf, ASpecialTokenInTheTextIsASinkOnlyIfTheTokenizerAddsIt) {
  const std::vector<model::Token> special{
      {.id = 102, .text = "[SEP]", .begin = 0, .end = 5, .special = true},
      {.id = 103, .text = "[MASK]", .begin = 5, .end = 11, .special = true},
      {.id = 102, .text = "[SEP]", .special = true}};
  const auto words = words_of("[SEP][MASK]", special);
  ASSERT_EQ(words.size(), 3u);
  EXPECT_TRUE(words[0].sink);
  EXPECT_FALSE(words[1].sink);
  EXPECT_TRUE(words[2].sink);
}

TEST(WordsOf, ACausalModelsSinksAreItsFirstWordSpecialTokensAndWhiteSpace) {
  const std::vector<model::Token> tokens{
      {.id = 4, .text = "I", .begin = 0, .end = 1, .word = 0},
      {.id = 5, .text = "\u010A", .begin = 1, .end = 2, .word = 1},
      {.id = 4, .text = "I", .begin = 2, .end = 3, .word = 2},
      {.id = 1, .text = "<|end|>", .begin = 3, .end = 10, .special = true}};
  const auto words = words_of("I\nI<|end|>", tokens, true);
  ASSERT_EQ(words.size(), 4u);
  const std::vector<bool> sinks{true, true, false, true};
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(words[i].sink, sinks[i]) << i;
  EXPECT_EQ(words[1].label(), "line break");
  EXPECT_FALSE(words_of("I\nI<|end|>", tokens)[0].sink);
}

TEST(WordWeights, AreTheSumToAndTheMeanFrom) {
  const auto words = words_of(kText, tokens());
  std::vector<float> weights(7 * 7);
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<float>(i * i % 29);
  const auto between = word_weights(words, weights, 7);
  ASSERT_EQ(between.size(), 25u);
  const auto at = [&](std::size_t q, std::size_t k) { return weights[q * 7 + k]; };
  EXPECT_FLOAT_EQ(between[0 * 5 + 2], at(0, 3));
  EXPECT_FLOAT_EQ(between[0 * 5 + 3], at(0, 4) + at(0, 5));
  EXPECT_FLOAT_EQ(between[1 * 5 + 0], (at(1, 0) + at(2, 0)) / 2);
  EXPECT_FLOAT_EQ(between[1 * 5 + 3], (at(1, 4) + at(1, 5) + at(2, 4) + at(2, 5)) / 2);
}

std::string error_of(std::string_view name) {
  const auto words = words_of(kText, tokens());
  try {
    find_word(words, name);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "found";
}

TEST(FindWord, ByNameCaseAndPlace) {
  const auto words = words_of(kText, tokens());
  EXPECT_EQ(find_word(words, "Banks"), 1u);  // one reads exactly so
  EXPECT_EQ(find_word(words, "banks"), 3u);
  EXPECT_EQ(find_word(words, "banks#1"), 1u);
  EXPECT_EQ(find_word(words, "BANKS#2"), 3u);
  EXPECT_EQ(find_word(words, "[cls]"), 0u);
  EXPECT_EQ(find_word(words, ","), 2u);
}

TEST(FindWord, SaysWhatThereIs) {
  EXPECT_EQ(error_of("BANKS"),
            "the text has \"BANKS\" 2 times, choose one: Banks#1 ([CLS] Banks ,), "
            "banks#2 (, banks [SEP])");
  EXPECT_NE(error_of("banks#3").find("but no banks#3"), std::string::npos);
  EXPECT_NE(error_of("banks#0").find("but no banks#0"), std::string::npos);
  EXPECT_NE(error_of(",#2").find("\",\" once, but no ,#2"), std::string::npos);
  EXPECT_EQ(error_of("bnaks"), "the text has no word \"bnaks\"; did you mean \"Banks\"?");
  EXPECT_NE(error_of("river").find("its words are [CLS] Banks , banks [SEP]"), std::string::npos);
  EXPECT_NE(error_of("banks#").find("no word"), std::string::npos);
  EXPECT_NE(error_of("banks#99999999999999999999").find("no word"), std::string::npos);
}

TEST(WordLinks, KeepTheMeanAndTheStrongestHead) {
  WordLinks links(words_of(kText, tokens()));
  std::vector<float> weights(7 * 7, 0.0F);
  weights[1 * 7 + 4] = weights[2 * 7 + 4] = 0.25F;  // Banks -> banks
  weights[1 * 7 + 0] = weights[2 * 7 + 0] = 0.75F;  // Banks -> [CLS]
  links.add(2, 5, weights, 7);
  weights[1 * 7 + 4] = weights[2 * 7 + 4] = 0.75F;
  weights[1 * 7 + 0] = weights[2 * 7 + 0] = 0.25F;
  links.add(3, 1, weights, 7);
  EXPECT_DOUBLE_EQ(links.mean(1, 3), 0.5);
  EXPECT_DOUBLE_EQ(links.to_sinks(1), 0.5);
  EXPECT_EQ(links.others(1), std::vector<std::size_t>{3});
  for (const Link& link : {links.strongest(1, 3), links.strongest()}) {
    EXPECT_EQ(link.from, 1u);
    EXPECT_EQ(link.to, 3u);
    EXPECT_EQ(link.layer, 3);
    EXPECT_EQ(link.head, 1);
    EXPECT_FLOAT_EQ(link.weight, 0.75F);
  }
  EXPECT_EQ(links.strongest(1, 0).layer, 2);
}

TEST(WordLinks, OfACausalModelNameNoWordThatIsStillToCome) {
  const std::vector<model::Token> tokens{{.id = 1, .text = "a", .begin = 0, .end = 1, .word = 0},
                                         {.id = 2, .text = "b", .begin = 2, .end = 3, .word = 1},
                                         {.id = 3, .text = "c", .begin = 4, .end = 5, .word = 2},
                                         {.id = 4, .text = "d", .begin = 6, .end = 7, .word = 3}};
  WordLinks links(words_of("a b c d", tokens, true), true);
  links.add(
      0, 0,
      std::vector<float>{1, 0, 0, 0, 0.5F, 0.5F, 0, 0, 0, 0.75F, 0.25F, 0, 0, 0.25F, 0.5F, 0.25F},
      4);
  EXPECT_TRUE(links.others(1).empty());
  EXPECT_EQ(links.others(2), std::vector<std::size_t>{1});
  EXPECT_EQ(links.others(3), (std::vector<std::size_t>{2, 1}));
  const std::vector<std::size_t> givers{1, 2, 3};
  EXPECT_DOUBLE_EQ(links.received(1, givers), 0.5);  // from c and d
  EXPECT_DOUBLE_EQ(links.received(3, givers), 0.0);  // nobody sees it
  EXPECT_EQ(links.strongest(3).to, 1u);
  EXPECT_EQ(links.strongest(2).to, 1u) << "the answer begins at c";
}

}  // namespace
}  // namespace regard::cli
