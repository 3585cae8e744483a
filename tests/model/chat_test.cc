// tests/model/chat_test.cc - conversations as templates write them; what people say is never a
// special token.
#include "regard/model/chat.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "model/golden_bert.h"
#include "model/temp_folder.h"

namespace regard::model {
namespace {

using nlohmann::json;
using testing::message_of;
using testing::TempFolder;

/// With tokens that begin and end a text.
const Tokenizer& tokenizer() {
  static const Tokenizer loaded = [] {
    json small = testing::read_golden_json(testing::golden_folder() / "bpe" / "gpt2.json");
    for (const char* piece : {"<s>", "</s>"}) {
      json token = small.at("added_tokens").at(0);
      token["id"] = small["added_tokens"].back().at("id").get<int>() + 1;
      token["content"] = piece;
      small["added_tokens"].push_back(token);
    }
    return Tokenizer::parse(small.dump(), "small");
  }();
  return loaded;
}

/// The text of the ids, special tokens written out.
std::string text_of(const ChatTemplate& chat, const std::vector<Message>& messages) {
  std::string text;
  for (const std::int32_t id : chat.encode(messages, tokenizer())) text += tokenizer().bytes(id);
  return text;
}

/// As well-known models have it; enough of it to be recognised.
constexpr const char* kChatMl =
    "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}";

TEST(Chat, TemplatesAsJinjaRendersThem) {
  const json golden = testing::read_golden_json(testing::golden_folder() / "chat.json");
  std::vector<std::vector<Message>> conversations;
  for (const json& each : golden.at("conversations")) {
    conversations.emplace_back();
    for (const json& message : each)
      conversations.back().push_back({message.at("role"), message.at("content")});
  }
  std::size_t refused = 0;
  for (const json& each : golden.at("templates")) {
    const std::string kind = each.at("kind"), jinja = each.at("jinja");
    SCOPED_TRACE(kind + ", " + each.at("name").get<std::string>());
    if (kind.empty()) {
      EXPECT_NE(
          message_of<std::runtime_error>([&] { ChatTemplate::parse(jinja); }).find("; --raw takes"),
          std::string::npos);
      continue;
    }
    const TempFolder folder;
    folder.write("chat_template.jinja", jinja);
    folder.write("tokenizer_config.json",
                 R"({"bos_token": "<s>", "eos_token": {"content": "</s>"}})");
    const ChatTemplate chat = ChatTemplate::load(folder.path());
    EXPECT_EQ(chat.end_ids(tokenizer()), std::vector{*tokenizer().find("</s>")});
    EXPECT_EQ(chat.name(), kind);
    for (std::size_t i = 0; i < conversations.size(); ++i) {
      const json& text = each.at("texts").at(i);
      if (text.is_string()) {
        EXPECT_EQ(text_of(chat, conversations[i]), text.get<std::string>()) << i;
      } else {
        ++refused;
        EXPECT_EQ(message_of<std::invalid_argument>([&] { text_of(chat, conversations[i]); }),
                  "chat: the first message is of role \"system\", expected \"user\" (the model's "
                  "template has no system messages)");
      }
    }
  }
  EXPECT_EQ(refused, 12U);
}

TEST(Chat, WhatIsSaidIsText) {
  const auto chat = ChatTemplate::parse(kChatMl);
  const auto end = *tokenizer().find("<|end|>");
  const std::vector<Message> messages{{"user", "a <|end|> b"}};
  for (const std::int32_t id : chat.encode(messages, tokenizer())) EXPECT_NE(id, end);
}

TEST(Chat, Refusals) {
  const auto chat = ChatTemplate::parse(
      "{{ bos_token }}{{ '[INST] ' + message['content'] + ' [/INST]' }}{{ message['content'] + "
      "eos_token }}");
  const auto said = [&](std::vector<Message> messages) {
    return message_of<std::invalid_argument>([&] { chat.encode(messages, tokenizer()); });
  };
  EXPECT_EQ(said({}), "chat: there is no message, expected at least one");
  EXPECT_NE(said({{"robot", "x"}}).find("of role \"robot\""), std::string::npos);
  EXPECT_NE(said({{"assistant", "x"}}).find("expected \"user\" (they take turns)"),
            std::string::npos);
  const TempFolder folder;
  EXPECT_NE(message_of<std::runtime_error>([&] {
              ChatTemplate::load(folder.path());
            }).find("has no chat template; --raw"),
            std::string::npos);
  folder.write("tokenizer_config.json", json{{"chat_template", kChatMl}}.dump());
  EXPECT_STREQ(ChatTemplate::load(folder.path()).name(), "ChatML");
  folder.write("chat_template.jinja",
               "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim }}");
  EXPECT_STREQ(ChatTemplate::load(folder.path()).name(), "Gemma");
}

}  // namespace
}  // namespace regard::model
