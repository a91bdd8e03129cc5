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
  const BleuCounts counts = bleu_counts(said, item.answers);
  std::vector<double> sums(counts.right.begin(), counts.right.end());
  sums.insert(sums.end(), counts.all.begin(), counts.all.end());
  sums.push_back(counts.words);
  sums.push_back(counts.reference_words);
  return ItemScore{bleu(counts), std::move(sums), std::move(said)};
}

double total(std::span<const ItemScore* const> scores) {
  BleuCounts sum;
  for (const ItemScore* score : scores) {
    for (std::size_t n = 0; n < 4; ++n) {
      sum.right[n] += score->sums[n];
      sum.all[n] += score->sums[4 + n];
    }
    sum.words += score->sums[8];
    sum.reference_words += score->sums[9];
  }
  return bleu(sum);
}

} // namespace

extern const TaskKind task_kind_bleu;
const TaskKind task_kind_bleu{
    .id = "bleu",
    .metric = "bleu",
    .summary = "Corpus BLEU, 0 to 100, by sacreBLEU's definition (13a words, case kept).",
    .fields = "prompt, answer or references",
    .right_or_wrong = false,
    .generates = true,
    .read = read_references,
    .score = score,
    .total = total,
};

} // namespace bitlathe
