// SPDX-License-Identifier: Apache-2.0
#include "core/eval/references.h"
#include "core/eval/task_runs.h"
#include "core/eval/tasks.h"
#include "core/eval/text_scores.h"

namespace bitlathe {

namespace {

Result<ItemScore> score(Engine& engine, const TaskItem& item, const TaskOptions& options,
                        Feedback& feedback) {
  TRY_ASSIGN(std::string said, paragraph(engine, item, options, feedback));
  const double value = rouge_l(said, item.answers);
  return ItemScore{value, {}, std::move(said)};
}

} // namespace

extern const TaskKind task_kind_rouge_l;
const TaskKind task_kind_rouge_l{
    .id = "rouge-l",
    .metric = "rouge-l",
    .summary = "Mean F1 of the longest common subsequence of words with a reference.",
    .fields = "prompt, answer or references",
    .right_or_wrong = false,
    .generates = true,
    .read = read_references,
    .score = score,
};

} // namespace bitlathe
