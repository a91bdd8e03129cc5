// SPDX-License-Identifier: Apache-2.0
// Evidence for the checklist, from what a session holds.
#include "core/base/lenient_json.h"
#include "core/eval/verdict.h"
#include "core/job/quantize.h"
#include "core/judge/checklist.h"
#include "core/judge/desk_result.h"
#include "core/recipe/mixes.h"

#include <cmath>
#include <cstdio>
#include <filesystem>

namespace bitlathe {

namespace {

/// The same file or folder, however it is written.
bool same_path(const std::string& a, const std::string& b) {
  if (a.empty() || b.empty())
    return false;
  const auto plain = [](const std::string& path) { // without a slash at the end
    return (fs::path(path) / "").lexically_normal();
  };
  return a == b || plain(a) == plain(b);
}

void take_plan(const ChecklistSources& s, ChecklistFacts& f) {
  f.planned = s.plan != nullptr;
  f.plan_reviewed = s.evidence.plan_reviewed;
  if (!s.plan)
    return;
  f.plan_notes = std::int64_t(s.plan->notes.size());
  f.needs_calibration = calibrates(*s.plan);
  for (const PlannedModule& module : s.plan->modules) {
    f.fallen_back += module.reason_kind == "fallback";
    if (module.quantize || module.role == "norm")
      continue;
    ++f.kept_modules;
    if (module.role == "embedding" || module.role == "lm_head" || module.reason_kind == "excluded")
      f.kept_names += (f.kept_names.empty() ? "" : ", ") + module.name;
  }
  constexpr std::size_t longest = 80;
  if (f.kept_names.size() > longest)
    f.kept_names = std::to_string(f.kept_modules) + " modules";
}

void take_calibration(const ChecklistSources& s, ChecklistFacts& f) {
  if (s.recipe)
    for (const CalibrationFile& file : s.recipe->calibration_files)
      f.calibration +=
          (f.calibration.empty() ? "" : ", ") + fs::path(file.path).filename().string();
  if (f.calibration.empty() && s.statistics)
    f.calibration = "activation statistics";
  if (f.calibration.empty() && !s.default_calibration.empty()) {
    f.calibration = s.default_calibration;
    f.calibration_by_default = true;
  }
}

void take_result(const ChecklistSources& s, ChecklistFacts& f) {
  f.quantized = !s.result.empty() && s.result_recipe;
  if (!f.quantized)
    return;
  f.quantize_notes = s.quantize_notes;
  f.result = s.result_recipe->default_scheme;
  if (!find_mix(f.result))
    f.result += " " + s.result_recipe->default_method;
  f.stale = s.recipe && !(*s.recipe == *s.result_recipe);
}

void take_model(ChecklistFacts& f, const CompareResult& model, const CompareReport& report) {
  f.figures_of_result = true;
  f.verdict = judge(model, report).text;
  f.kld = model.kld_mean;
  f.kld_stderr = std::isfinite(model.kld_stderr) ? model.kld_stderr : 0;
  f.tokens = std::isfinite(model.kld_mean) ? model.tokens : 0;
  f.noise_floor = std::isfinite(report.noise_floor) ? report.noise_floor : 0;
}

void take_baseline(ChecklistFacts& f, double perplexity, double error) {
  if (f.baseline > 0 || !std::isfinite(perplexity) || perplexity <= 0)
    return;
  f.baseline = perplexity;
  f.baseline_stderr = std::isfinite(error) ? error : 0;
}

bool measured(const CompareResult& model) {
  return model.tokens > 0 && std::isfinite(model.perplexity);
}

void take_figures(const ChecklistSources& s, ChecklistFacts& f) {
  if (s.compare) {
    take_baseline(f, s.compare->reference_perplexity, s.compare->reference_stderr);
    for (const CompareResult& model : s.compare->models) {
      if (measured(model) && same_path(model.path, s.result))
        take_model(f, model, *s.compare);
      else
        f.figures_of_older = f.figures_of_older || measured(model);
    }
  }
  if (!s.variants)
    return;
  for (const SessionVariant& variant : *s.variants) {
    if (!variant.figures || !measured(*variant.figures))
      continue;
    take_baseline(f, variant.figures->reference_perplexity, 0);
    if (same_path(variant.result, s.result)) {
      CompareReport report;
      report.noise_floor = variant.noise_floor;
      report.reference_perplexity = variant.figures->reference_perplexity;
      if (!f.figures_of_result)
        take_model(f, *variant.figures, report);
    } else if (!variant.baseline) {
      f.figures_of_older = true;
    }
  }
}

/// The rate of generation of one sequence at the shortest length; NaN when there is none.
double rate_of(const Json& model) {
  double rate = std::nan("");
  double best_batch = 1e18, best_context = 1e18;
  for (const Json& point : lenient::list(model, "points")) {
    const double batch = lenient::number(point, "batch", 1);
    const double context = lenient::number(point, "context", 0);
    double found = lenient::number(lenient::member(point, "tokens_per_second"), "median");
    if (std::isnan(found))
      found = lenient::number(lenient::member(point, "rate"), "median");
    if (std::isnan(found) || batch > best_batch || (batch == best_batch && context > best_context))
      continue;
    best_batch = batch;
    best_context = context;
    rate = found;
  }
  return rate;
}

double memory_of(const Json& model) {
  for (const char* key : {"steady_bytes", "loaded_bytes", "bytes"})
    if (const double bytes = lenient::number(model, key, 0); bytes > 0)
      return bytes;
  return 0;
}

void take_speed(const ChecklistSources& s, ChecklistFacts& f) {
  const Json *original = nullptr, *result = nullptr;
  for (const Json& model : lenient::list(s.speed, "models")) {
    const bool measured = std::isfinite(rate_of(model)) || memory_of(model) > 0;
    const std::string path = lenient::text(model, "path");
    if (!measured || lenient::list(model, "points").empty())
      continue;
    if (same_path(path, s.checkpoint))
      original = &model;
    else if (same_path(path, s.result))
      result = &model;
    else
      f.speed_of_older = true;
  }
  f.speed_of_original = original != nullptr;
  f.speed_of_result = result != nullptr;
  if (!original || !result)
    return;
  char text[160] = "";
  const double before = rate_of(*original), after = rate_of(*result);
  constexpr double mib = 1048576;
  if (std::isfinite(before) && std::isfinite(after))
    std::snprintf(text, sizeof text, "%.3g to %.3g tok/s, %.3g to %.3g MiB in memory", before,
                  after, memory_of(*original) / mib, memory_of(*result) / mib);
  else
    std::snprintf(text, sizeof text, "%.3g to %.3g MiB in memory", memory_of(*original) / mib,
                  memory_of(*result) / mib);
  f.speed = text;
}

void take_prompts(const ChecklistSources& s, ChecklistFacts& f) {
  static const std::vector<Transcript> none;
  for (const Transcript& transcript : s.transcripts ? *s.transcripts : none) {
    const TranscriptSide* result = nullptr;
    for (const TranscriptSide& side : transcript.sides)
      if (same_path(side.path, s.result) && side.problem.empty())
        result = &side;
    if (!result || transcript.sides.size() < 2)
      continue;
    ++f.prompts_run;
    f.prompts_same += transcript.sides.front().text == result->text;
  }
  if (!s.desks)
    return;
  for (const Desk& desk : *s.desks) {
    const auto identical = std::int64_t(desk.items().size() - desk.asked());
    if (!desk.unsealed()) { // whose, is not known yet
      f.judged_sealed += std::int64_t(desk.answered()) + identical;
      continue;
    }
    for (const DeskPairResult& pair : desk_result(desk).pairs) {
      const auto is_result = [&](std::size_t model) {
        return same_path(desk.models()[model].path, s.result);
      };
      if (!is_result(pair.models.a) && !is_result(pair.models.b)) {
        f.judged_older += pair.counts.judged();
        continue;
      }
      f.judged += pair.counts.judged();
      f.votes = std::to_string(pair.counts.judged()) + " judged: " + pair.verdict;
    }
  }
}

} // namespace

ChecklistFacts checklist_facts(const ChecklistSources& sources) {
  ChecklistFacts out;
  out.model = sources.model;
  take_plan(sources, out);
  take_calibration(sources, out);
  take_result(sources, out);
  take_figures(sources, out);
  take_speed(sources, out);
  take_prompts(sources, out);
  if (same_path(sources.evidence.result, sources.result))
    for (const EvidenceRecord::Export& each : sources.evidence.exports) {
      ++out.exported;
      out.verified += each.verified && each.ok;
      out.verify_failed += each.verified && !each.ok;
    }
  return out;
}

OrderedJson evidence_to_json(const EvidenceRecord& record) {
  OrderedJson out{{"plan_reviewed", record.plan_reviewed},
                  {"result", record.result},
                  {"exports", OrderedJson::array()}};
  for (const EvidenceRecord::Export& each : record.exports)
    out["exports"].push_back({{"path", each.path}, {"verified", each.verified}, {"ok", each.ok}});
  return out;
}

EvidenceRecord evidence_from_json(const Json& json) {
  EvidenceRecord out;
  out.plan_reviewed = lenient::flag(json, "plan_reviewed");
  out.result = lenient::text(json, "result");
  for (const Json& each : lenient::list(json, "exports"))
    if (std::string path = lenient::text(each, "path"); !path.empty())
      out.exports.push_back(
          {std::move(path), lenient::flag(each, "verified"), lenient::flag(each, "ok")});
  return out;
}

} // namespace bitlathe
