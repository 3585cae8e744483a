// tests/model/chat_test.cc - conversations as templates write them; what people say is never a
// special token.
#include "regard/model/chat.h"

#include <gtest/gtest.h>

#include "model/temp_folder.h"

namespace regard::model {
namespace {

using testing::message_of;
using testing::TempFolder;

const Tokenizer& tokenizer() {
  static const Tokenizer loaded = Tokenizer::load(REGARD_SOURCE_DIR "/tests/golden/bpe/gpt2.json");
  return loaded;
}

/// The text of the ids, special tokens written out.
std::string text_of(const ChatTemplate& chat, const std::vector<Message>& messages) {
  std::string text;
  for (const std::int32_t id : chat.encode(messages, tokenizer())) text += tokenizer().bytes(id);
  return text;
}

const std::vector<Message> kTurns{
    {"user", "Hi"}, {"assistant", "Hello."}, {"user", " Who are you? "}};
std::vector<Message> with_system() {
  std::vector<Message> messages{{"system", "Be brief."}};
  messages.insert(messages.end(), kTurns.begin(), kTurns.end());
  return messages;
}

TEST(Chat, ChatMl) {
  const auto plain = ChatTemplate::parse("{{'<|im_start|>' + message['role']}}");
  EXPECT_STREQ(plain.name(), "ChatML");
  EXPECT_EQ(text_of(plain, kTurns),
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello.<|im_end|>\n"
            "<|im_start|>user\n Who are you? <|im_end|>\n<|im_start|>assistant\n");
  // As SmolLM2 and Qwen2 have it.
  for (const char* line_end : {"\n", "\\n"}) {
    const auto own = ChatTemplate::parse(std::string("{{ '<|im_start|>system") + line_end +
                                         "You are a model<|im_end|>" + line_end +
                                         "' }}{{'<|im_start|>' + message['role'] }}");
    EXPECT_EQ(text_of(own, {{"user", "Hi"}}),
              "<|im_start|>system\nYou are a model<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
              "<|im_start|>assistant\n");
    EXPECT_EQ(text_of(own, with_system()).find("<|im_start|>system\nBe brief.<|im_end|>\n"), 0U);
  }
}

TEST(Chat, Llama3) {
  const auto chat = ChatTemplate::parse("{{ '<|start_header_id|>' + role }}");
  EXPECT_EQ(text_of(chat, with_system()),
            "<|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nHello.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nWho are you?<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n");
}

TEST(Chat, Llama2AndMistral) {
  const auto llama = ChatTemplate::parse("[INST] <<SYS>>");
  EXPECT_EQ(text_of(llama, with_system()),
            "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] Hello. </s><s>[INST] Who are you? "
            "[/INST]");
  const auto mistral = ChatTemplate::parse("[INST]");
  EXPECT_STREQ(mistral.name(), "Mistral");
  EXPECT_EQ(text_of(mistral, with_system()),
            "[INST] Be brief.\n\nHi [/INST] Hello.</s>[INST] Who are you? [/INST]");
}

TEST(Chat, Gemma) {
  const auto chat = ChatTemplate::parse("<start_of_turn>");
  EXPECT_EQ(
      text_of(chat, with_system()),
      "<start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\nHello."
      "<end_of_turn>\n<start_of_turn>user\nWho are you?<end_of_turn>\n<start_of_turn>model\n");
}

TEST(Chat, WhatIsSaidIsText) {
  const auto chat = ChatTemplate::parse("<|im_start|>");
  const auto end = *tokenizer().find("<|end|>");
  const std::vector<Message> messages{{"user", "a <|end|> b"}};
  for (const std::int32_t id : chat.encode(messages, tokenizer())) EXPECT_NE(id, end);
}

TEST(Chat, Refusals) {
  EXPECT_NE(
      message_of<std::runtime_error>([] { ChatTemplate::parse("{{ other }}"); }).find("--raw"),
      std::string::npos);
  const auto chat = ChatTemplate::parse("[INST]");
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
  folder.write("tokenizer_config.json", R"({"chat_template": "<|im_start|>"})");
  EXPECT_STREQ(ChatTemplate::load(folder.path()).name(), "ChatML");
  folder.write("chat_template.jinja", "<start_of_turn>");
  EXPECT_STREQ(ChatTemplate::load(folder.path()).name(), "Gemma");
}

}  // namespace
}  // namespace regard::model
