// src/model/chat.cc - conversations as the text that instruct models were trained on.
#include "regard/model/chat.h"

#include <stdexcept>
#include <utility>

#include "model/json_field.h"
#include "regard/model/gguf.h"

namespace regard::model {
namespace {

bool has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

/// What a ChatML template puts first when there is no system message: the literal text between its
/// <|im_start|>system and <|im_end|>.
std::string chatml_system(std::string_view jinja) {
  constexpr std::string_view kBegin = "<|im_start|>system", kEnd = "<|im_end|>";
  for (std::size_t at = jinja.find(kBegin); at != std::string_view::npos;
       at = jinja.find(kBegin, at + 1)) {
    std::string_view rest = jinja.substr(at + kBegin.size());
    if (rest.starts_with("\\n"))
      rest.remove_prefix(2);
    else if (rest.starts_with('\n'))
      rest.remove_prefix(1);
    const std::string_view text = rest.substr(0, rest.find(kEnd));
    if (text.size() < rest.size() && text.find_first_of("'\"{}") == std::string_view::npos)
      return std::string(text);
  }
  return "";
}

std::string trimmed(const std::string& text) {
  const auto begin = text.find_first_not_of(" \t\r\n\v\f");
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(" \t\r\n\v\f") + 1 - begin);
}

[[noreturn]] void refuse(const std::string& what) { throw std::invalid_argument("chat: " + what); }

/// The system message, if the first is one, taken off.
std::string take_system(std::span<const Message>& messages) {
  if (messages.empty() || messages[0].role != "system") return "";
  std::string system = messages[0].content;
  messages = messages.subspan(1);
  return system;
}

void check_turns(std::span<const Message> messages) {
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const char* wanted = i % 2 == 0 ? "user" : "assistant";
    if (messages[i].role != wanted)
      refuse("message " + std::to_string(i) + " is of role " + in_quotes(messages[i].role) +
             ", expected \"" + wanted + "\" (they take turns)");
  }
}

std::string template_text(const std::filesystem::path& model) {
  if (!std::filesystem::is_directory(model)) {
    const GgufFile file(model);
    const std::string* text = file.find<std::string>("tokenizer.chat_template");
    return text == nullptr ? "" : *text;
  }
  constexpr std::uint64_t kMost = 16 << 20;
  const auto jinja = model / "chat_template.jinja", config = model / "tokenizer_config.json";
  if (std::filesystem::exists(jinja)) return read_file(jinja.string(), kMost);
  if (!std::filesystem::exists(config)) return "";
  const std::string path = config.string();
  const Json root = parse_json(read_file(path, kMost), path);
  const auto field = JsonField(path, root).find("chat_template");
  return field && field->value().is_string() ? field->text() : "";
}

}  // namespace

ChatTemplate ChatTemplate::parse(std::string_view jinja) {
  ChatTemplate chat;
  if (has(jinja, "<|im_start|>")) {
    chat.kind_ = Kind::kChatMl;
    chat.default_system_ = chatml_system(jinja);
  } else if (has(jinja, "<|start_header_id|>")) {
    chat.kind_ = Kind::kLlama3;
  } else if (has(jinja, "<start_of_turn>")) {
    chat.kind_ = Kind::kGemma;
  } else if (has(jinja, "[INST]")) {
    chat.kind_ = has(jinja, "<<SYS>>") ? Kind::kLlama2 : Kind::kMistral;
  } else {
    throw std::runtime_error(
        "the model's chat template is none of ChatML, Llama 2, Llama 3, Mistral and Gemma; --raw "
        "takes the prompt as it is");
  }
  return chat;
}

ChatTemplate ChatTemplate::load(const std::filesystem::path& model) {
  const std::string text = template_text(model);
  if (text.empty()) {
    throw std::runtime_error(model.string() +
                             ": has no chat template; --raw takes the prompt as it is");
  }
  return parse(text);
}

const char* ChatTemplate::name() const {
  switch (kind_) {
    case Kind::kChatMl:
      return "ChatML";
    case Kind::kLlama2:
      return "Llama 2";
    case Kind::kLlama3:
      return "Llama 3";
    case Kind::kMistral:
      return "Mistral";
    case Kind::kGemma:
      return "Gemma";
  }
  return "";
}

