// tests/model/piece_table_test.cc - the longest piece that begins a text, against trying all.
#include "model/piece_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "model/wordpiece.h"

namespace regard::model {
namespace {

std::string random_text(std::mt19937& random, int max_size) {
  // Few letters, so that pieces begin each other; 0 and 0xFF because heads are padded with 0 and
  // sort unsigned.
  static const std::string letters("ab\0\xFF", 4);
  std::string text(random() % static_cast<unsigned>(max_size + 1), 'a');
  for (char& c : text) c = letters[random() % 4];
  return text;
}

TEST(PieceTable, FindsWhatTryingThemAllFinds) {
  std::mt19937 random(1);
  for (int round = 0; round < 300; ++round) {
    std::set<std::string> pieces;
    for (int i = 0; i < 30; ++i) pieces.insert(random_text(random, round % 2 ? 4 : 14));
    std::vector<PieceTable::Entry> entries;
    for (const std::string& piece : pieces) {
      entries.push_back({piece, static_cast<std::int32_t>(entries.size())});
    }
    std::shuffle(entries.begin(), entries.end(), random);
    const PieceTable table(entries);
    for (int i = 0; i < 100; ++i) {
      const std::string text = random_text(random, 20);
      const PieceTable::Entry* longest = nullptr;
      for (const auto& entry : entries) {
        const bool fits = !entry.piece.empty() && text.starts_with(entry.piece);
        if (fits && (!longest || longest->piece.size() < entry.piece.size())) longest = &entry;
      }
      const auto match = table.longest_prefix(text);
      ASSERT_EQ(match.has_value(), longest != nullptr);
      if (!match) continue;
      EXPECT_EQ(match->value, longest->value);
      EXPECT_EQ(match->size, longest->piece.size());
      EXPECT_EQ(table.find(text).has_value(), longest->piece == text);
    }
  }
}

TEST(PieceTable, EmptyTableFindsNothing) {
  EXPECT_TRUE(PieceTable().empty());
  EXPECT_TRUE(PieceTable({{"", 0}}).empty());
  EXPECT_FALSE(PieceTable().longest_prefix("a").has_value());
  EXPECT_FALSE(PieceTable({{"b", 0}}).longest_prefix("").has_value());
}

// Every place of the word looks far ahead and takes one letter. 1000 bytes is what
// tokenizer_json.cc lets in.
TEST(WordPiece, AHostileVocabularyAndALongWordAreNotQuadratic) {
  std::vector<Piece> vocabulary = {{"?", 0}, {"a", 1}, {"##a", 2}};
  for (int i = 0; i < 990; ++i) {
    vocabulary.push_back({"##ab" + std::string(static_cast<std::size_t>(i), 'b'), 3 + i});
  }
  vocabulary.push_back({"##" + std::string(997, 'a') + "b", 5000});
  const WordPiece model(vocabulary, {"?", "##", 1'000'000});
  std::vector<WordPart> parts;
  const auto begin = std::chrono::steady_clock::now();
  model.split(std::string(102400, 'a'), parts);
  EXPECT_EQ(parts.size(), 102400U);
  parts.clear();
  std::string word;
  for (int i = 0; i < 51200; ++i) word += "ac";
  model.split(word, parts);
  EXPECT_EQ(parts.size(), 1U);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
}

}  // namespace
}  // namespace regard::model
