// SPDX-License-Identifier: Apache-2.0
// Tasks with a known answer, from files with one JSON object per line. A kind of task is one file
// in core/eval/tasks/ and one word in core/CMakeLists.txt.
#pragma once

#include "core/engine/engine.h"
#include "core/eval/task_statistics.h"

#include <map>

namespace bitlathe {

struct TaskItem {
  std::string task;                 ///< group of the item, "" if the file does not say
  std::string prompt;               ///< what the model reads
  std::vector<std::string> answers; ///< right ones, or the choices
  std::size_t right = 0;            ///< of choices: the right one
  std::size_t examples = 0;         ///< leading bytes of the prompt that are examples
};

struct TaskOptions {
  std::int64_t max_new = 0; ///< longest continuation; 0: what suits the kind
  bool chat = false;        ///< prompts are messages in the model's chat template
  std::string system = {};  ///< of such a conversation; empty: none
};

struct ItemScore {
  double value = 0; ///< 1 or 0, or a share
  /// What sums over items give figures of the whole set: BLEU's counts, a log-likelihood.
  std::vector<double> sums;
  std::string output; ///< what the model said or chose
};

struct TaskKind {
  std::string_view id;      ///< "exact-match"
  std::string_view metric;  ///< "accuracy", "rouge-l", "bleu"
  std::string_view summary; ///< what counts as right, for help
  std::string_view fields;  ///< of a line of the file
  bool right_or_wrong = true;
  bool generates = false; ///< the model writes; else likelihoods are compared
  Result<TaskItem> (*read)(const Json& line, const std::string& where);
  Result<ItemScore> (*score)(Engine& engine, const TaskItem& item, const TaskOptions& options,
                             Feedback& feedback);
  /// The figure of a whole set; null: the mean of the values.
  double (*total)(std::span<const ItemScore* const> scores) = nullptr;
  /// More figures of the set by name; may be null.
  std::map<std::string, double> (*more)(std::span<const ItemScore> scores) = nullptr;
};
std::span<const TaskKind* const> all_task_kinds();
const TaskKind* find_task_kind(std::string_view id);

/// The items of a .jsonl file. With `shots`, the first of them become examples that stand before
/// the prompt of all others. Errors name the line.
Result<std::vector<TaskItem>> read_tasks(const TaskKind& kind, const std::string& path,
                                         std::int64_t shots = 0);

/// One score per item; feedback counts items. Errors: no tokenizer, a prompt longer than the model
/// can read, a chat where there is no template or nothing is written.
Result<std::vector<ItemScore>> run_tasks(Engine& engine, const TaskKind& kind,
                                         const std::vector<TaskItem>& items,
                                         const TaskOptions& options, Feedback& feedback);

struct TaskFigure {
  double value = 0;
  Interval interval; ///< 95 %: Wilson's for right or wrong, else by resampling items
};
/// `scores` must not be empty.
TaskFigure figure_of(const TaskKind& kind, const std::vector<ItemScore>& scores);
/// The chance of a difference at least as large between two runs over the same items when neither
/// is better: McNemar's exact test, or approximate randomization.
double paired_p(const TaskKind& kind, const std::vector<ItemScore>& a,
                const std::vector<ItemScore>& b);

} // namespace bitlathe
