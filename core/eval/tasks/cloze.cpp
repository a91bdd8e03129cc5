// SPDX-License-Identifier: Apache-2.0
// The last word of a text, as LAMBADA asks for it: right when each of its tokens is the likeliest.
#include "core/eval/task_runs.h"
#include "core/eval/tasks.h"

#include <cmath>

namespace bitlathe {

namespace {

Result<TaskItem> read(const Json& line, const std::string& where) {
  TaskItem item;
  if (line.contains("prompt")) {
    TRY_ASSIGN(item.prompt, json_string(line, "prompt", where));
    TRY_ASSIGN(std::string answer, json_string(line, "answer", where));
    if (answer.find_first_not_of(" \t\r\n") == std::string::npos)
      return Error{"bad-file", "The answer is empty", where};
    if (answer.front() != ' ' && !item.prompt.empty() && item.prompt.back() != ' ')
      answer = " " + answer;
    item.answers = {answer};
    return item;
  }
  TRY_ASSIGN(std::string text, json_string(line, "text", where));
  text.resize(text.find_last_not_of(" \t\r\n") + 1); // npos + 1 is 0
  const auto space = text.find_last_of(' ');
  if (space == std::string::npos || space == 0)
    return Error{"bad-file", "The text has fewer than two words", where};
  item.prompt = text.substr(0, space);
  item.answers = {text.substr(space)};
  return item;
}

Result<ItemScore> score(Engine& engine, const TaskItem& item, const TaskOptions&,
                        Feedback& feedback) {
  TRY_ASSIGN(const Likelihood found, likelihood(engine, item.prompt, item.answers[0], feedback));
  return ItemScore{found.greedy ? 1.0 : 0.0, {found.log_likelihood}, {}};
}

/// Per word, as LAMBADA's figures are.
std::map<std::string, double> more(std::span<const ItemScore> scores) {
  double sum = 0;
  for (const ItemScore& score : scores)
    sum += score.sums[0];
  return {{"word_perplexity", std::exp(-sum / double(scores.size()))}};
}

} // namespace

extern const TaskKind task_kind_cloze;
const TaskKind task_kind_cloze{
    .id = "cloze",
    .metric = "accuracy",
    .summary = "Every token of the last word is the likeliest (LAMBADA).",
    .fields = "text; or prompt, answer",
    .read = read,
    .score = score,
    .more = more,
};

} // namespace bitlathe
