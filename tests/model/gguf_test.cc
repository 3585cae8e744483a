// tests/model/gguf_test.cc - GGUF files, good and hostile, and the numbers that blocks stand for.
#include "regard/model/gguf.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

#include "model/block_format.h"
#include "model/gguf_header.h"
#include "model/json.h"
#include "model/temp_folder.h"
#include "regard/linear.h"

namespace regard::model {
namespace {

using testing::message_of;
using testing::TempFolder;

/// Puts a file together, right or wrong.
class Bytes {
 public:
  template <class T>
  Bytes& number(T x) {
    data.append(reinterpret_cast<const char*>(&x), sizeof x);
    return *this;
  }
  Bytes& text(const std::string& x) {
    number<std::uint64_t>(x.size());
    data += x;
    return *this;
  }
  Bytes& head(std::uint64_t tensors, std::uint64_t entries, std::uint32_t version = 3) {
    data += "GGUF";
    return number(version).number(tensors).number(entries);
  }
  Bytes& entry(const std::string& key, std::uint32_t type) { return text(key).number(type); }
  Bytes& tensor(const std::string& name, std::vector<std::uint64_t> extents, std::uint32_t type,
                std::uint64_t offset) {
    text(name).number<std::uint32_t>(static_cast<std::uint32_t>(extents.size()));
    for (const std::uint64_t extent : extents) number(extent);
    return number(type).number(offset);
  }
  Bytes& pad(std::size_t alignment = 32) {
    data.resize((data.size() + alignment - 1) / alignment * alignment);
    return *this;
  }

