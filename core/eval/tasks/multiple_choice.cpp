// SPDX-License-Identifier: Apache-2.0
// Multiple choice by likelihood, as EleutherAI's harness scores it: the choice with the largest
// log-likelihood per byte (its acc_norm), and by the sum as a further figure (its acc). Lines of
// HellaSwag and ARC are read as they are published.
#include "core/eval/task_runs.h"
#include "core/eval/tasks.h"

#include <algorithm>

namespace bitlathe {

namespace {

/// HellaSwag's texts hold marks of the site they come from.
std::string without_marks(std::string text) {
  for (std::size_t at = 0; (at = text.find(" [title]", at)) != std::string::npos; ++at)
    text.replace(at, 8, ". ");
  for (auto open = text.find('['); open != std::string::npos; open = text.find('[', open)) {
    const auto close = text.find(']', open);
    if (close == std::string::npos)
      break;
    text.erase(open, close - open + 1);
  }
  for (std::size_t at = 0; (at = text.find("  ", at)) != std::string::npos;)
    text.replace(at, 2, " ");
  const auto first = text.find_first_not_of(" \t\r\n");
  const auto last = text.find_last_not_of(" \t\r\n");
  return first == std::string::npos ? std::string() : text.substr(first, last - first + 1);
}

Result<std::vector<std::string>> texts(const Json& list, const std::string& where) {
  std::vector<std::string> out;
  if (list.is_array())
    for (const Json& item : list)
      if (item.is_string() && !item.get_ref<const std::string&>().empty())
        out.push_back(item.get<std::string>());
  if (out.size() < 2 || out.size() != list.size())
    return Error{"bad-file", "The choices are not a list of two or more texts", where};
  return out;
}

/// A number, a number as text, one of `labels`, or a choice itself.
Result<std::size_t> right_one(const Json& given, const std::vector<std::string>& choices,
                              const std::vector<std::string>& labels, const std::string& where) {
  if (given.is_number_integer() && given >= 0 && given < choices.size())
    return given.get<std::size_t>();
  if (given.is_string()) {
    const auto text = given.get<std::string>();
    for (const auto* list : {&labels, &choices})
      for (std::size_t i = 0; i < list->size() && i < choices.size(); ++i)
        if ((*list)[i] == text)
          return i;
    if (labels.empty() && text.size() == 1 && text[0] >= '0' &&
        std::size_t(text[0] - '0') < choices.size())
      return std::size_t(text[0] - '0');
  }
  return Error{"bad-file", "The right answer (" + given.dump() + ") is none of the choices", where};
}

Result<TaskItem> read(const Json& line, const std::string& where) {
  const auto has = [&](const char* key) { return line.contains(key); };
  TaskItem item;
  std::vector<std::string> labels;
  Json right;
  if (has("endings")) { // HellaSwag
    TRY_ASSIGN(const std::string label, json_string_or(line, "activity_label", "", where));
    TRY_ASSIGN(std::string context, json_string_or(line, "ctx_a", "", where));
    if (context.empty()) {
      TRY_ASSIGN(context, json_string(line, "ctx", where));
    } else {
      TRY_ASSIGN(std::string second, json_string_or(line, "ctx_b", "", where));
      if (!second.empty() && second[0] >= 'a' && second[0] <= 'z')
        second[0] = char(second[0] - 32);
      context += " " + second;
    }
    item.prompt = without_marks(label.empty() ? context : label + ": " + context);
    TRY_ASSIGN(item.answers, texts(line["endings"], where));
    for (std::string& answer : item.answers)
      answer = " " + without_marks(answer);
    right = line.value("label", Json());
  } else {
    const Json choices = line.value("choices", Json());
    if (choices.is_object()) { // ARC
      TRY_ASSIGN(item.answers, texts(choices.value("text", Json()), where));
      TRY_ASSIGN(labels, texts(choices.value("label", Json()), where));
    } else {
      TRY_ASSIGN(item.answers, texts(choices, where));
    }
    if (has("question") && !has("prompt")) {
      TRY_ASSIGN(const std::string question, json_string(line, "question", where));
      item.prompt = "Question: " + question + "\nAnswer:";
    } else {
      TRY_ASSIGN(item.prompt, json_string(line, "prompt", where));
    }
    for (const char* key : {"answerKey", "label", "answer", "gold"})
      if (right.is_null() && has(key))
        right = line[key];
    TRY_ASSIGN(item.right, right_one(right, item.answers, labels, where));
    for (std::string& answer : item.answers)
      if (answer.front() != ' ' && !item.prompt.empty() && item.prompt.back() != ' ' &&
          item.prompt.back() != '\n')
        answer = " " + answer;
    return item;
  }
  TRY_ASSIGN(item.right, right_one(right, item.answers, labels, where));
  return item;
}

Result<ItemScore> score(Engine& engine, const TaskItem& item, const TaskOptions&,
                        Feedback& feedback) {
  std::vector<double> sums, shares;
  for (const std::string& choice : item.answers) {
    TRY_ASSIGN(const Likelihood found, likelihood(engine, item.prompt, choice, feedback));
    sums.push_back(found.log_likelihood);
    // The harness counts the choice as the file has it, without the space before it.
    const auto bytes = choice.size() - (choice.front() == ' ' ? 1 : 0);
    shares.push_back(found.log_likelihood / double(std::max<std::size_t>(bytes, 1)));
  }
  const auto best = [](const std::vector<double>& of) {
    return std::size_t(std::max_element(of.begin(), of.end()) - of.begin());
  };
  const auto chosen = best(shares);
  return ItemScore{chosen == item.right ? 1.0 : 0.0,
                   {best(sums) == item.right ? 1.0 : 0.0},
                   item.answers[chosen]};
}

std::map<std::string, double> more(std::span<const ItemScore> scores) {
  double right = 0;
  for (const ItemScore& score : scores)
    right += score.sums[0];
  return {{"accuracy_by_sum", right / double(scores.size())}};
}

} // namespace

extern const TaskKind task_kind_multiple_choice;
const TaskKind task_kind_multiple_choice{
    .id = "multiple-choice",
    .metric = "accuracy",
    .summary = "The right choice has the largest log-likelihood per byte (HellaSwag, ARC).",
    .fields = "prompt or question, choices, answer; or lines of HellaSwag and ARC as published",
    .read = read,
    .score = score,
    .more = more,
};

} // namespace bitlathe
