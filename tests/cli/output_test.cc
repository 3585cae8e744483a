// tests/cli/output_test.cc - a file that is there whole or not at all.
#include "cli/output.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace regard::cli {
namespace {

namespace fs = std::filesystem;

class OutputTest : public testing::Test {
 protected:
  OutputTest() {
    std::string name = (fs::temp_directory_path() / "regard-output-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp: " + name);
    folder_ = name;
  }
  ~OutputTest() override { fs::remove_all(folder_); }

  std::string path(const char* name) const { return (folder_ / name).string(); }
  std::size_t count() const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }
  static std::string content(const std::string& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

 private:
  fs::path folder_;
};

TEST_F(OutputTest, IsNotThereBeforeCommit) {
  const std::string big(200'000, 'x');
  Output output(path("a"));
  output.write("begin");
  output.write(big);
  EXPECT_FALSE(fs::exists(path("a")));
  output.commit();
  EXPECT_EQ(content(path("a")), "begin" + big);
  EXPECT_EQ(count(), 1u);
}

TEST_F(OutputTest, IsGoneWithoutCommit) {
  std::ofstream(path("old")) << "old";
  for (const char* name : {"new", "old"}) {
    Output output(path(name));
    output.write(std::string(200'000, 'x'));
    EXPECT_EQ(count(), 2u);
  }
  EXPECT_EQ(content(path("old")), "old");
  EXPECT_EQ(count(), 1u);
}

TEST_F(OutputTest, SeveralAtATime) {
  {
    Output first(path("a")), second(path("b")), third(path("a"));
    second.write("b");
    first.write("first");
    third.write("third");
    first.commit();
    second.commit();
    third.commit();
  }
  EXPECT_EQ(content(path("a")), "third");
  EXPECT_EQ(content(path("b")), "b");
  EXPECT_EQ(count(), 2u);
}

TEST_F(OutputTest, WritesDevicesInPlace) {
  Output output("/dev/null");
  output.write("x");
  output.commit();
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
}

TEST_F(OutputTest, NamesWhatCannotBeWritten) {
  const auto error_of = [](const std::string& name) -> std::string {
    try {
      Output output(name);
      output.write("x");
      output.commit();
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return "written";
  };
  EXPECT_EQ(error_of(path("")), "cannot write " + path("") + ": Is a directory");
  EXPECT_EQ(error_of(path("no/a")), "cannot write " + path("no/a") + ": No such file or directory");
  EXPECT_EQ(error_of("/dev/full"), "cannot write /dev/full: No space left on device");
  EXPECT_EQ(error_of(""), "an output file has no name, expected a path or -");
  EXPECT_EQ(count(), 0u);
}

TEST_F(OutputTest, AStreamThrowsWhatTheOutputThrows) {
  Output output("/dev/full");
  OutputStream stream(output);
  stream << "x" << 12;
  EXPECT_THROW(stream << std::string(200'000, 'x') << 'y', std::runtime_error);
}

}  // namespace
}  // namespace regard::cli
