// src/model/json_field.cc - a value of a JSON file from outside: type, range and name checked.
#include "model/json_field.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace regard::model {
namespace {

// Keys that are no identifiers are shown as ["key"].
std::string key_path(const std::string& parent, const std::string& key) {
  const auto in_a_name = [](char c) {
    return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  const bool plain =
      !key.empty() && key.size() <= 40 && std::all_of(key.begin(), key.end(), in_a_name);
  if (!plain) return parent + "[" + in_quotes(key) + "]";
  return parent.empty() ? key : parent + "." + key;
}

std::string shown(const Json& value) {
  if (value.is_string()) return in_quotes(value.get_ref<const std::string&>());
  if (value.is_array()) return "an array of " + std::to_string(value.size());
  if (value.is_object()) return "an object";
  return value.dump();
}

}  // namespace

JsonField JsonField::child(std::string name, const Json& value) const {
  JsonField field(file_, value);
  field.name_ = std::move(name);
  return field;
}

void JsonField::say(const std::string& what) const {
  throw std::runtime_error(std::string(file_) + ": " + (name_.empty() ? "the whole" : name_) + " " +
                           what);
}

void JsonField::fail(const std::string& wanted) const {
  say("is " + shown(*value_) + ", expected " + wanted);
}

std::optional<JsonField> JsonField::find(std::string_view key) const {
  if (!value_->is_object()) fail("an object");
  const auto found = value_->find(key);
  if (found == value_->end()) return std::nullopt;
  return child(key_path(name_, std::string(key)), *found);
}

JsonField JsonField::at(std::string_view key) const {
  auto found = find(key);
  if (!found) child(key_path(name_, std::string(key)), *value_).say("is missing");
  return *std::move(found);
}

void JsonField::only_keys(std::initializer_list<std::string_view> known) const {
  for (const auto& [key, field] : members()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      field.say("is not known to this reader");
    }
  }
}

std::vector<std::pair<std::string, JsonField>> JsonField::members() const {
  if (!value_->is_object()) fail("an object");
  std::vector<std::pair<std::string, JsonField>> result;
  result.reserve(value_->size());
  for (const auto& [key, value] : value_->items()) {
    result.emplace_back(key, child(key_path(name_, key), value));
  }
  return result;
}

std::vector<JsonField> JsonField::elements() const {
  if (!value_->is_array()) fail("an array");
  std::vector<JsonField> result;
  result.reserve(value_->size());
  for (std::size_t i = 0; i < value_->size(); ++i) {
    result.push_back(child(name_ + "[" + std::to_string(i) + "]", (*value_)[i]));
  }
  return result;
}

const std::string& JsonField::text() const {
  if (!value_->is_string()) fail("a string");
  return value_->get_ref<const std::string&>();
}

bool JsonField::boolean() const {
  if (!value_->is_boolean()) fail("true or false");
  return value_->get<bool>();
}

std::int64_t JsonField::integer(std::int64_t min, std::int64_t max) const {
  // Non-negative JSON integers are unsigned here; above 2^63 they would wrap, so the range is
  // checked first.
  const bool fits = value_->is_number_unsigned()
                        ? value_->get<std::uint64_t>() <= static_cast<std::uint64_t>(INT64_MAX)
                        : value_->is_number_integer();
  const std::int64_t number = fits ? value_->get<std::int64_t>() : 0;
  if (!fits || number < min || number > max) {
    fail("an integer from " + std::to_string(min) + " to " + std::to_string(max));
  }
  return number;
}

void JsonField::only(std::string_view wanted) const {
  if (text() != wanted) fail(in_quotes(wanted));
}

}  // namespace regard::model
