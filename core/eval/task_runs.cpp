// SPDX-License-Identifier: Apache-2.0
#include "core/eval/task_runs.h"

#include "core/chat/chat.h"
#include "core/text/tokenizer.h"

#include <algorithm>

namespace bitlathe {

namespace {

std::vector<std::int32_t> encode(Engine& engine, const std::string& text, bool special) {
  return engine.checkpoint().tokenizer->encode(text, {special, false});
}

} // namespace

Result<std::string> continuation(Engine& engine, const std::string& prompt, std::int64_t max_new,
                                 const TaskOptions& options, Feedback& feedback) {
  GenerateOptions asked;
  if (options.chat) {
    TRY_ASSIGN(ChatPrompt chat,
               chat_prompt(engine.checkpoint(), chat_messages(prompt, options.system)));
    asked.prompt = std::move(chat.ids);
    asked.stop = std::move(chat.stop);
  } else {
    asked.prompt = encode(engine, prompt, true);
  }
  asked.max_new = max_new;
  TRY_ASSIGN(const GenerateResult result, generate(engine, asked, feedback));
  return engine.checkpoint().tokenizer->decode(result.tokens);
}

Result<Likelihood> likelihood(Engine& engine, const std::string& prompt, const std::string& text,
                              Feedback& feedback) {
  const auto whole = encode(engine, prompt + text, true);
  const auto before = encode(engine, prompt, true).size();
  if (before == 0 || before >= whole.size())
    return Error{"bad-argument", "The text \"" + text + "\" has no tokens after its prompt",
                 engine.checkpoint().path.string()};
  TRY_ASSIGN(const auto sequence, engine.new_sequence(std::int64_t(whole.size())));
  Likelihood out;
  std::vector<double> logs;
  // The last token is only foretold.
  const std::span<const std::int32_t> read(whole.data(), whole.size() - 1);
  const auto sink = [&](std::int64_t index, std::span<const float> logits) -> Result<void> {
    logs.resize(logits.size());
    log_softmax(logits, logs);
    const auto next = std::size_t(whole[std::size_t(index) + 1]);
    out.log_likelihood += logs[next];
    out.greedy = out.greedy &&
                 std::size_t(std::max_element(logs.begin(), logs.end()) - logs.begin()) == next;
    ++out.tokens;
    return {};
  };
  TRY(engine.forward(*sequence, read, std::int64_t(before) - 1, sink, &feedback));
  return out;
}

std::int64_t token_count(Engine& engine, const std::string& text) {
  return std::int64_t(encode(engine, text, false).size());
}

std::string first_paragraph(const std::string& text) {
  const auto begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string::npos)
    return {};
  const auto end = text.find_last_not_of(" \t\r\n", text.find("\n\n", begin));
  return text.substr(begin, end - begin + 1);
}

} // namespace bitlathe
