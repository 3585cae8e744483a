// src/model/chat.cc - conversations as the text that instruct models were trained on.
#include "regard/model/chat.h"

#include <algorithm>
#include <initializer_list>
#include <stdexcept>
#include <utility>

#include "model/jinja_text.h"
#include "model/json_field.h"
#include "model/unicode.h"
#include "regard/model/gguf.h"

namespace regard::model {
namespace {

/// As Python's str.strip(): Unicode's whitespace, and the four separators of ASCII.
bool is_space(char32_t c) {
  return (code_point_flags(c) & kWhitespace) != 0 || (c >= 0x1C && c <= 0x1F);
}

std::string trimmed(std::string_view text, bool left = true) {
  if (find_invalid_utf8(text)) return std::string(text);  // the tokenizer refuses it
  std::size_t begin = 0, end = text.size();
  for (std::size_t next = 0; left && begin < end; begin = next) {
    if (!is_space(next_code_point(text, next))) break;
  }
  for (std::size_t before = end; begin < end; end = before) {
    if (!is_space(previous_code_point(text, before))) break;
  }
  return std::string(text.substr(begin, end - begin));
}

[[noreturn]] void refuse(const std::string& what) { throw std::invalid_argument("chat: " + what); }

/// What a model's files say of its conversations; texts that they do not have are empty.
struct ChatFiles {
  std::string jinja, bos_token, eos_token;
};

ChatFiles read_chat_files(const std::filesystem::path& model) {
  ChatFiles files;
  if (!std::filesystem::is_directory(model)) {
    const GgufFile file(model);
    if (const auto* text = file.find<std::string>("tokenizer.chat_template")) files.jinja = *text;
    return files;
  }
  constexpr std::uint64_t kMost = 16 << 20;
  const auto jinja = model / "chat_template.jinja", config = model / "tokenizer_config.json";
  if (std::filesystem::exists(config)) {
    const std::string path = config.string();
    const Json root = parse_json(read_file(path, kMost), path);
    const auto text = [&](std::string_view key) -> std::string {
      auto field = JsonField(path, root).find(key);
      if (field && field->value().is_object()) field = field->find("content");
      return field && field->value().is_string() ? field->text() : "";
    };
    files = {text("chat_template"), text("bos_token"), text("eos_token")};
  }
  if (std::filesystem::exists(jinja)) files.jinja = read_file(jinja.string(), kMost);
  return files;
}

}  // namespace

/// Recognises a template by the code that writes its turns. Each function says whether the template
/// is of its kind, with nothing in it that would write something else.
struct ChatTemplate::Reader {
  const JinjaText& jinja;
  ChatTemplate& chat;

  bool has(std::string_view part) const { return jinja.has(part); }
  bool has_any(std::initializer_list<std::string_view> parts) const {
    return std::ranges::any_of(parts, [&](std::string_view part) { return has(part); });
  }
  /// The literal that follows `code`, which ends in its quote.
  std::optional<std::string> literal_after(std::string_view code) const {
    const std::size_t at = jinja.code.find(code);
    if (at == std::string::npos) return std::nullopt;
    const std::string_view rest = std::string_view(jinja.code).substr(at + code.size());
    std::optional<std::string> found;  // the longest: it may hold quotes
    for (const std::string& each : jinja.literals) {
      if (rest.starts_with(each + "'") && (!found || each.size() > found->size())) found = each;
    }
    return found;
  }
  /// The one literal that holds `part`, if all that do are the same.
  std::optional<std::string> literal_with(std::string_view part) const {
    std::optional<std::string> found;
    for (const std::string& each : jinja.literals) {
      if (each.find(part) == std::string::npos) continue;
      if (found && *found != each) return std::nullopt;
      found = each;
    }
    return found;
  }

  bool chatml() {
    if (!has_any({"'<|im_start|>'+message['role']+'\n'+message['content']",
                  "'<|im_start|>user\n'+content+", "'<|im_start|>user\n'+message['content']+"}))
      return false;
    // Other separators, thoughts taken out of the history or begun, system messages made of parts.
    if (has_any({"<|im_sep|>", "think>", "|trim", "strip(", "{{system_message}}",
                 "'<|im_start|>system\n'+'"}))
      return false;
    const auto turn = [](const std::string& role) {
      return Turn{"<|im_start|>" + role + "\n", "<|im_end|>\n"};
    };
    chat.name_ = "ChatML";
    chat.system_turn_ = turn("system");
    chat.user_ = turn("user");
    chat.assistant_ = turn("assistant");
    chat.answer_ = chat.assistant_.begin;
    chat.default_system_ = literal_after("setsystem_message='");
    for (const std::string& text : jinja.literals) {
      const std::size_t end = text.find(chat.system_turn_.end);
      if (text.starts_with(chat.system_turn_.begin) && end != std::string::npos)
        chat.default_system_ =
            text.substr(chat.system_turn_.begin.size(), end - chat.system_turn_.begin.size());
    }
    return true;
  }

