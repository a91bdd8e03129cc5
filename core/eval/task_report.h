// SPDX-License-Identifier: Apache-2.0
// Tasks run on several models: figures with their intervals, paired tests against the first, and
// what each said to every item.
#pragma once

#include "core/eval/tasks.h"

#include <optional>

namespace bitlathe {

struct TaskAnswer {
  std::string said; ///< what the model wrote or chose
  double value = 0; ///< 1 or 0, or a share
};

/// The items of one "task" of the file.
struct TaskGroup {
  std::string name;
  double value = 0;
  std::int64_t n = 0, right = 0; ///< right: where items are right or wrong
};

struct TaskModelFigures {
  std::string title, path;
  double value = 0, ci_low = 0, ci_high = 0;
  std::int64_t n = 0;
  std::optional<std::int64_t> right; ///< where items are right or wrong
  std::optional<double> paired_p;    ///< against the first model that was run
  std::map<std::string, double> more;
  std::vector<TaskGroup> groups;
  std::vector<TaskAnswer> answers; ///< one per item
  std::vector<std::string> notes;
  std::string problem; ///< why it was not run; empty: it was
};

struct TaskReport {
  std::string kind, metric, file;
  std::int64_t shots = 0, max_new = 0;
  bool chat = false, right_or_wrong = true;
  std::vector<TaskItem> items; ///< JSON holds their prompts without the examples
  std::vector<TaskModelFigures> models;
};

struct TaskModel {
  std::string title;
  std::shared_ptr<const Checkpoint> checkpoint;
};
struct TaskRunOptions : TaskOptions {
  std::int64_t shots = 0;
  std::int64_t limit = 0;      ///< at most this many items; 0: all
  bool all_or_nothing = false; ///< a model that cannot be run is an error
  EngineOptions engine;
};
/// One model after the other; one that cannot be run keeps the reason in `problem`. feedback counts
/// the items of the one in hand. `on_model` sees the report with one more model. Errors: the file,
/// options, cancelled.
Result<TaskReport> measure_tasks(const TaskKind& kind, const std::string& file,
                                 std::span<const TaskModel> models, const TaskRunOptions& options,
                                 Compute& compute, Feedback& feedback,
                                 const std::function<void(const TaskReport&)>& on_model = {});

OrderedJson task_report_to_json(const TaskReport& report);
/// What is missing is 0, NaN or empty.
TaskReport task_report_from_json(const Json& json);

} // namespace bitlathe
