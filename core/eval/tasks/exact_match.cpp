// SPDX-License-Identifier: Apache-2.0
#include "core/eval/task_runs.h"
#include "core/eval/tasks.h"

#include <algorithm>

namespace bitlathe {

namespace {

Result<TaskItem> read(const Json& line, const std::string& where) {
  TaskItem item;
  TRY_ASSIGN(item.prompt, json_string(line, "prompt", where));
  TRY_ASSIGN(const std::string answer, json_string(line, "answer", where));
  if (answer.empty())
    return Error{"bad-file", "The answer is empty", where};
  item.answers = {answer};
  return item;
}

bool begins_with_answer(std::string_view text, std::string_view answer) {
  const auto first = text.find_first_not_of(" \t\r\n");
  text = first == std::string_view::npos ? std::string_view() : text.substr(first);
  if (text.substr(0, answer.size()) != answer)
    return false;
  const char next = text.size() > answer.size() ? text[answer.size()] : ' ';
  return !((next >= '0' && next <= '9') || (next >= 'a' && next <= 'z') ||
           (next >= 'A' && next <= 'Z'));
}

Result<ItemScore> score(Engine& engine, const TaskItem& item, const TaskOptions& options,
                        Feedback& feedback) {
  const std::string& answer = item.answers[0];
  // Room for another spelling of the answer in tokens and for what follows it.
  const auto room = options.max_new > 0 ? options.max_new : token_count(engine, answer) + 4;
  TRY_ASSIGN(std::string said, continuation(engine, item.prompt, room, options, feedback));
  const bool right = begins_with_answer(said, answer);
  return ItemScore{right ? 1.0 : 0.0, {}, std::move(said)};
}

} // namespace

extern const TaskKind task_kind_exact_match;
const TaskKind task_kind_exact_match{
    .id = "exact-match",
    .metric = "accuracy",
    .summary = "The greedy continuation begins with the answer.",
    .fields = "prompt, answer",
    .generates = true,
    .read = read,
    .score = score,
};

} // namespace bitlathe
