// SPDX-License-Identifier: Apache-2.0
#include "core/eval/tasks.h"

#include "core/chat/chat.h"
#include "core/io/files.h"
#include "core/text/tokenizer.h"

#include <algorithm>
#include <chrono>
#include <thread>

namespace bitlathe {

namespace {

/// The figure of scores picked out by pointers.
double total_of(const TaskKind& kind, std::span<const ItemScore* const> scores) {
  if (kind.total)
    return kind.total(scores);
  double sum = 0;
  for (const ItemScore* score : scores)
    sum += score->value;
  return scores.empty() ? 0 : sum / double(scores.size());
}

std::vector<bool> right_ones(const std::vector<ItemScore>& scores) {
  std::vector<bool> out;
  for (const ItemScore& score : scores)
    out.push_back(score.value != 0);
  return out;
}

/// A Feedback for single items, whose own counting must not disturb that of the set: it stops when
/// the outer one does and says what it has to say there.
class ItemFeedback {
 public:
  explicit ItemFeedback(Feedback& outer) {
    inner.set_sink([&outer](LogLevel level, const std::string& line) { outer.log(level, line); });
    relay_ = std::jthread([this, &outer](const std::stop_token& ended) {
      while (!ended.stop_requested() && !outer.stopped())
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
      inner.stop = outer.stopped();
    });
  }
  Feedback inner;

 private:
  std::jthread relay_; ///< last: it uses the rest
};

} // namespace

const TaskKind* find_task_kind(std::string_view id) {
  for (const TaskKind* kind : all_task_kinds())
    if (kind->id == id)
      return kind;
  return nullptr;
}

Result<std::vector<TaskItem>> read_tasks(const TaskKind& kind, const std::string& path,
                                         std::int64_t shots) {
  TRY_ASSIGN(const std::string content, read_file(path, std::uint64_t(1) << 30));
  std::vector<TaskItem> out;
  std::string examples;
  std::int64_t number = 0, seen = 0;
  for (std::size_t begin = 0; begin < content.size();) {
    const std::size_t end = std::min(content.find('\n', begin), content.size());
    const auto line = std::string_view(content).substr(begin, end - begin);
    begin = end + 1;
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos)
      continue;
    const std::string where = path + " line " + std::to_string(number);
    TRY_ASSIGN(const Json json, parse_json(line, where));
    if (!json.is_object())
      return Error{"bad-file", "The line is not a JSON object", where};
    TRY_ASSIGN(TaskItem item, kind.read(json, where));
    TRY_ASSIGN(item.task, json_string_or(json, "task", "", where));
    if (seen++ < shots) {
      const std::string& answer = item.answers[item.right];
      const bool spaced = !answer.empty() && answer.front() == ' ';
      examples += item.prompt + (spaced ? "" : " ") + answer + "\n\n";
      continue;
    }
    item.examples = examples.size();
    item.prompt = examples + item.prompt;
    out.push_back(std::move(item));
  }
  if (out.empty())
    return Error{"bad-file",
                 seen == 0 ? std::string("There are no tasks in the file")
                           : "All " + std::to_string(seen) + " tasks became examples",
                 path};
  return out;
}

Result<std::vector<ItemScore>> run_tasks(Engine& engine, const TaskKind& kind,
                                         const std::vector<TaskItem>& items,
                                         const TaskOptions& options, Feedback& feedback) {
  const Checkpoint& model = engine.checkpoint();
  if (!model.tokenizer)
    return Error{"unsupported", "Tasks need a tokenizer: " + model.tokenizer_problem,
                 model.path.string()};
  if (options.chat && !kind.generates)
    return Error{"bad-argument",
                 "The tasks \"" + std::string(kind.id) +
                     "\" compare likelihoods; nothing is asked as a message",
                 {}};
  if (options.chat)
    TRY(find_chat_template(model));
  feedback.done = 0;
  feedback.total = items.size();
  ItemFeedback each(feedback);
  std::vector<ItemScore> out;
  for (const TaskItem& item : items) {
    if (feedback.stopped())
      return cancelled_error();
    TRY_ASSIGN(ItemScore score, kind.score(engine, item, options, each.inner));
    out.push_back(std::move(score));
    feedback.advance(1);
  }
  return out;
}

TaskFigure figure_of(const TaskKind& kind, const std::vector<ItemScore>& scores) {
  std::vector<const ItemScore*> picked;
  for (const ItemScore& score : scores)
    picked.push_back(&score);
  TaskFigure out{total_of(kind, picked), {}};
  if (kind.right_or_wrong) {
    const auto right = right_ones(scores);
    out.interval =
        wilson_interval(std::count(right.begin(), right.end(), true), std::int64_t(right.size()));
    return out;
  }
  out.interval = bootstrap_interval(scores.size(), [&](const std::vector<std::size_t>& items) {
    for (std::size_t i = 0; i < items.size(); ++i)
      picked[i] = &scores[items[i]];
    return total_of(kind, picked);
  });
  return out;
}

double paired_p(const TaskKind& kind, const std::vector<ItemScore>& a,
                const std::vector<ItemScore>& b) {
  if (kind.right_or_wrong)
    return mcnemar_p(right_ones(a), right_ones(b));
  std::vector<const ItemScore*> left(a.size()), right(a.size());
  return randomization_p(a.size(), [&](const std::vector<bool>& swapped) {
    for (std::size_t i = 0; i < a.size(); ++i) {
      left[i] = swapped[i] ? &b[i] : &a[i];
      right[i] = swapped[i] ? &a[i] : &b[i];
    }
    return total_of(kind, left) - total_of(kind, right);
  });
}

} // namespace bitlathe
