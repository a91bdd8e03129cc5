// SPDX-License-Identifier: Apache-2.0
// Tasks with a known answer: a prompt, and what a right continuation begins with.
#pragma once

#include "core/engine/engine.h"

namespace bitlathe {

struct TaskItem {
  std::string task; ///< kind of the item, "" if the file does not say
  std::string prompt, answer;
};
/// A .jsonl file with "prompt" and "answer" per line, and "task" if there are kinds. Errors name
/// the line.
Result<std::vector<TaskItem>> read_tasks(const std::string& path);

/// Whether the greedy continuation of each prompt begins with the answer (white space before it is
/// skipped; no letter or digit may follow it). feedback counts items.
Result<std::vector<bool>> exact_match(Engine& engine, const std::vector<TaskItem>& items,
                                      Feedback& feedback);

/// Wilson's interval of a share at 95 %.
struct Interval {
  double low = 0, high = 0;
};
Interval wilson_interval(std::int64_t right, std::int64_t n);

/// The chance of a difference as large as that between two runs over the same items when neither is
/// better: McNemar's exact test, two-sided.
double paired_p(const std::vector<bool>& a, const std::vector<bool>& b);

} // namespace bitlathe