  bool llama3() {
    if (!has("'<|start_header_id|>'+message['role']+'<|end_header_id|>\n\n'") ||
        !has("message['content']|trim") || has_any({"system_message!=''", "think>"}))
      return false;
    const auto turn = [](const std::string& role) {
      return Turn{"<|start_header_id|>" + role + "<|end_header_id|>\n\n", "<|eot_id|>"};
    };
    chat.name_ = "Llama 3";
    chat.system_turn_ = turn("system");
    chat.user_ = turn("user");
    chat.assistant_ = turn("assistant");
    chat.answer_ = chat.assistant_.begin;
    chat.trim_ = Trim::kContent;
    if (has("{{'" + chat.system_turn_.begin + "'}}")) chat.default_system_ = "";
    const auto knowledge = literal_with("Cutting Knowledge Date: ");
    if (!knowledge) return !has("Knowledge Date");
    // Without a clock: what a prompt's tokens are must not depend on the day.
    const auto date = literal_after("setdate_string='");
    chat.system_turn_.begin += *knowledge + "Today Date: " + date.value_or("") + "\n\n";
    return date && chat.default_system_ && has("{{'Today Date: '+date_string+'\n\n'}}");
  }

  bool gemma() {
    if (!has("'<start_of_turn>'+role+'\n'") || !has("message['content']|trim")) return false;
    chat.name_ = "Gemma";
    chat.user_ = {"<start_of_turn>user\n", "<end_of_turn>\n"};
    chat.assistant_ = {"<start_of_turn>model\n", "<end_of_turn>\n"};
    chat.answer_ = chat.assistant_.begin;
    chat.alternates_ = true;
    chat.trim_ = Trim::kContent;
    chat.system_ = has("first_user_prefix") ? System::kFirstUser : System::kRefused;
    chat.system_turn_ = {"", "\n\n"};
    return true;
  }

  bool llama2() {
    if (!has("'<<SYS>>\n'+system_message+'\n<</SYS>>\n\n'+message['content']") ||
        !has("{{bos_token+'[INST] '+content.strip()+' [/INST]'}}") ||
        !has("{{' '+content.strip()+' '+eos_token}}"))
      return false;
    chat.name_ = "Llama 2";
    chat.bos_ = false;  // each question's own
    chat.system_turn_ = {"<<SYS>>\n", "\n<</SYS>>\n\n"};
    chat.user_ = {"<s>[INST] ", " [/INST]"};
    chat.assistant_ = {" ", " </s>"};
    chat.alternates_ = true;
    chat.system_ = System::kFirstUser;
    chat.trim_ = Trim::kTurn;
    return true;
  }

