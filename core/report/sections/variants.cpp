// SPDX-License-Identifier: Apache-2.0
// Every variant of the session, and quality against size.
#include "core/report/charts.h"
#include "core/report/numbers.h"
#include "core/report/section.h"

#include <algorithm>
#include <cmath>

namespace bitlathe::report {

namespace {

Result<void> make(const Input& input, Compute&, Feedback&, std::vector<Block>& out) {
  const auto& variants = input.session.variants;
  if (variants.empty())
    return {};
  PointChart chart;
  chart.x_axis = "size, MiB";
  chart.y_axis = "KL divergence";
  chart.log_y = true;
  chart.caption = "Divergence from the original against size; whiskers are one standard error. "
                  "The grey line joins uniform baselines.";
  double floor = 0, lowest = HUGE_VAL;
  DocumentTable table{{{"variant"},
                       {"size", true},
                       {"bits per weight", true},
                       {"perplexity", true},
                       {"KL", true},
                       {"same top token", true},
                       {"measured on"},
                       {"made"}},
                      {},
                      ""};
  for (const SessionVariant& variant : variants) {
    std::vector<std::string> row{variant.title + (variant.baseline ? " (baseline)" : ""),
                                 bytes_text(variant.bytes),
                                 number_text(variant.bits_per_weight, 4)};
    if (variant.figures) {
      const CompareResult& figures = *variant.figures;
      row.insert(row.end(), {error_text(figures.perplexity, figures.perplexity_stderr, 5),
                             error_text(figures.kld_mean, figures.kld_stderr, 3),
                             percent_text(figures.top1_agreement), variant.judged_on});
      auto& points = variant.baseline ? chart.line : chart.points;
      points.push_back({double(variant.bytes) / (1 << 20), figures.kld_mean, figures.kld_stderr,
                        variant.title, contender_color(variant.baseline ? 0 : 1)});
      floor = std::max(floor, variant.noise_floor);
      lowest = std::min(lowest, figures.kld_mean);
    } else {
      row.insert(row.end(), {"-", "-", "-", "not measured"});
    }
    row.push_back(variant.made);
    table.rows.push_back(std::move(row));
  }
  if (floor > lowest / 100) {
    chart.floor = floor;
    chart.floor_name = "noise floor";
  } else if (floor > 0) { // drawn, it would press everything else together
    chart.caption += " The noise floor, " + number_text(floor, 2) + ", lies far below.";
  }
  std::sort(chart.line.begin(), chart.line.end(),
            [](const auto& a, const auto& b) { return a.x < b.x; });
  if (!chart.points.empty() || !chart.line.empty())
    add(out, point_figure(chart));
  add(out, std::move(table));
  return {};
}

} // namespace

} // namespace bitlathe::report

namespace bitlathe {
extern const report::SectionKind report_section_variants;
const report::SectionKind report_section_variants{"variants", "Quality against size", report::make};
} // namespace bitlathe
