// tests/model/sha256_test.cc - SHA-256 of files against the standard's own examples.
#include "model/sha256.h"

#include <gtest/gtest.h>

#include <fstream>

#include "model/temp_folder.h"

namespace regard::model {
namespace {

TEST(Sha256, StandardExamples) {
  const testing::TempFolder folder;
  const struct {
    std::string bytes, digest;
  } cases[] = {
      {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
      {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
      {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
       "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
      {std::string(1'000'000, 'a'),
       "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(sha256_file(folder.write("file", c.bytes)), c.digest) << c.bytes.size() << " bytes";
  }
}

TEST(Sha256, LongerThanOnePiece) {
  // 2^20 + 1 bytes cross the border between two reads; the same bytes in another order differ.
  const testing::TempFolder folder;
  std::string bytes((1 << 20) + 1, '\0');
  bytes.back() = 'x';
  const std::string last = sha256_file(folder.write("last", bytes));
  std::swap(bytes.front(), bytes.back());
  const std::string first = sha256_file(folder.write("first", bytes));
  EXPECT_EQ(last, "3cd07772d955581e0debcca858b6d7c81da4e6c88aff072bd1953af8c500b9a6");
  EXPECT_EQ(first, "81d46c011ceab8fa67d09be457c8692388b3309c29a8cccd24eacee04d559ba4");
}

TEST(Sha256, MissingFileAndFolder) {
  const testing::TempFolder folder;
  EXPECT_THROW(sha256_file(folder.path() / "none"), std::runtime_error);
  EXPECT_THROW(sha256_file(folder.path()), std::runtime_error);
}

}  // namespace
}  // namespace regard::model
