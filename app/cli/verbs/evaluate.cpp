// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/cli/steps.h"
#include "core/eval/judged_text.h"
#include "core/eval/tasks.h"

#include <algorithm>
#include <map>
#include <ostream>

namespace bitlathe {

namespace {

Result<OrderedJson> run(Invocation& invocation) {
  const std::string kind = invocation.text("task", "exact-match");
  if (kind != "exact-match")
    return usage_error("--task is exact-match: the greedy continuation begins with the answer");
  if (!invocation.has("data"))
    return usage_error("evaluate needs --data FILE.jsonl with \"prompt\" and \"answer\"");
  TRY_ASSIGN(const auto items, read_tasks(invocation.text("data")));
  TRY_ASSIGN(Compute * compute, invocation.compute());
  OrderedJson json;
  json["models"] = OrderedJson::array();
  std::vector<bool> first;
  for (const std::string& path : invocation.arguments) {
    invocation.feedback.set_step(path);
    TRY_ASSIGN(const auto model, open_model(path));
    TRY_ASSIGN(const auto engine, Engine::create(model, *compute));
    TRY_ASSIGN(const auto right, exact_match(*engine, items, invocation.feedback));
    const auto n = std::int64_t(right.size());
    const auto count = std::int64_t(std::count(right.begin(), right.end(), true));
    const Interval interval = wilson_interval(count, n);
    OrderedJson entry{{"path", path},
                      {"task", kind},
                      {"metric", "accuracy"},
                      {"value", double(count) / double(n)},
                      {"ci_low", interval.low},
                      {"ci_high", interval.high},
                      {"n", n},
                      {"right", count}};
    entry["paired_p"] = first.empty() ? Json(nullptr) : Json(paired_p(first, right));
    std::map<std::string, std::pair<int, int>> by_kind;
    for (std::size_t i = 0; i < items.size(); ++i) {
      by_kind[items[i].task].first += right[i];
      ++by_kind[items[i].task].second;
    }
    entry["kinds"] = OrderedJson::object();
    for (const auto& [name, counts] : by_kind)
      entry["kinds"][name] = {{"right", counts.first}, {"n", counts.second}};
    entry["notes"] = engine->notes();
    for (const std::string& note : task_overlap_notes(*model, invocation.text("data")))
      entry["notes"].push_back(note);
    json["models"].push_back(std::move(entry));
    if (first.empty())
      first = right;
  }
  return json;
}

void show(const OrderedJson& json, std::ostream& out) {
  TextTable table({"MODEL", "ACCURACY", "95 % INTERVAL", "RIGHT", "P AGAINST FIRST"});
  for (const auto& m : json["models"])
    table.add({m["path"].get<std::string>(), show_number(m["value"].get<double>(), 3),
               show_number(m["ci_low"].get<double>(), 3) + " - " +
                   show_number(m["ci_high"].get<double>(), 3),
               std::to_string(m["right"].get<int>()) + " of " + std::to_string(m["n"].get<int>()),
               m["paired_p"].is_number() ? show_number(m["paired_p"].get<double>(), 2) : "-"});
  table.print(out);
  for (const auto& m : json["models"])
    for (const auto& note : m["notes"])
      out << "note: " << note.get<std::string>() << '\n';
}

constexpr VerbOption options[] = {
    {"task", "KIND", "exact-match (default): the greedy continuation begins with the answer."},
    {"data", "FILE",
     "Lines of JSON with \"prompt\", \"answer\" and, if there are kinds, \"task\"."},
};

} // namespace

extern const Verb verb_evaluate;
const Verb verb_evaluate{"evaluate",
                         "MODEL... --data FILE.jsonl",
                         "Task accuracy, with intervals and a paired test.",
                         1,
                         1 << 20,
                         options,
                         run,
                         show};

} // namespace bitlathe