std::vector<ChatTemplate::Piece> ChatTemplate::render(std::span<const Message> messages) const {
  std::vector<Piece> out;
  const auto fixed = [&](std::string text) { out.push_back({std::move(text), true}); };
  const auto said = [&](std::string text) { out.push_back({std::move(text), false}); };
  if (kind_ == Kind::kChatMl) {
    if (!default_system_.empty() && messages[0].role != "system")
      fixed("<|im_start|>system\n" + default_system_ + "<|im_end|>\n");
    for (const Message& message : messages) {
      fixed("<|im_start|>" + message.role + "\n");
      said(message.content);
      fixed("<|im_end|>\n");
    }
    fixed("<|im_start|>assistant\n");
    return out;
  }
  if (kind_ == Kind::kLlama3) {
    for (const Message& message : messages) {
      fixed("<|start_header_id|>" + message.role + "<|end_header_id|>\n\n");
      said(trimmed(message.content));
      fixed("<|eot_id|>");
    }
    fixed("<|start_header_id|>assistant<|end_header_id|>\n\n");
    return out;
  }
  std::string system = take_system(messages);
  check_turns(messages);
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const std::string content = trimmed(messages[i].content);
    const bool user = i % 2 == 0, first = i == 0;
    if (kind_ == Kind::kGemma) {
      fixed(user ? "<start_of_turn>user\n" : "<start_of_turn>model\n");
      if (first && !system.empty()) said(system + "\n\n");
      said(content);
      fixed("<end_of_turn>\n");
    } else if (user) {
      if (!first && kind_ == Kind::kLlama2) fixed("<s>");
      fixed("[INST] ");
      if (first && !system.empty() && kind_ == Kind::kLlama2) {
        fixed("<<SYS>>\n");
        said(system);
        fixed("\n<</SYS>>\n\n");
      } else if (first && !system.empty()) {
        said(system + "\n\n");
      }
      said(content);
      fixed(" [/INST]");
    } else {
      said(" " + content);
      fixed(kind_ == Kind::kLlama2 ? " </s>" : "</s>");
    }
  }
  if (kind_ == Kind::kGemma) fixed("<start_of_turn>model\n");
  return out;
}

std::vector<std::int32_t> ChatTemplate::encode(std::span<const Message> messages,
                                               const Tokenizer& tokenizer) const {
  if (messages.empty()) refuse("there is no message, expected at least one");
  for (const Message& message : messages) {
    if (message.role != "system" && message.role != "user" && message.role != "assistant")
      refuse("a message is of role " + in_quotes(message.role) +
             ", expected \"system\", \"user\" or \"assistant\"");
  }
  std::vector<std::int32_t> ids;
  const auto bos = tokenizer.bos();
  if (kind_ != Kind::kChatMl && bos) ids.push_back(*bos);
  // What the template says and what a message says meet within words: texts that lie side by side
  // and hold no special token are one text to the tokenizer.
  std::string plain;
  const auto flush = [&] {
    for (const Token& token :
         tokenizer.encode(plain, {.add_special = false, .parse_special = false}))
      ids.push_back(token.id);
    plain.clear();
  };
  for (const Piece& piece : render(messages)) {
    if (!piece.is_template) {
      plain += piece.text;
      continue;
    }
    std::size_t done = 0;
    for (const Token& token : tokenizer.encode(piece.text, {.add_special = false})) {
      if (!tokenizer.is_special(token.id)) continue;
      plain += piece.text.substr(done, static_cast<std::size_t>(token.begin) - done);
      flush();
      ids.push_back(token.id);
      done = static_cast<std::size_t>(token.end);
    }
    plain += piece.text.substr(done);
  }
  flush();
  return ids;
}

std::vector<std::int32_t> end_ids(const Tokenizer& tokenizer) {
  std::vector<std::int32_t> ids;
  if (const auto eos = tokenizer.eos()) ids.push_back(*eos);
  for (const char* piece : {"<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|endoftext|>"}) {
    const auto id = tokenizer.find(piece);
    if (id && tokenizer.is_special(*id)) ids.push_back(*id);
  }
  return ids;
}

}  // namespace regard::model
