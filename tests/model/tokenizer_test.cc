// tests/model/tokenizer_test.cc - ids, byte offsets and words against golden files.
#include "regard/model/tokenizer.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "support/golden_digest.h"

namespace regard::model {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

const fs::path kGolden = fs::path(REGARD_SOURCE_DIR) / "tests/golden/tokenizer";

std::string read_text(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(path.string() + " cannot be read");
  return {std::istreambuf_iterator<char>(file), {}};
}

json read_json(const fs::path& path) { return json::parse(read_text(path)); }

json golden_entries(const std::string& name) { return read_json(kGolden / name).at("entries"); }

struct HostileText {
  std::string name, text;
};

std::vector<HostileText> hostile_texts() {
  std::vector<HostileText> texts;
  for (const json& entry : read_json(kGolden / "hostile.json")) {
    HostileText hostile{entry.at("name"), ""};
    for (const json& part : entry.at("parts")) {
      for (int i = 0; i < part.at(1).get<int>(); ++i) {
        hostile.text += part.at(0).get_ref<const std::string&>();
      }
    }
    texts.push_back(std::move(hostile));
  }
  return texts;
}

// The forms of make_tokenizer_golden.py.
std::string digest_of(const Tokenizer& tokenizer, const std::vector<std::string>& texts) {
  test::GoldenDigest digest;
  std::size_t count = 0;
  for (const std::string& text : texts) {
    const auto tokens = tokenizer.encode(text);
    digest.add(static_cast<std::int64_t>(tokens.size()));
    for (const Token& token : tokens) {
      for (const std::int64_t word : {std::int64_t{token.id}, token.begin, token.end, token.word}) {
        digest.add(word);
      }
    }
    count += tokens.size();
  }
  return std::to_string(count) + " " + digest.text();
}

std::string list_of(const Tokenizer& tokenizer, const std::string& text) {
  const auto tokens = tokenizer.encode(text);
  if (tokens.size() > 150) return digest_of(tokenizer, {text});
  std::string list;
  for (const Token& token : tokens) {
    if (!list.empty()) list += ", ";
    list += std::to_string(token.id) + ' ' + std::to_string(token.begin) + ' ' +
            std::to_string(token.end) + ' ' + std::to_string(token.word);
  }
  return list;
}

fs::path shared_data() {
  const char* set = std::getenv("REGARD_SHARED_DATA");
  return set != nullptr ? fs::path(set) : fs::path(REGARD_SOURCE_DIR).parent_path() / "shared/data";
}

std::optional<fs::path> find_minilm() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  const fs::path cached =
      cache != nullptr && *cache != '\0' ? fs::path(cache) : fs::path(home ? home : "") / ".cache";
  for (const fs::path& folder :
       {shared_data() / "tokenizers/minilm", cached / "regard/models/minilm"}) {
    if (fs::is_regular_file(folder / "tokenizer.json")) return folder / "tokenizer.json";
  }
  return std::nullopt;
}

TEST(Tokenizer, HostileTextsWithTheTinyVocabulary) {
  const Tokenizer tokenizer = Tokenizer::load(kGolden / "tiny.json");
  const json golden = golden_entries("golden_tiny.json");
  const auto texts = hostile_texts();
  ASSERT_EQ(texts.size(), golden.size());
  for (const auto& [name, text] : texts) {
    EXPECT_EQ(list_of(tokenizer, text), golden.at(name).get<std::string>()) << name;
  }
}

TEST(Tokenizer, HostileTextsWithEveryVariantOfTheFile) {
  const json tiny = read_json(kGolden / "tiny.json");
  const auto texts = hostile_texts();
  const json variants = golden_entries("golden_variants.json");
  ASSERT_GE(variants.size(), 9U);
  for (const auto& [variant, golden] : variants.items()) {
    json file = tiny;
    file.merge_patch(golden.at("patch"));
    const Tokenizer tokenizer = Tokenizer::parse(file.dump(), variant);
    ASSERT_EQ(texts.size(), golden.at("texts").size());
    for (std::size_t i = 0; i < texts.size(); ++i) {
      EXPECT_EQ(digest_of(tokenizer, {texts[i].text}), golden.at("texts")[i].get<std::string>())
          << variant << ": " << texts[i].name << ": " << list_of(tokenizer, texts[i].text);
    }
  }
}

TEST(Tokenizer, HostileTextsWithMiniLm) {
  const auto path = find_minilm();
  if (!path) GTEST_SKIP() << "minilm/tokenizer.json is neither in shared/data nor in the cache";
  const Tokenizer tokenizer = Tokenizer::load(*path);
  EXPECT_EQ(tokenizer.vocab_size(), 30522);
  const json golden = golden_entries("golden_minilm.json");
  const auto texts = hostile_texts();
  ASSERT_EQ(texts.size(), golden.size());
  for (const auto& [name, text] : texts) {
    EXPECT_EQ(list_of(tokenizer, text), golden.at(name).get<std::string>()) << name;
  }
}