  bool mistral() {
    const auto begin = literal_with("[INST]"), end = literal_with("[/INST]");
    if (!begin || !end || has_any({"<<SYS>>", "strftime_now", "|trim", "strip(", "think"}))
      return false;
    if (!has("'" + *begin + "'+message['content']+'" + *end + "'")) return false;
    if (!has("message['content']+eos_token")) return false;
    chat.name_ = "Mistral";
    chat.user_ = {*begin, *end};
    chat.assistant_ = {has("' '+message['content']+eos_token") ? " " : "",
                       has("eos_token+' '") ? "</s> " : "</s>"};
    chat.alternates_ = true;
    chat.system_turn_ = {"", "\n\n"};
    chat.system_ = System::kRefused;
    const auto inside = [&](const std::string& where) {
      return has(where + "andsystem_messageisdefined%}{{'" + *begin +
                 "'+system_message+'\n\n'+message['content']+'" + *end + "'");
    };
    if (inside("loop.first")) chat.system_ = System::kFirstUser;
    if (inside("loop.last")) chat.system_ = System::kLastUser;
    const auto own = literal_with("[SYSTEM_PROMPT]"), own_end = literal_with("[/SYSTEM_PROMPT]");
    if (own && own_end && has("'" + *own + "'+message['content']+'" + *own_end + "'")) {
      chat.system_ = System::kOwnTurn;
      chat.system_turn_ = {*own, *own_end};
    }
    return chat.system_ != System::kRefused || !has("system_message");
  }
};

ChatTemplate ChatTemplate::parse(std::string_view jinja) {
  const JinjaText text = read_jinja(jinja);
  for (const auto recognise :
       {&Reader::chatml, &Reader::llama3, &Reader::gemma, &Reader::llama2, &Reader::mistral}) {
    ChatTemplate chat;
    chat.bos_ = text.has("bos_token");
    Reader reader{text, chat};
    if ((reader.*recognise)()) return chat;
  }
  throw std::runtime_error(
      "the model's chat template is none that is known of ChatML, Llama 2, Llama 3, Mistral and "
      "Gemma; --raw takes the prompt as it is");
}

ChatTemplate ChatTemplate::load(const std::filesystem::path& model) {
  ChatFiles files = read_chat_files(model);
  if (files.jinja.empty()) {
    throw std::runtime_error(model.string() +
                             ": has no chat template; --raw takes the prompt as it is");
  }
  ChatTemplate chat = parse(files.jinja);
  chat.bos_token_ = std::move(files.bos_token);
  chat.eos_token_ = std::move(files.eos_token);
  return chat;
}

const char* ChatTemplate::name() const { return name_; }

void ChatTemplate::check(std::span<const Message> messages) const {
  if (messages.empty()) refuse("there is no message, expected at least one");
  const std::size_t first = messages[0].role == "system" ? 1 : 0;
  if (first == 1 && system_ == System::kRefused)
    refuse(
        "the first message is of role \"system\", expected \"user\" (the model's template has "
        "no system messages)");
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const std::string& role = messages[i].role;
    if (role != "system" && role != "user" && role != "assistant")
      refuse("a message is of role " + in_quotes(role) +
             ", expected \"system\", \"user\" or \"assistant\"");
    const char* wanted = (i - first) % 2 == 0 ? "user" : "assistant";
    if (alternates_ && i >= first && role != wanted)
      refuse("message " + std::to_string(i - first) + " is of role " + in_quotes(role) +
             ", expected \"" + wanted + "\" (they take turns)");
  }
}

std::vector<ChatTemplate::Piece> ChatTemplate::render(std::span<const Message> messages) const {
  std::vector<Piece> out;
  const auto fixed = [&](const std::string& text) { out.push_back({text, true}); };
  const auto said = [&](const Turn& turn, const std::string& text) {
    fixed(turn.begin);
    out.push_back({text, false});
    fixed(turn.end);
  };
  std::optional<std::string> system = default_system_;
  if (messages[0].role == "system") {
    system = messages[0].content;
    messages = messages.subspan(1);
  }
  if (system && system_ == System::kOwnTurn)
    said(system_turn_, trim_ == Trim::kContent ? trimmed(*system) : *system);
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const Message& message = messages[i];
    const bool user = message.role == "user";
    const Turn& turn = user ? user_ : message.role == "system" ? system_turn_ : assistant_;
    const bool holds_system =
        system && ((system_ == System::kFirstUser && i == 0) ||
                   (system_ == System::kLastUser && user && i + 1 == messages.size()));
    fixed(turn.begin);
    if (holds_system) said(system_turn_, *system);
    const bool left = !holds_system || trim_ == Trim::kContent;
    out.push_back({trim_ == Trim::kNone ? message.content : trimmed(message.content, left), false});
    fixed(turn.end);
  }
  fixed(answer_);
  return out;
}

std::vector<std::int32_t> ChatTemplate::encode(std::span<const Message> messages,
                                               const Tokenizer& tokenizer) const {
  check(messages);
  std::vector<std::int32_t> ids;
  const auto bos = bos_token_.empty() ? tokenizer.bos() : tokenizer.find(bos_token_);
  if (bos_ && bos) ids.push_back(*bos);
  // What the template says and what a message says meet within words: texts that lie side by side
  // and hold no special token are one text to the tokenizer.
  std::string plain;
  const auto flush = [&] {
    for (const Token& token : tokenizer.encode(
             plain, {.add_special = false, .parse_special = false, .at_begin = ids.empty()}))
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

std::vector<std::int32_t> ChatTemplate::end_ids(const Tokenizer& tokenizer) const {
  std::vector<std::int32_t> ids = model::end_ids(tokenizer);
  if (const auto eos = tokenizer.find(eos_token_)) ids.push_back(*eos);
  return ids;
}

Prompt raw_prompt(std::string_view text, const Tokenizer& tokenizer) {
  Prompt prompt;
  prompt.end_ids = end_ids(tokenizer);
  for (const Token& token : tokenizer.encode(text, {.add_special = false}))
    prompt.ids.push_back(token.id);
  return prompt;
}

Prompt chat_prompt(std::span<const Message> messages, const Tokenizer& tokenizer,
                   const ChatTemplate& chat) {
  return {chat.encode(messages, tokenizer), chat.end_ids(tokenizer), true};
}

}  // namespace regard::model
