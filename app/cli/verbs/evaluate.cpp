// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/cli/steps.h"
#include "core/eval/judged_text.h"
#include "core/eval/tasks.h"

#include <algorithm>
#include <map>
#include <ostream>

namespace bitlathe {

namespace {

/// Right and counted items of every group that the file names.
OrderedJson groups_of(const TaskKind& kind, const std::vector<TaskItem>& items,
                      const std::vector<ItemScore>& scores) {
  std::map<std::string, std::vector<ItemScore>> groups;
  for (std::size_t i = 0; i < items.size(); ++i)
    groups[items[i].task].push_back(scores[i]);
  OrderedJson out = OrderedJson::object();
  for (const auto& [name, list] : groups) {
    out[name] = {{"value", figure_of(kind, list).value}, {"n", list.size()}};
    if (kind.right_or_wrong)
      out[name]["right"] = std::count_if(list.begin(), list.end(),
                                         [](const ItemScore& score) { return score.value != 0; });
  }
  return out;
}

/// What was asked, expected and said, a line of JSON each.
std::string transcript(const std::string& model, const std::vector<TaskItem>& items,
                       const std::vector<ItemScore>& scores) {
  std::string out;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const OrderedJson line{{"model", model},
                           {"prompt", items[i].prompt},
                           {"answers", items[i].answers},
                           {"right", items[i].answers[items[i].right]},
                           {"said", scores[i].output},
                           {"score", scores[i].value}};
    out += line.dump(-1, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
  }
  return out;
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
  TRY_ASSIGN(const std::int64_t shots, invocation.integer("shots", 0, 0));
  TaskOptions options;
  TRY_ASSIGN(options.max_new, invocation.integer("max-new", 0, 0));
  TRY_ASSIGN(const auto items, read_tasks(*kind, invocation.text("data"), shots));
  TRY_ASSIGN(Compute * compute, invocation.compute());
  OrderedJson json;
  json["models"] = OrderedJson::array();
  std::vector<ItemScore> first;
  std::string transcripts;
  for (const std::string& path : invocation.arguments) {
    invocation.feedback.set_step(path);
    TRY_ASSIGN(const auto model, open_model(path));
    TRY_ASSIGN(const auto engine, Engine::create(model, *compute));
    TRY_ASSIGN(const auto scores, run_tasks(*engine, *kind, items, options, invocation.feedback));
    const TaskFigure figure = figure_of(*kind, scores);
    OrderedJson entry{{"path", path},
                      {"task", kind->id},
                      {"metric", kind->metric},
                      {"value", figure.value},
                      {"ci_low", figure.interval.low},
                      {"ci_high", figure.interval.high},
                      {"n", items.size()}};
    if (kind->right_or_wrong)
      entry["right"] = std::count_if(scores.begin(), scores.end(),
                                     [](const ItemScore& score) { return score.value != 0; });
    entry["paired_p"] = first.empty() ? Json(nullptr) : Json(paired_p(*kind, first, scores));
    if (kind->more)
      for (const auto& [name, value] : kind->more(scores))
        entry[name] = json_number(value);
    entry["kinds"] = groups_of(*kind, items, scores);
    auto notes = engine->notes();
    for (std::string& note : task_overlap_notes(*model, invocation.text("data")))
      notes.push_back(std::move(note));
    entry["notes"] = notes;
    json["models"].push_back(std::move(entry));
    transcripts += transcript(path, items, scores);
    if (first.empty())
      first = scores;
  }
  if (invocation.has("outputs"))
    TRY(write_file(invocation.text("outputs"), transcripts));
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
