// SPDX-License-Identifier: Apache-2.0
// What was stored: errors of every module, and pictures of the worst ones.
#include "core/eval/weight_stats.h"
#include "core/report/charts.h"
#include "core/report/numbers.h"
#include "core/report/section.h"

#include <algorithm>

namespace bitlathe::report {

namespace {

constexpr std::size_t pictures = 4, bars_shown = 16;
constexpr int bins = 160;

Result<void> make(const Input& input, Compute& compute, Feedback& feedback,
                  std::vector<Block>& out) {
  if (!input.kept)
    return {};
  const QuantizeSummary& summary = input.kept->summary;
  std::vector<const ModuleResult*> worst;
  for (const ModuleResult& module : summary.modules)
    if (module.quantized)
      worst.push_back(&module);
  if (worst.empty())
    return {};
  std::stable_sort(worst.begin(), worst.end(), [](const ModuleResult* a, const ModuleResult* b) {
    return a->sqnr_db < b->sqnr_db;
  });
  Facts facts;
  facts.add("Quantized on", summary.backend);
  facts.add("Took", seconds_text(summary.seconds));
  facts.add("Stored", bytes_text(summary.bytes_after) + " of " + bytes_text(summary.bytes_before));
  add(out, std::move(facts));

  BarChart chart;
  chart.axis = "signal to quantization noise, dB (longer is better)";
  chart.caption = "The modules with the lowest signal to noise, from the stored codes over whole "
                  "tensors.";
  for (std::size_t i = 0; i < std::min(worst.size(), bars_shown); ++i)
    chart.bars.push_back({worst[i]->name,
                          worst[i]->sqnr_db,
                          {},
                          {},
                          "#0f9296",
                          false,
                          number_text(worst[i]->sqnr_db, 3) + " dB, " + worst[i]->scheme});
  add(out, bar_figure(chart));

  for (std::size_t i = 0; i < std::min(worst.size(), pictures) && input.result; ++i) {
    const Module* before = input.checkpoint->find_module(worst[i]->name);
    const Module* after = input.result->find_module(worst[i]->name);
    if (!before || !after)
      continue;
    TRY_ASSIGN(const Histogram original, weight_histogram(*before, bins, compute, feedback));
    HistogramChart picture;
    picture.edges = original.edges;
    picture.original = original.counts;
    TRY_ASSIGN(const Histogram quantized,
               weight_histogram(*after, bins, compute, feedback, float(original.edges.front()),
                                float(original.edges.back())));
    if (quantized.counts.size() == original.counts.size())
      picture.quantized = quantized.counts;
    picture.caption = worst[i]->name + ": " + worst[i]->scheme + " by " + worst[i]->method +
                      ", SQNR " + number_text(worst[i]->sqnr_db, 3) + " dB, cosine " +
                      number_text(worst[i]->cosine, 6) + ". All " + std::to_string(original.total) +
                      " values are counted.";
    add(out, histogram_figure(picture));
  }

  DocumentTable table{{{"module"},
                       {"scheme"},
                       {"method"},
                       {"size", true},
                       {"SQNR dB", true},
                       {"MSE", true},
                       {"cosine", true},
                       {"largest error", true},
                       {"output error", true}},
                      {},
                      "All modules. Output error: squared, relative, over the calibration inputs."};
  for (const ModuleResult& module : summary.modules) {
    std::vector<std::string> row{module.name, module.scheme,
                                 module.method.empty() ? "-" : module.method,
                                 bytes_text(module.bytes)};
    if (module.quantized)
      row.insert(row.end(),
                 {number_text(module.sqnr_db, 4), number_text(module.mse, 3),
                  number_text(module.cosine, 6), number_text(double(module.max_abs_error), 3),
                  module.output_error < 0 ? "-" : number_text(module.output_error, 3)});
    else
      row.insert(row.end(), {"kept", "-", "-", "-", "-"});
    table.rows.push_back(std::move(row));
  }
  add(out, std::move(table));
  for (const std::string& note : summary.notes)
    add(out, Paragraph{note, Paragraph::Kind::note});
  for (const ModuleResult& module : summary.modules)
    for (const std::string& note : module.notes)
      add(out, Paragraph{module.name + ": " + note, Paragraph::Kind::note});
  return {};
}

} // namespace

} // namespace bitlathe::report

namespace bitlathe {
extern const report::SectionKind report_section_layers;
const report::SectionKind report_section_layers{"layers", "Stored layers", report::make};
} // namespace bitlathe