std::vector<std::string> split_lines(const std::string& text) {
  std::vector<std::string> lines(1);
  for (const char c : text) {
    if (c == '\n') {
      lines.emplace_back();
    } else {
      lines.back() += c;
    }
  }
  return lines;
}

// The lines that make_tokenizer_golden.py takes from a file of shared/data.
std::vector<std::string> corpus(const fs::path& path) {
  std::vector<std::string> lines;
  if (path.extension() == ".json") {
    const json file = read_json(path);
    for (const json& article : file.at("data")) {
      for (const json& paragraph : article.at("paragraphs")) {
        lines.push_back(paragraph.at("context"));
        for (const json& question : paragraph.at("qas")) lines.push_back(question.at("question"));
      }
    }
    return lines;
  }
  lines = split_lines(read_text(path));
  if (path.extension() != ".conllu") return lines;
  const std::string head = "# text = ";
  std::erase_if(lines, [&](const std::string& line) { return !line.starts_with(head); });
  for (std::string& line : lines) line.erase(0, head.size());
  return lines;
}

TEST(Tokenizer, EveryLineOfTheCorporaWithMiniLm) {
  const auto path = find_minilm();
  if (!path) GTEST_SKIP() << "minilm/tokenizer.json is neither in shared/data nor in the cache";
  if (!fs::is_directory(shared_data() / "ud")) GTEST_SKIP() << shared_data() << " is not there";
  const Tokenizer tokenizer = Tokenizer::load(*path);
  constexpr std::size_t kLines = 250;  // LINES of make_tokenizer_golden.py
  const json golden = golden_entries("golden_corpora.json");
  for (const auto& [name, digests] : golden.items()) {
    if (const auto comma = name.find(", whole"); comma != std::string::npos) {
      const std::string text = read_text(shared_data() / name.substr(0, comma));
      EXPECT_EQ(digest_of(tokenizer, {text}), digests.at(0).get<std::string>()) << name;
      continue;
    }
    const auto lines = corpus(shared_data() / name);
    ASSERT_EQ((lines.size() + kLines - 1) / kLines, digests.size()) << name;
    for (std::size_t i = 0; i < digests.size(); ++i) {
      const auto begin = lines.begin() + static_cast<std::ptrdiff_t>(i * kLines);
      const auto size = static_cast<std::ptrdiff_t>(std::min(kLines, lines.size() - i * kLines));
      EXPECT_EQ(digest_of(tokenizer, {begin, begin + size}), digests[i].get<std::string>())
          << name << ", lines from " << i * kLines;
    }
  }
}

TEST(Tokenizer, TokensHaveTheVocabularysPieces) {
  const json tiny = read_json(kGolden / "tiny.json");
  std::map<int, std::string> pieces;
  for (const auto& [piece, id] : tiny.at("model").at("vocab").items()) pieces[id] = piece;
  std::map<int, bool> special;
  for (const json& token : tiny.at("added_tokens")) {
    pieces[token.at("id")] = token.at("content");
    special[token.at("id")] = token.at("special");
  }
  const Tokenizer tokenizer = Tokenizer::parse(tiny.dump(), "tiny");
  EXPECT_EQ(tokenizer.vocab_size(), pieces.rbegin()->first + 1);
  bool unknown_word = false;
  for (const auto& [name, text] : hostile_texts()) {
    for (const Token& token : tokenizer.encode(text)) {
      ASSERT_EQ(token.text, pieces.at(token.id)) << name;
      ASSERT_EQ(token.special, token.word == -1) << name;
      const bool is_unknown_word = token.text == "[UNK]" && !token.special;
      ASSERT_EQ(token.special, special[token.id] && !is_unknown_word) << name;
      unknown_word = unknown_word || is_unknown_word;
    }
  }
  EXPECT_TRUE(unknown_word);
}

TEST(Tokenizer, SaysWhichByteIsNoUtf8) {
  const Tokenizer tokenizer = Tokenizer::load(kGolden / "tiny.json");
  const auto message = [&](const std::string& text) -> std::string {
    try {
      tokenizer.encode(text);
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message("bank"), "");
  EXPECT_EQ(message("bank\xFF"), "text: byte 4 (0xff) is not valid UTF-8");
  EXPECT_EQ(message("\xED\xA0\x80"), "text: byte 0 (0xed) is not valid UTF-8");
  EXPECT_EQ(message(std::string(100000, 'a') + "\xC3"),
            "text: byte 100000 (0xc3) is not valid UTF-8");
}

TEST(Tokenizer, LoadsFromAFileAndMoves) {
  Tokenizer tokenizer = Tokenizer::load(kGolden / "tiny.json");
  Tokenizer moved = std::move(tokenizer);
  EXPECT_EQ(list_of(moved, "the bank"), "2 0 0 -1, 59 0 3 0, 60 4 8 1, 3 0 0 -1");
  EXPECT_THROW(Tokenizer::load(kGolden / "absent.json"), std::runtime_error);
  EXPECT_THROW(Tokenizer::load(kGolden), std::runtime_error);
}

}  // namespace
}  // namespace regard::model
