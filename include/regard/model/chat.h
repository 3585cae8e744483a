// include/regard/model/chat.h - conversations as the text that instruct models were trained on.
#pragma once

#include <cstdint>
#include <filesystem>
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

/// How a model's turns are written. Recognised by what identifies each template: ChatML, Llama 2,
/// Llama 3, Mistral, Gemma.
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

 private:
  enum class Kind : std::uint8_t { kChatMl, kLlama2, kLlama3, kMistral, kGemma };
  /// Template text, or a message's.
  struct Piece {
    std::string text;
    bool is_template;
  };
  std::vector<Piece> render(std::span<const Message> messages) const;

  Kind kind_ = Kind::kChatMl;
  std::string default_system_;
};

/// The ids that end a model's text, with or without a template: the tokenizer's eos, and special
/// tokens such as <|im_end|> and <|eot_id|>.
std::vector<std::int32_t> end_ids(const Tokenizer& tokenizer);

}  // namespace regard::model