  std::string data;
};

GgufHeader read(const std::string& bytes) {
  return read_gguf_header({bytes.size(), "f.gguf", [&](std::uint64_t at, std::span<char> to) {
                             std::memcpy(to.data(), bytes.data() + at, to.size());
                           }});
}

std::string refused(const Bytes& bytes) {
  return message_of<std::runtime_error>([&] { read(bytes.data); });
}

constexpr std::uint32_t kU8 = 0, kU32 = 4, kF32 = 6, kBool = 7, kString = 8, kArray = 9, kU64 = 10;

TEST(Gguf, ReadsWhatIsThere) {
  const TempFolder folder;
  Bytes b;
  b.head(2, 5);
  b.entry("a.number", kU32).number<std::uint32_t>(7);
  b.entry("a.real", kF32).number(0.5F);
  b.entry("a.flag", kBool).number<std::uint8_t>(1);
  b.entry("a.text", kString).text("words");
  b.entry("a.list", kArray).number(kString).number<std::uint64_t>(2).text("x").text("yz");
  b.tensor("m", {2, 3}, 0, 0).tensor("v", {2}, 1, 32).pad();
  for (float x = 0; x < 6; ++x) b.number(x);
  b.pad().number(f16(1.5F).bits).number(f16(-2.0F).bits);
  folder.write("good.gguf", b.data);
  const GgufFile file(folder.path() / "good.gguf");
  EXPECT_EQ(file.integer("a.number", 0, 10), 7);
  EXPECT_EQ(file.integer("none", 0, 10, 3), 3);
  EXPECT_EQ(file.real("a.real"), 0.5);
  EXPECT_TRUE(file.at<bool>("a.flag"));
  EXPECT_EQ(file.at<std::string>("a.text"), "words");
  EXPECT_EQ(file.at<std::vector<std::string>>("a.list"), (std::vector<std::string>{"x", "yz"}));
  EXPECT_EQ(file.read_f32("m", std::array<std::int64_t, 2>{3, 2}),
            (std::vector<float>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(file.read_f32("v", std::array<std::int64_t, 1>{2}), (std::vector<float>{1.5F, -2}));
  const auto said = [&](auto f) {
    const std::string text = message_of<std::runtime_error>(f);
    return text.substr(text.find(": ") + 2);
  };
  EXPECT_EQ(said([&] { file.integer("a.number", 0, 5); }), "\"a.number\" is 7, expected 0..5");
  EXPECT_EQ(said([&] { file.at<std::string>("a.number"); }),
            "\"a.number\" is an integer, expected a string");
  EXPECT_EQ(said([&] { file.at<bool>("b"); }), "\"b\" is missing, expected a truth value");
  EXPECT_EQ(said([&] { file.tensor("m", std::array<std::int64_t, 2>{2, 3}); }),
            "tensor \"m\" is (3, 2), expected (2, 3)");
  EXPECT_EQ(said([&] { file.tensor("w", std::array<std::int64_t, 1>{2}); }),
            "tensor \"w\" is missing, expected (2)");
}

TEST(Gguf, RefusesWhatIsHostile) {
  constexpr std::uint64_t kHuge = ~std::uint64_t{0};
  const auto one = [](const Bytes& tail) {
    Bytes b;
    b.head(0, 1);
    b.data += tail.data;
    if (b.data.size() < 24 + 13) b.data.resize(24 + 13);  // room for one entry
    return refused(b);
  };
  const auto tensor = [](std::vector<std::uint64_t> extents, std::uint32_t type,
                         std::uint64_t offset) {
    Bytes b;
    b.head(1, 0).tensor("t", std::move(extents), type, offset).pad().data.resize(1024);
    return refused(b);
  };
  EXPECT_EQ(refused(Bytes()), "f.gguf: ends at byte 0 within the magic number");
  EXPECT_EQ(refused(Bytes().number<std::uint64_t>(1)), "f.gguf: does not begin with GGUF");
  EXPECT_EQ(refused(Bytes().head(0, 0, 1)), "f.gguf: is GGUF version 1, expected 2 or 3");
  EXPECT_NE(refused(Bytes().head(0, 0, 0x03000000)).find("it is big-endian"), std::string::npos);
  EXPECT_NE(refused(Bytes().head(kHuge, 0)).find("the number of tensors is 18446744073709551615"),
            std::string::npos);
  EXPECT_NE(refused(Bytes().head(0, kHuge)).find("the number of metadata entries is"),
            std::string::npos);
  EXPECT_NE(one(Bytes().number(kHuge)).find("the length of a key is 18446744073709551615"),
            std::string::npos);
  EXPECT_NE(one(Bytes().entry("k", 13)).find("the type of \"k\" is 13, expected 0..12"),
            std::string::npos);
  EXPECT_NE(one(Bytes().entry("k", kString).number(kHuge)).find("the length of \"k\" is"),
            std::string::npos);
  EXPECT_NE(one(Bytes().entry("k", kArray).number(kArray).number<std::uint64_t>(1))
                .find("an array of arrays"),
            std::string::npos);
  EXPECT_NE(one(Bytes().entry("k", kArray).number(kU8).number(kHuge)).find("expected at most"),
            std::string::npos);
  EXPECT_NE(one(Bytes().entry("k", kU64).number(kHuge)).find("expected less than 2^63"),
            std::string::npos);
  EXPECT_NE(one(Bytes().entry("k", kU32)).find("ends at byte"), std::string::npos);
  Bytes twice;
  twice.head(0, 2).entry("k", kU8).number<std::uint8_t>(1).entry("k", kU8).number<std::uint8_t>(1);
  EXPECT_EQ(refused(twice), "f.gguf: the key \"k\" comes twice");
  EXPECT_NE(tensor({2, 2, 2, 2, 2}, 0, 0).find("has 5 dimensions, expected at most 4"),
            std::string::npos);
  EXPECT_NE(tensor({0}, 0, 0).find("has an extent of 0"), std::string::npos);
  EXPECT_NE(tensor({1ULL << 40, 1ULL << 40}, 0, 0).find("at most 2^56"), std::string::npos);
  EXPECT_NE(tensor({4}, 16, 0).find("is of type IQ2_XXS, expected F32, F16, Q4_0"),
            std::string::npos);
  EXPECT_NE(tensor({4}, 1000, 0).find("is of type 1000"), std::string::npos);
  EXPECT_NE(tensor({33}, 2, 0).find("has rows of 33, expected a multiple of 32 (Q4_0)"),
            std::string::npos);
  EXPECT_NE(tensor({4}, 0, 3).find("expected a multiple of 32"), std::string::npos);
  EXPECT_NE(tensor({4}, 0, 4096).find("an end within the file's"), std::string::npos);
  EXPECT_NE(tensor({4}, 0, kHuge - 31).find("an end within the file's"), std::string::npos);
  EXPECT_NE(tensor({1ULL << 30}, 0, 0).find("an end within the file's"), std::string::npos);
  Bytes overlap;
  overlap.head(2, 0).tensor("a", {16}, 0, 0).tensor("b", {16}, 0, 32).pad().data.resize(1024);
  EXPECT_NE(refused(overlap).find("two tensors overlap"), std::string::npos);
  Bytes align;
  align.head(0, 1).entry("general.alignment", kU32).number<std::uint32_t>(24);
  EXPECT_NE(refused(align).find("is not a power of two"), std::string::npos);
}

TEST(Gguf, AFileThatIsNone) {
  const TempFolder folder;
  EXPECT_NE(message_of<std::runtime_error>([&] {
              GgufFile file(folder.path());
            }).find("is not a regular file"),
            std::string::npos);
  EXPECT_NE(message_of<std::runtime_error>([&] {
              GgufFile file(folder.path() / "none");
            }).find("cannot be opened"),
            std::string::npos);
}

std::vector<std::byte> from_hex(const std::string& hex) {
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2)
    bytes.push_back(static_cast<std::byte>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return bytes;
}

TEST(Gguf, BlocksMeanWhatGgufSays) {
  const std::string path = REGARD_SOURCE_DIR "/tests/golden/gguf_blocks.json";
  const Json golden = parse_json(read_file(path, 1 << 20), path);
  const auto columns = golden.at("columns").get<std::size_t>();
  int formats = 0;
  for (const auto& [name, entry] : golden.at("formats").items()) {
    const auto format = find_format(entry.at("type").get<std::uint32_t>());
    ASSERT_TRUE(format.has_value()) << name;
    EXPECT_EQ(format->name, name);
    std::vector<std::vector<std::byte>> rows;
    std::vector<float> expected(2 * columns);
    for (std::size_t r = 0; r < 2; ++r) {
      rows.push_back(from_hex(entry.at("blocks").at(r).get<std::string>()));
      const auto bytes = from_hex(entry.at("numbers").at(r).get<std::string>());
      std::memcpy(&expected[r * columns], bytes.data(), columns * sizeof(float));
      std::vector<float> row(columns);
      dequantize(format->format, rows[r], row);
      for (std::size_t i = 0; i < columns; ++i)
        EXPECT_EQ(row[i], expected[r * columns + i]) << name;
    }
    ++formats;
    if (!is_quantized(format->format)) continue;
    // A linear layer that keeps the blocks has these rows.
    const Linear linear(block_shape(format->format, 2, static_cast<std::int64_t>(columns)),
                        [&](std::int64_t r, const BlockRow& to) {
                          read_blocks(format->format, rows[static_cast<std::size_t>(r)], to);
                        },
                        {});
    std::vector<float> row(columns);
    for (std::size_t r = 0; r < 2; ++r) {
      linear.weight_row(static_cast<std::int64_t>(r), row);
      for (std::size_t i = 0; i < columns; ++i)
        EXPECT_EQ(row[i], expected[r * columns + i]) << name;
    }
  }
  EXPECT_EQ(formats, 9);
}

}  // namespace
}  // namespace regard::model
