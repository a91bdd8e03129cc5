// SPDX-License-Identifier: Apache-2.0
// Tasks with known answers.
#include "core/eval/task_report.h"
#include "core/report/charts.h"
#include "core/report/numbers.h"
#include "core/report/section.h"

namespace bitlathe::report {

namespace {

void add_report(const TaskReport& report, std::vector<Block>& out) {
  DocumentTable table{{{"model"},
                       {report.metric, true},
                       {"95 % interval", true},
                       {"items", true},
                       {"p against the first", true}},
                      {},
                      report.kind + " on " + fs::path(report.file).filename().string() +
                          (report.shots > 0 ? ", " + std::to_string(report.shots) + " shots" : "") +
                          (report.chat ? ", as a conversation" : "")};
  BarChart chart;
  chart.axis = report.metric;
  chart.caption = report.metric + " with its 95 % interval.";
  for (std::size_t i = 0; i < report.models.size(); ++i) {
    const TaskModelFigures& model = report.models[i];
    if (!model.problem.empty()) {
      table.rows.push_back({model.title, "-", "-", "-", model.problem});
      continue;
    }
    table.rows.push_back({model.title, number_text(model.value, 4),
                          number_text(model.ci_low, 4) + " to " + number_text(model.ci_high, 4),
                          std::to_string(model.n),
                          model.paired_p ? number_text(*model.paired_p, 3) : "-"});
    chart.bars.push_back({model.title, model.value, model.ci_low, model.ci_high, contender_color(i),
                          false, number_text(model.value, 3)});
  }
  add(out, std::move(table));
  if (!chart.bars.empty())
    add(out, bar_figure(chart));
  for (const TaskModelFigures& model : report.models)
    for (const std::string& note : model.notes)
      add(out, Paragraph{model.title + ": " + note, Paragraph::Kind::note});
}

Result<void> make(const Input& input, Compute&, Feedback&, std::vector<Block>& out) {
  const Json& kept = input.session.stage("tasks");
  const auto add = [&](const Json& json) {
    if (!json.is_object())
      return;
    if (const TaskReport report = task_report_from_json(json); !report.models.empty())
      add_report(report, out);
  };
  if (kept.is_array())
    for (const Json& json : kept)
      add(json);
  else
    add(kept);
  return {};
}

} // namespace

} // namespace bitlathe::report

namespace bitlathe {
extern const report::SectionKind report_section_tasks;
const report::SectionKind report_section_tasks{"tasks", "Tasks", report::make};
} // namespace bitlathe
