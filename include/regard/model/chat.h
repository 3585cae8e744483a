// include/regard/model/chat.h - conversations as the text that instruct models were trained on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "regard/model/tokenizer.h"

namespace regard::model {

struct Message {
  std::string role;  ///< "system", "user" or "assistant"
  std::string content;
};

/// How a model's turns are written: ChatML, Llama 2, Llama 3, Mistral or Gemma, each as the model's
/// own Jinja text has it. Where that text does more than is known here it is refused.
class ChatTemplate {
 public:
  /// From the Jinja text of a model's files. Throws std::runtime_error for one that is not
  /// recognised, and says so.
  static ChatTemplate parse(std::string_view jinja);
  /// The template that belongs to a model: a .gguf file, or a folder with chat_template.jinja or
  /// tokenizer_config.json. Throws std::runtime_error where there is none.
  static ChatTemplate load(const std::filesystem::path& model);

  const char* name() const;  ///< "ChatML"
  /// Tokens of the conversation, and of the beginning of the assistant's answer. What the messages
  /// say is text: a token such as <|im_end|> that is spelled out in it is not that token. The
  /// model's own system message is added where its template does so. Throws std::invalid_argument
  /// for a role or an order that the template does not have.
  std::vector<std::int32_t> encode(std::span<const Message> messages,
                                   const Tokenizer& tokenizer) const;
  /// The ids that end an answer: those below, and the model's own eos.
  std::vector<std::int32_t> end_ids(const Tokenizer& tokenizer) const;

 private:
  struct Reader;
  /// Where a system message goes.
  enum class System : std::uint8_t { kRefused, kOwnTurn, kFirstUser, kLastUser };
  /// What is trimmed: nothing, what is said, or all between a turn's begin and end.
  enum class Trim : std::uint8_t { kNone, kContent, kTurn };
  /// What stands before and after what is said.
  struct Turn {
    std::string begin, end;
  };
  /// Template text, or a message's.
  struct Piece {
    std::string text;
    bool is_template;
  };
  std::vector<Piece> render(std::span<const Message> messages) const;
  void check(std::span<const Message> messages) const;

  const char* name_ = "";
  bool bos_ = false;         ///< the template begins with bos_token_, else the tokenizer's
  bool alternates_ = false;  ///< user and assistant take turns
  Turn system_turn_, user_, assistant_;
  std::string answer_;  ///< what the assistant's answer begins with
  System system_ = System::kOwnTurn;
  Trim trim_ = Trim::kNone;
  std::optional<std::string> default_system_;
  std::string bos_token_, eos_token_;  ///< as tokenizer_config.json names them, or empty
};

/// What a model is given, and how its answer ends.
struct Prompt {
  std::vector<std::int32_t> ids, end_ids;
  bool is_answer = false;  ///< GenerateOptions::is_answer
};
/// A text as it is: special tokens in it are recognised, none are added.
Prompt raw_prompt(std::string_view text, const Tokenizer& tokenizer);
/// A conversation, by the template that belongs to the model (ChatTemplate::load).
Prompt chat_prompt(std::span<const Message> messages, const Tokenizer& tokenizer,
                   const ChatTemplate& chat);

/// The ids that end a model's text, with or without a template: the tokenizer's eos, and special
/// tokens such as <|im_end|> and <|eot_id|>.
std::vector<std::int32_t> end_ids(const Tokenizer& tokenizer);

}  // namespace regard::model
