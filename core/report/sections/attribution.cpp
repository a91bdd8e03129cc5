// SPDX-License-Identifier: Apache-2.0
// Which layer did it.
#include "core/eval/attribute.h"
#include "core/report/charts.h"
#include "core/report/numbers.h"
#include "core/report/section.h"

#include <algorithm>

namespace bitlathe::report {

namespace {

constexpr std::size_t bars_shown = 20;

double cost(const AttributionRow& row) {
  return row.alone ? row.alone.kld : row.predicted ? row.predicted.kld : 0;
}

void add_rows(const AttributionReport& report, std::vector<Block>& out) {
  std::vector<const AttributionRow*> rows;
  for (const AttributionRow& row : report.rows)
    if ((row.kind == "module" || row.kind == "kv") && (row.alone || row.predicted))
      rows.push_back(&row);
  if (rows.empty())
    return;
  std::stable_sort(rows.begin(), rows.end(), [](const AttributionRow* a, const AttributionRow* b) {
    return cost(*a) > cost(*b);
  });
  BarChart chart;
  chart.axis = "KL divergence of the original with only this module quantized";
  chart.caption = "The costliest modules. Outlined bars are predicted from second-order "
                  "statistics, not measured; whiskers are one standard error.";
  for (std::size_t i = 0; i < std::min(rows.size(), bars_shown); ++i) {
    const AttributionRow& row = *rows[i];
    const double value = cost(row);
    const double error = row.alone ? row.alone.kld_stderr : row.predicted.kld_stderr;
    chart.bars.push_back({row.name, value, value - error, value + error, "#0f9296", !row.alone,
                          number_text(value, 3) + ", " + row.scheme});
  }
  add(out, bar_figure(chart));
  Facts facts;
  facts.add("The candidate", "KL " + error_text(report.whole.kld, report.whole.kld_stderr));
  facts.add("Control", "the original with nothing exchanged, run anew: KL " +
                           number_text(report.control.kld, 3));
  if (report.all_alone)
    facts.add("Additivity", "the modules one by one sum to " + number_text(report.sum_alone, 4) +
                                ", " + number_text(report.ratio_alone, 3) +
                                " times that of all together");
  if (report.all_fall)
    facts.add("Put back one by one", "the falls sum to " + number_text(report.sum_fall, 4) + ", " +
                                         number_text(report.ratio_fall, 3) + " times the whole");
  facts.add("Measured on", std::to_string(report.windows) + " windows of " +
                               std::to_string(report.context) + " tokens");
  add(out, std::move(facts));
}

void add_curves(const AttributionReport& report, std::vector<Block>& out) {
  if (report.curves.empty())
    return;
  std::vector<std::string> schemes;
  for (const ModuleCurve& curve : report.curves)
    for (const CurvePoint& point : curve.points)
      if (std::find(schemes.begin(), schemes.end(), point.scheme) == schemes.end())
        schemes.push_back(point.scheme);
  DocumentTable table{{{"module"}}, {}, "KL divergence with only this module in a scheme"};
  for (const std::string& scheme : schemes)
    table.columns.push_back({scheme, true});
  for (const ModuleCurve& curve : report.curves) {
    std::vector<std::string> row{curve.name};
    for (const std::string& scheme : schemes) {
      const auto point = std::find_if(curve.points.begin(), curve.points.end(),
                                      [&](const CurvePoint& p) { return p.scheme == scheme; });
      row.push_back(point == curve.points.end() ? "-"
                    : point->measured           ? number_text(point->measured.kld, 3)
                    : point->predicted ? number_text(point->predicted.kld, 3) + " (predicted)"
                                       : "-");
    }
    table.rows.push_back(std::move(row));
  }
  add(out, std::move(table));
}

Result<void> make(const Input& input, Compute&, Feedback&, std::vector<Block>& out) {
  const Json& kept = input.session.stage("attribution");
  if (!kept.is_object())
    return {};
  const AttributionReport report = attribution_from_json(kept);
  add_rows(report, out);
  add_curves(report, out);
  if (report.prediction.held_out > 0)
    add(out,
        Paragraph{"Predictions were off by " + percent_text(report.prediction.median_error, 0) +
                      " (median; " + percent_text(report.prediction.p90_error, 0) +
                      " in the worst tenth) on modules that the fit had not seen; rank "
                      "correlation " +
                      number_text(report.prediction.rank_correlation, 3) + ".",
                  Paragraph::Kind::note});
  for (const std::string& note : report.notes)
    add(out, Paragraph{note, Paragraph::Kind::note});
  return {};
}

} // namespace

} // namespace bitlathe::report

namespace bitlathe {
extern const report::SectionKind report_section_attribution;
const report::SectionKind report_section_attribution{"attribution", "Which layer did it",
                                                     report::make};
} // namespace bitlathe
