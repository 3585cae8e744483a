// src/model/json_field.h - a value of a JSON file from outside: type, range and name checked.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/json.h"

namespace regard::model {

/// A view of a JSON value that knows where it stands. Every error is a std::runtime_error of one
/// line: "FILE: FIELD is WHAT CAME, expected WHAT WAS WANTED". File and value must outlive it.
class JsonField {
 public:
  JsonField(std::string_view file, const Json& root) : file_(file), value_(&root) {}

  const Json& value() const { return *value_; }
  const std::string& name() const { return name_; }
  bool is_null() const { return value_->is_null(); }

  /// The member of an object; throws if this is no object or has no such member.
  JsonField at(std::string_view key) const;
  std::optional<JsonField> find(std::string_view key) const;
  /// Throws unless this is an object whose keys are all among `known`.
  void only_keys(std::initializer_list<std::string_view> known) const;
  /// The members of an object, each with its key, or the elements of an array.
  std::vector<std::pair<std::string, JsonField>> members() const;
  std::vector<JsonField> elements() const;

  const std::string& text() const;
  bool boolean() const;
  std::int64_t integer(std::int64_t min, std::int64_t max) const;
  /// Throws unless this is that string.
  void only(std::string_view wanted) const;

  /// Throws "FILE: FIELD is VALUE, expected `wanted`".
  [[noreturn]] void fail(const std::string& wanted) const;
  /// Throws "FILE: FIELD `what`".
  [[noreturn]] void say(const std::string& what) const;

 private:
  JsonField child(std::string name, const Json& value) const;

  std::string_view file_;
  std::string name_;
  const Json* value_;
};

}  // namespace regard::model
