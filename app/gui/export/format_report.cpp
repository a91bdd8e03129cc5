// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/export/format_report.h"

#include "core/job/result_store.h"
#include "core/recipe/mixes.h"

#include <algorithm>
#include <set>

namespace bitlathe::gui {

namespace {

bool isText(const fs::path& name) {
  static const std::set<std::string> texts = {".json", ".txt", ".md", ".model", ".jinja", ".py"};
  return texts.count(name.extension().string()) > 0;
}

void countRefused(FormatReport& report) {
  std::set<std::string> modules;
  bool all = false;
  for (const Finding& finding : report.findings)
    if (finding.level == Finding::Level::refuse && finding.runtime.empty()) {
      if (finding.module.empty())
        all = true;
      else
        modules.insert(finding.module);
    }
  report.refused = all && modules.empty() ? report.modules : int(modules.size());
}

FormatReport examine(const Exporter& exporter, const FormatQuestion& question) {
  FormatReport report;
  report.id = QString::fromUtf8(exporter.id.data(), qsizetype(exporter.id.size()));
  report.modules = int(question.model->modules.size());
  ExportOptions options = question.options;
  options.folder = question.folders.value(report.id).toStdString();
  auto predicted = [&]() -> Result<ExportPrediction> {
    if (!question.plan)
      return predict_export(*question.model, exporter, options);
    Plan fitted = *question.plan;
    fit_plan(fitted, *question.model, exporter);
    for (std::size_t i = 0; i < fitted.modules.size(); ++i) {
      const PlannedModule &now = fitted.modules[i], &asked = question.plan->modules[i];
      if (now.scheme.id != asked.scheme.id)
        report.fallbacks.push_back(
            {QString::fromStdString(now.name), QString::fromStdString(asked.scheme.id),
             QString::fromStdString(now.scheme.id), QString::fromStdString(now.reason)});
    }
    return predict_export(*question.model, fitted, exporter, options);
  }();
  if (!predicted) {
    report.problem = QString::fromStdString(predicted.error().text());
    return report;
  }
  report.findings = std::move(predicted->findings);
  std::stable_sort(report.findings.begin(), report.findings.end(),
                   [](const Finding& a, const Finding& b) { return a.level > b.level; });
  report.files = std::move(predicted->files);
  report.bytes = predicted->bytes;
  for (const auto& file : report.files)
    if (!isText(file.name))
      report.weight_bytes += file.bytes;
  if (const auto parameters = question.model->parameters(); parameters > 0)
    report.bits_per_weight = 8.0 * double(report.weight_bytes) / double(parameters);
  countRefused(report);
  return report;
}

} // namespace

QString FormatReport::checkpoint() const {
  const auto config = std::find_if(files.begin(), files.end(), [](const auto& file) {
    return file.name == fs::path("config.json");
  });
  return files.empty() || config != files.end()
             ? QString()
             : QString::fromStdString(files.front().name.string());
}

Result<QList<FormatReport>> examineFormats(const FormatQuestion& question, Feedback& feedback) {
  FormatQuestion named = question;
  Recipe recipe;
  if (question.plan)
    recipe = question.plan->recipe;
  else if (const auto kept = question.result.isEmpty() ? Result<KeptResult>(cancelled_error())
                                                       : read_result(question.result.toStdString()))
    recipe = kept->recipe;
  if (find_mix(recipe.default_scheme))
    named.options.label = recipe.default_scheme;
  QList<FormatReport> out;
  for (const Exporter* exporter : all_exporters()) {
    if (feedback.stopped())
      return cancelled_error();
    out.push_back(examine(*exporter, named));
  }
  return out;
}

Recipe withFallbacks(Recipe recipe, const std::vector<FormatFallback>& fallbacks) {
  for (const FormatFallback& one : fallbacks) {
    const std::string module = one.module.toStdString();
    const auto own = std::find_if(recipe.rules.rbegin(), recipe.rules.rend(),
                                  [&](const Rule& r) { return r.match == module; });
    Rule rule = own != recipe.rules.rend() ? *own : Rule();
    std::erase_if(recipe.rules, [&](const Rule& r) { return r.match == module; });
    rule.match = module;
    rule.scheme = one.to.toStdString();
    recipe.rules.push_back(std::move(rule)); // the last matching rule wins
  }
  return recipe;
}

} // namespace bitlathe::gui
