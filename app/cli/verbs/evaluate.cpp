// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/cli/steps.h"
#include "core/eval/task_report.h"

#include <algorithm>
#include <ostream>

namespace bitlathe {

namespace {

/// What was asked, expected and said, a line of JSON each.
std::string transcript(const TaskReport& report) {
  std::string out;
  for (const TaskModelFigures& model : report.models)
    for (std::size_t i = 0; i < report.items.size(); ++i) {
      const TaskItem& item = report.items[i];
      const OrderedJson line{{"model", model.path},           {"prompt", item.prompt},
                             {"answers", item.answers},       {"right", item.answers[item.right]},
                             {"said", model.answers[i].said}, {"score", model.answers[i].value}};
      out += line.dump(-1, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
    }
  return out;
}

OrderedJson figures_json(const TaskReport& report, const TaskModelFigures& model) {
  OrderedJson entry{{"path", model.path},
                    {"task", report.kind},
                    {"metric", report.metric},
                    {"value", json_number(model.value)},
                    {"ci_low", model.ci_low},
                    {"ci_high", model.ci_high},
                    {"n", model.n}};
  if (model.right)
    entry["right"] = *model.right;
  entry["paired_p"] = model.paired_p ? Json(*model.paired_p) : Json(nullptr);
  for (const auto& [name, value] : model.more)
    entry[name] = json_number(value);
  entry["kinds"] = OrderedJson::object();
  for (const TaskGroup& group : model.groups) {
    entry["kinds"][group.name] = {{"value", group.value}, {"n", group.n}};
    if (model.right)
      entry["kinds"][group.name]["right"] = group.right;
  }
  entry["notes"] = model.notes;
  return entry;
}

Result<OrderedJson> run(Invocation& invocation) {
  const std::string id = invocation.text("task", "exact-match");
  const TaskKind* kind = find_task_kind(id);
  if (!kind) {
    std::string known;
    for (const TaskKind* each : all_task_kinds())
      known += (known.empty() ? "" : ", ") + std::string(each->id);
    return usage_error("--task " + id + " is not known; there are " + known);
  }
  if (!invocation.has("data"))
    return usage_error("evaluate needs --data FILE.jsonl with " + std::string(kind->fields));
  TaskRunOptions options;
  TRY_ASSIGN(options.shots, invocation.integer("shots", 0, 0));
  TRY_ASSIGN(options.limit, invocation.integer("limit", 0, 0));
  TRY_ASSIGN(options.max_new, invocation.integer("max-new", 0, 0));
  options.chat = invocation.has("chat");
  options.system = invocation.text("system");
  options.all_or_nothing = true;
  if (options.chat && !kind->generates)
    return usage_error("--chat: --task " + id +
                       " compares likelihoods; nothing is asked as a message");
  if (invocation.has("system") && !options.chat)
    return usage_error("--system belongs to --chat");
  std::vector<TaskModel> models;
  for (const std::string& path : invocation.arguments) {
    TRY_ASSIGN(auto model, open_model(path));
    models.push_back({path, std::move(model)});
  }
  TRY_ASSIGN(Compute * compute, invocation.compute());
  TRY_ASSIGN(TaskReport report, measure_tasks(*kind, invocation.text("data"), models, options,
                                              *compute, invocation.feedback));
  OrderedJson json;
  json["models"] = OrderedJson::array();
  for (std::size_t i = 0; i < report.models.size(); ++i) {
    report.models[i].path = invocation.arguments[i]; // as it was given
    json["models"].push_back(figures_json(report, report.models[i]));
  }
  if (invocation.has("outputs"))
    TRY(write_file(invocation.text("outputs"), transcript(report)));
  return json;
}

void show(const OrderedJson& json, std::ostream& out) {
  std::string metric = json["models"][0]["metric"].get<std::string>();
  std::transform(metric.begin(), metric.end(), metric.begin(),
                 [](char c) { return c >= 'a' && c <= 'z' ? char(c - 32) : c; });
  TextTable table({"MODEL", metric, "95 % INTERVAL", "ITEMS", "P AGAINST FIRST"});
  for (const auto& m : json["models"])
    table.add({m["path"].get<std::string>(), show_number(m["value"].get<double>(), 3),
               show_number(m["ci_low"].get<double>(), 3) + " - " +
                   show_number(m["ci_high"].get<double>(), 3),
               (m.contains("right") ? std::to_string(m["right"].get<int>()) + " of " : "") +
                   std::to_string(m["n"].get<int>()),
               m["paired_p"].is_number() ? show_number(m["paired_p"].get<double>(), 2) : "-"});
  table.print(out);
  for (const auto& m : json["models"])
    for (const auto& note : m["notes"])
      out << "note: " << note.get<std::string>() << '\n';
}

constexpr VerbOption options[] = {
    {"task", "KIND",
     "exact-match (default: the greedy continuation begins with the answer), multiple-choice "
     "(HellaSwag, ARC), cloze (LAMBADA), numeric (GSM8K), rouge-l, bleu."},
    {"data", "FILE", "A JSON object per line: prompt and answer, or as the set was published."},
    {"shots", "N", "The first N items become examples before every prompt."},
    {"limit", "N", "Only the first N items."},
    {"chat", "", "Every prompt is a message in the model's chat template (kinds that generate)."},
    {"system", "TEXT", "With --chat: the system's message before it."},
    {"max-new", "N", "Longest continuation in tokens (default: what suits the task)."},
    {"outputs", "FILE", "Write what each model said to every item, a JSON object per line."},
};

} // namespace

extern const Verb verb_evaluate;
const Verb verb_evaluate{"evaluate",
                         "MODEL... --data FILE.jsonl",
                         "Task metrics, with intervals and a paired test.",
                         1,
                         1 << 20,
                         options,
                         run,
                         show};

} // namespace bitlathe
