// SPDX-License-Identifier: Apache-2.0
#include "core/eval/task_report.h"

#include "core/base/lenient_json.h"
#include "core/eval/judged_text.h"

#include <algorithm>

namespace bitlathe {

namespace {

std::int64_t right_of(const std::vector<ItemScore>& scores) {
  return std::count_if(scores.begin(), scores.end(),
                       [](const ItemScore& score) { return score.value != 0; });
}

std::vector<TaskGroup> groups_of(const TaskKind& kind, const std::vector<TaskItem>& items,
                                 const std::vector<ItemScore>& scores) {
  std::map<std::string, std::vector<ItemScore>> groups;
  for (std::size_t i = 0; i < items.size(); ++i)
    groups[items[i].task].push_back(scores[i]);
  std::vector<TaskGroup> out;
  for (const auto& [name, list] : groups)
    out.push_back({name, figure_of(kind, list).value, std::int64_t(list.size()),
                   kind.right_or_wrong ? right_of(list) : 0});
  return out;
}

/// Runs one model and puts its figures into `model`.
Result<std::vector<ItemScore>> run_model(const TaskKind& kind, const std::string& file,
                                         const std::vector<TaskItem>& items,
                                         const std::shared_ptr<const Checkpoint>& checkpoint,
                                         const TaskRunOptions& options, Compute& compute,
                                         Feedback& feedback, TaskModelFigures& model) {
  TRY_ASSIGN(const auto engine, Engine::create(checkpoint, compute, options.engine));
  TRY_ASSIGN(auto scores, run_tasks(*engine, kind, items, options, feedback));
  const TaskFigure figure = figure_of(kind, scores);
  model.value = figure.value;
  model.ci_low = figure.interval.low;
  model.ci_high = figure.interval.high;
  model.n = std::int64_t(items.size());
  if (kind.right_or_wrong)
    model.right = right_of(scores);
  if (kind.more)
    model.more = kind.more(scores);
  model.groups = groups_of(kind, items, scores);
  for (const ItemScore& score : scores)
    model.answers.push_back({score.output, score.value});
  model.notes = engine->notes();
  for (std::string& note : task_overlap_notes(*checkpoint, file))
    model.notes.push_back(std::move(note));
  return scores;
}

OrderedJson model_to_json(const TaskModelFigures& model) {
  OrderedJson json{{"title", model.title},
                   {"path", model.path},
                   {"value", json_number(model.value)},
                   {"ci_low", json_number(model.ci_low)},
                   {"ci_high", json_number(model.ci_high)},
                   {"n", model.n}};
  if (model.right)
    json["right"] = *model.right;
  json["paired_p"] = model.paired_p ? json_number(*model.paired_p) : Json();
  if (!model.problem.empty())
    json["problem"] = model.problem;
  json["more"] = OrderedJson::object();
  for (const auto& [name, value] : model.more)
    json["more"][name] = json_number(value);
  json["groups"] = OrderedJson::array();
  for (const TaskGroup& group : model.groups)
    json["groups"].push_back({{"name", group.name},
                              {"value", json_number(group.value)},
                              {"n", group.n},
                              {"right", group.right}});
  json["answers"] = OrderedJson::array();
  for (const TaskAnswer& answer : model.answers)
    json["answers"].push_back({{"said", answer.said}, {"value", json_number(answer.value)}});
  json["notes"] = model.notes;
  return json;
}

TaskModelFigures model_from_json(const Json& json) {
  TaskModelFigures model;
  model.title = lenient::text(json, "title");
  model.path = lenient::text(json, "path");
  model.value = lenient::number(json, "value");
  model.ci_low = lenient::number(json, "ci_low");
  model.ci_high = lenient::number(json, "ci_high");
  model.n = lenient::integer(json, "n");
  if (const Json& right = lenient::member(json, "right"); right.is_number())
    model.right = lenient::integer(json, "right");
  if (const Json& p = lenient::member(json, "paired_p"); p.is_number())
    model.paired_p = p.get<double>();
  model.problem = lenient::text(json, "problem");
  if (const Json& more = lenient::member(json, "more"); more.is_object())
    for (const auto& [name, value] : more.items())
      if (value.is_number())
        model.more[name] = value.get<double>();
  for (const Json& group : lenient::list(json, "groups"))
    model.groups.push_back({lenient::text(group, "name"), lenient::number(group, "value"),
                            lenient::integer(group, "n"), lenient::integer(group, "right")});
  for (const Json& answer : lenient::list(json, "answers"))
    model.answers.push_back({lenient::text(answer, "said"), lenient::number(answer, "value")});
  model.notes = lenient::texts(json, "notes");
  return model;
}

} // namespace

Result<TaskReport> measure_tasks(const TaskKind& kind, const std::string& file,
                                 std::span<const TaskModel> models, const TaskRunOptions& options,
                                 Compute& compute, Feedback& feedback,
                                 const std::function<void(const TaskReport&)>& on_model) {
  TRY_ASSIGN(auto items, read_tasks(kind, file, options.shots));
  if (options.limit > 0 && std::int64_t(items.size()) > options.limit)
    items.resize(std::size_t(options.limit));
  TaskReport report;
  report.kind = kind.id;
  report.metric = kind.metric;
  report.file = file;
  report.shots = options.shots;
  report.max_new = options.max_new;
  report.chat = options.chat;
  report.right_or_wrong = kind.right_or_wrong;
  report.items = items;
  std::optional<std::vector<ItemScore>> first;
  for (const TaskModel& one : models) {
    feedback.set_step(one.title);
    TaskModelFigures model;
    model.title = one.title;
    model.path = one.checkpoint->path.string();
    auto scores = run_model(kind, file, items, one.checkpoint, options, compute, feedback, model);
    if (scores && first)
      model.paired_p = paired_p(kind, *first, *scores);
    else if (scores)
      first = std::move(*scores);
    else if (scores.error().cancelled() || options.all_or_nothing)
      return scores.error();
    else
      model.problem = scores.error().text();
    report.models.push_back(std::move(model));
    if (on_model)
      on_model(report);
  }
  return report;
}

OrderedJson task_report_to_json(const TaskReport& report) {
  OrderedJson json{{"kind", report.kind},
                   {"metric", report.metric},
                   {"file", report.file},
                   {"shots", report.shots},
                   {"max_new", report.max_new},
                   {"chat", report.chat},
                   {"right_or_wrong", report.right_or_wrong},
                   {"items", OrderedJson::array()},
                   {"models", OrderedJson::array()}};
  for (const TaskItem& item : report.items)
    json["items"].push_back({{"task", item.task},
                             {"prompt", item.prompt.substr(item.examples)},
                             {"answers", item.answers},
                             {"right", item.right}});
  for (const TaskModelFigures& model : report.models)
    json["models"].push_back(model_to_json(model));
  return json;
}

TaskReport task_report_from_json(const Json& json) {
  TaskReport report;
  report.kind = lenient::text(json, "kind");
  report.metric = lenient::text(json, "metric");
  report.file = lenient::text(json, "file");
  report.shots = lenient::integer(json, "shots");
  report.max_new = lenient::integer(json, "max_new");
  report.chat = lenient::flag(json, "chat");
  report.right_or_wrong = lenient::flag(json, "right_or_wrong", true);
  for (const Json& entry : lenient::list(json, "items")) {
    TaskItem item;
    item.task = lenient::text(entry, "task");
    item.prompt = lenient::text(entry, "prompt");
    item.answers = lenient::texts(entry, "answers");
    const std::int64_t right = lenient::integer(entry, "right");
    if (right >= 0 && right < std::int64_t(item.answers.size()))
      item.right = std::size_t(right);
    report.items.push_back(std::move(item));
  }
  for (const Json& model : lenient::list(json, "models")) {
    TaskModelFigures read = model_from_json(model);
    if (read.problem.empty()) // one per item, whatever the file says
      read.answers.resize(report.items.size());
    else
      read.answers.clear();
    report.models.push_back(std::move(read));
  }
  return report;
}

} // namespace bitlathe
