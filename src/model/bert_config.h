// src/model/bert_config.h - config.json of a BERT model, checked.
#pragma once

#include <filesystem>
#include <string_view>

#include "regard/model/bert.h"

namespace regard::model {

/// Reads FOLDER/config.json. Throws std::runtime_error.
BertConfig read_bert_config(const std::filesystem::path& folder);

/// The same from memory; `name` stands for the path in errors.
BertConfig parse_bert_config(std::string_view json, std::string_view name);

}  // namespace regard::model
