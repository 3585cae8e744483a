// tests/model/safetensors_test.cc - good files are read, bad ones are refused by a line that says
// why.
#include "regard/model/safetensors.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "model/temp_folder.h"

namespace regard::model {
namespace {

using testing::message_of;
using testing::TempFolder;

std::string length_bytes(std::uint64_t length) {
  std::string bytes(sizeof length, '\0');
  std::memcpy(bytes.data(), &length, sizeof length);
  return bytes;
}

std::string file_of(const std::string& header, const std::string& data) {
  return length_bytes(header.size()) + header + data;
}

std::string floats(const std::vector<float>& values) {
  std::string bytes(values.size() * sizeof(float), '\0');
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

const std::string kTwoTensors =
    R"({"__metadata__": {"format": "pt"},)"
    R"( "b": {"dtype": "F32", "shape": [2, 3], "data_offsets": [8, 32]},)"
    R"( "a": {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]}}  )";

TEST(Safetensors, ReadsWhatWasWritten) {
  const TempFolder folder;
  const auto path = folder.write(
      "x", file_of(kTwoTensors, std::string(8, '\1') + floats({1, 2, 3, -4, 5e-40F, 6})));
  const SafetensorsFile file(path);
  ASSERT_EQ(file.tensors().size(), 2U);
  EXPECT_EQ(file.tensors().find("a")->second.dtype, "I64");
  EXPECT_FALSE(file.has("c"));
  EXPECT_EQ(file.read_f32("b", std::array<std::int64_t, 2>{2, 3}),
            (std::vector<float>{1, 2, 3, -4, 5e-40F, 6}));
  SafetensorsFile moved = SafetensorsFile(path);
  moved = SafetensorsFile(path);
  EXPECT_EQ(moved.read_f32("b", std::array<std::int64_t, 2>{2, 3})[3], -4);
}

TEST(Safetensors, EmptyTensorsAndNoTensors) {
  const TempFolder folder;
  EXPECT_TRUE(SafetensorsFile(folder.write("none", file_of("{}", ""))).tensors().empty());
  const SafetensorsFile file(folder.write(
      "empty", file_of(R"({"a": {"dtype": "F32", "shape": [0, 4], "data_offsets": [0, 0]},)"
                       R"("b": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}})",
                       floats({7}))));
  EXPECT_TRUE(file.read_f32("a", std::array<std::int64_t, 2>{0, 4}).empty());
  EXPECT_EQ(file.read_f32("b", std::span<const std::int64_t>()), std::vector<float>{7});
}

struct BadFile {
  const char* name;
  std::string bytes;
  const char* message;  // a part of it
};

std::string one(const std::string& entry) {
  return file_of("{\"a\": " + entry + "}", floats({1, 2, 3, 4}));
}

std::vector<BadFile> bad_files() {
  const std::string four = floats({1, 2, 3, 4});
  return {
      {"empty", "", "is 0 bytes, expected at least 8"},
      {"seven bytes", "1234567", "is 7 bytes, expected at least 8"},
      {"header beyond the file", length_bytes(100) + "{}",
       "header length is 100, expected at most 2"},
      {"header of 2^64 - 1", length_bytes(~std::uint64_t{0}) + "{}",
       "header length is 18446744073709551615"},
      {"truncated data", file_of(kTwoTensors, std::string(31, '\0')),
       "tensor \"b\": data_offsets are [8, 32], expected an ascending pair of at most 31"},
      {"no JSON", file_of("{\"a\"", ""), "header: not JSON"},
      {"invalid UTF-8", file_of("{\"\xff\": 1}", ""), "header: not JSON"},
      {"deep JSON", file_of(std::string(100'000, '['), ""), "nested deeper than"},
      {"not an object", file_of("[]", ""), "header is array, expected an object"},
      {"entry no object", one("7"), "tensor \"a\": is number, expected an object"},
      {"no dtype", one(R"({"shape": [4], "data_offsets": [0, 16]})"),
       "tensor \"a\": dtype is missing"},
      {"dtype a number", one(R"({"dtype": 32, "shape": [4], "data_offsets": [0, 16]})"),
       "dtype is number, expected a string"},
      {"unknown dtype", one(R"({"dtype": "F31\n", "shape": [4], "data_offsets": [0, 16]})"),
       "dtype is \"F31\\n\", expected one of the format's"},
      {"shape an object", one(R"({"dtype": "F32", "shape": {}, "data_offsets": [0, 16]})"),
       "shape is object, expected an array"},
      {"negative extent", one(R"({"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]})"),
       "shape holds -4"},
      {"fractional extent", one(R"({"dtype": "F32", "shape": [4.0], "data_offsets": [0, 16]})"),
       "shape holds 4.0"},
      {"extent of 2^63",
       one(R"({"dtype": "F32", "shape": [9223372036854775808], "data_offsets": [0, 16]})"),
       "shape holds 9223372036854775808, expected integers from 0 to 2^63 - 1"},
      {"product overflows",
       one(R"({"dtype": "F32", "shape": [4294967296, 4294967296, 4], "data_offsets": [0, 16]})"),
       "shape has more than 2^64 bytes"},
      {"product wraps to what fits",
       one(R"({"dtype": "F32", "shape": [4611686018427387905, 4], "data_offsets": [0, 16]})"),
       "shape has more than 2^64 bytes"},
      {"no offsets", one(R"({"dtype": "F32", "shape": [4]})"), "data_offsets is missing"},
      {"three offsets", one(R"({"dtype": "F32", "shape": [4], "data_offsets": [0, 16, 16]})"),
       "data_offsets are not what is expected"},
      {"negative offset", one(R"({"dtype": "F32", "shape": [4], "data_offsets": [-16, 0]})"),
       "data_offsets are not what is expected"},
      {"descending offsets", one(R"({"dtype": "F32", "shape": [4], "data_offsets": [16, 0]})"),
       "data_offsets are [16, 0], expected an ascending pair"},
      {"offset beyond the file", one(R"({"dtype": "F32", "shape": [5], "data_offsets": [0, 20]})"),
       "expected an ascending pair of at most 16"},
      {"offset near 2^64",
       one(R"({"dtype": "F32", "shape": [4], "data_offsets": [18446744073709551600, 18446744073709551615]})"),
       "expected an ascending pair of at most 16"},
      {"offsets do not fit the shape",
       one(R"({"dtype": "F32", "shape": [3], "data_offsets": [0, 16]})"),
       "data_offsets span 16 bytes, expected 12"},
      {"bytes left over", one(R"({"dtype": "F32", "shape": [3], "data_offsets": [0, 12]})"),
       "(the end of the file)"},
      {"bytes before", one(R"({"dtype": "F32", "shape": [3], "data_offsets": [4, 16]})"),
       "begins at data byte 4, expected 0"},
      {"overlap",
       file_of(R"({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]},)"
               R"("b": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}})",
               four),
       "tensor \"b\" begins at data byte 8, expected 12 (the end of the tensor before it: they "
       "overlap)"},
      {"hole",
       file_of(R"({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},)"
               R"("b": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}})",
               four),
       "there is a hole"},
      {"duplicate tensor",
       file_of(R"({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]},)"
               R"("a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}})",
               four),
       "key \"a\" comes twice"},
      {"duplicate field",
       one(R"({"dtype": "F32", "dtype": "F32", "shape": [4], "data_offsets": [0, 16]})"),
       "key \"dtype\" comes twice"},
  };
}

TEST(Safetensors, BadFilesAreRefusedInOneLineThatSaysWhy) {
  const TempFolder folder;
  for (const BadFile& bad : bad_files()) {
    const auto path = folder.write("bad.safetensors", bad.bytes);
    const std::string message = message_of<std::runtime_error>([&] { SafetensorsFile file(path); });
    EXPECT_TRUE(message.starts_with(path.string())) << bad.name << ": " << message;
    EXPECT_NE(message.find(bad.message), std::string::npos) << bad.name << ": " << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << bad.name << ": " << message;
    EXPECT_LT(message.size(), path.string().size() + 400) << bad.name;
  }
}

TEST(Safetensors, EveryTruncationIsRefused) {
  const TempFolder folder;
  const std::string whole = file_of(kTwoTensors, std::string(32, '\0'));
  EXPECT_NO_THROW(SafetensorsFile(folder.write("x", whole)));
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_THROW(SafetensorsFile(folder.write("x", whole.substr(0, size))), std::runtime_error)
        << size;
  }
}

TEST(Safetensors, WhatIsNoRegularFileIsRefused) {
  const TempFolder folder;
  const auto pipe = folder.path() / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const auto said = [](const std::filesystem::path& path) {
    return message_of<std::runtime_error>([&] { SafetensorsFile file(path); });
  };
  EXPECT_NE(said(pipe).find("is not a regular file"), std::string::npos);
  EXPECT_NE(said(folder.path()).find("is not a regular file"), std::string::npos);
  EXPECT_NE(said(folder.path() / "none").find("cannot be opened: No such file"), std::string::npos);
}

TEST(Safetensors, ReadingSaysWhatCameAndWhatWasWanted) {
  const TempFolder folder;
  const float infinity = std::numeric_limits<float>::infinity();
  const SafetensorsFile file(folder.write(
      "x", file_of(kTwoTensors, std::string(8, '\0') + floats({1, 2, 3, infinity, 5, 6}))));
  const auto said = [&](std::string_view name, const std::vector<std::int64_t>& shape) {
    return message_of<std::runtime_error>([&] { file.read_f32(name, shape); });
  };
  EXPECT_NE(said("c", {2}).find("tensor \"c\" is missing, expected F32, F16 or BF16 (2)"),
            std::string::npos);
  EXPECT_NE(said("a", {1}).find("tensor \"a\" is I64 (1), expected F32, F16 or BF16 (1)"),
            std::string::npos);
  EXPECT_NE(said("b", {3, 2}).find("tensor \"b\" is F32 (2, 3), expected F32, F16 or BF16 (3, 2)"),
            std::string::npos);
  EXPECT_NE(said("b", {2, 3}).find("tensor \"b\" holds inf at element 3, expected finite"),
            std::string::npos);
  std::vector<float> small(5);
  EXPECT_NE(message_of<std::runtime_error>([&] {
              file.read_f32("b", std::array<std::int64_t, 2>{2, 3}, small);
            }).find("has 24 bytes, expected 20"),
            std::string::npos);
}

TEST(Safetensors, FileThatShrinksWhileItIsOpen) {
  const TempFolder folder;
  const auto path = folder.write("x", file_of(kTwoTensors, std::string(32, '\0')));
  const SafetensorsFile file(path);
  std::filesystem::resize_file(path, 100);
  EXPECT_NE(message_of<std::runtime_error>([&] {
              file.read_f32("b", std::array<std::int64_t, 2>{2, 3});
            }).find("became shorter"),
            std::string::npos);
}

}  // namespace
}  // namespace regard::model
