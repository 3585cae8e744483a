// src/model/tokenizer_fields.h - the parts of a tokenizer.json that every kind of tokenizer has.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "model/added_tokens.h"
#include "model/json_field.h"
#include "model/wordpiece.h"

namespace regard::model {

inline constexpr std::int64_t kMaxId = (1 << 24) - 1;
// Longer pieces are no words: the bound keeps the search linear in the text.
inline constexpr std::size_t kMaxPieceBytes = 1000;

/// Throws if the file has a part that is not known, or another version.
void check_file(const JsonField& file);

/// A member that is there and not null.
std::optional<JsonField> present(const JsonField& object, std::string_view key);
bool is_true(const JsonField& object, std::string_view key, bool otherwise);
/// The steps that a Sequence, and those within it, come to; `list` is its key for them.
std::vector<JsonField> steps_of(const JsonField& field, std::string_view list);

/// Every piece of a file by its text and by its id, added tokens included.
class Ids {
 public:
  /// Throws, naming the field, if another piece has the id.
  void add(const std::string& text, std::int32_t id, const JsonField& field);
  std::optional<std::int32_t> find(const std::string& text) const;
  std::int64_t end() const { return end_; }

 private:
  std::unordered_map<std::string, std::int32_t> ids_;
  std::unordered_map<std::int32_t, std::string> texts_;
  std::int64_t end_ = 0;
};

/// model.vocab: pieces, ascending by their bytes.
std::vector<Piece> read_vocabulary(const JsonField& field, Ids& ids);

struct AddedTokenSets {
  AddedTokens raw;         ///< looked for in the text as it came
  AddedTokens normalized;  ///< looked for in the normalised text between those
};

/// `pieces`: how many the vocabulary has. `normalize`: what the normaliser makes of a text.
AddedTokenSets read_added_tokens(const JsonField& field, Ids& ids, std::size_t pieces,
                                 const std::function<std::string(std::string_view)>& normalize);

/// What a post-processor puts round a text's tokens.
struct PiecesAround {
  std::vector<Piece> before, after;
};

/// TemplateProcessing, for one text.
PiecesAround read_template(const JsonField& field, const Ids& ids);
/// BertProcessing and RobertaProcessing.
PiecesAround read_cls_and_sep(const JsonField& field, const Ids& ids);

}  // namespace regard::model
