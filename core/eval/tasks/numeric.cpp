// SPDX-License-Identifier: Apache-2.0
// A number as the answer, as GSM8K asks for it: what is said after "####", else the last number.
#include "core/eval/numbers.h"
#include "core/eval/task_runs.h"
#include "core/eval/tasks.h"

#include <algorithm>

namespace bitlathe {

namespace {

Result<TaskItem> read(const Json& line, const std::string& where) {
  TaskItem item;
  if (line.contains("question")) {
    TRY_ASSIGN(const std::string question, json_string(line, "question", where));
    item.prompt = "Question: " + question + "\nAnswer:";
  } else {
    TRY_ASSIGN(item.prompt, json_string(line, "prompt", where));
  }
  const Json answer = line.value("answer", Json());
  item.answers = {answer.is_number()   ? answer.dump()
                  : answer.is_string() ? answer.get<std::string>()
                                       : std::string()};
  if (!answer_in(item.answers[0]))
    return Error{"bad-file", "The answer holds no number", where};
  return item;
}

Result<ItemScore> score(Engine& engine, const TaskItem& item, const TaskOptions& options,
                        Feedback& feedback) {
  const std::int64_t room = options.max_new > 0 ? options.max_new : 256;
  TRY_ASSIGN(std::string said, continuation(engine, item.prompt, room, options, feedback));
  said.resize(std::min(said.size(), said.find("\nQuestion:"))); // a question of its own making
  const bool right = same_number(item.answers[0], said);
  return ItemScore{right ? 1.0 : 0.0, {}, std::move(said)};
}

} // namespace

extern const TaskKind task_kind_numeric;
const TaskKind task_kind_numeric{
    .id = "numeric",
    .metric = "accuracy",
    .summary = "The number after \"####\", else the last one said, is the answer's (GSM8K).",
    .fields = "question or prompt, answer",
    .generates = true,
    .read = read,
    .score = score,
};

} // namespace bitlathe
