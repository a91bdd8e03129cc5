// SPDX-License-Identifier: Apache-2.0
// Curves: every module in every scheme, alone in the original. Codes are made in memory, one
// module at a time.
#include "core/eval/attribute_run.h"

#include "core/job/coding.h"
#include "core/model/assemble.h"
#include "core/recipe/plan.h"

#include <algorithm>
#include <cmath>

namespace bitlathe {

namespace {

/// A module to be coded, in what each scheme says of it.
struct CurveJob {
  std::size_t module = 0;
  std::vector<std::size_t> exchanged;        ///< with a tied head, when it is the embedding
  std::int64_t first = 0;                    ///< block
  std::vector<const PlannedModule*> planned; ///< by scheme; null: left out
  bool measured = true;
};

class Curves {
 public:
  explicit Curves(AttributionRun& run) : run_(run), model_(run.reference) {}

  Result<void> plan() {
    const Method* method = find_method(run_.options.method);
    if (!method) {
      std::string known;
      for (const Method* m : all_methods())
        known += (known.empty() ? "" : ", ") + std::string(m->id);
      return Error{
          "bad-argument", "Unknown method \"" + run_.options.method + "\"; known: " + known, {}};
    }
    if (method->calibrated)
      return Error{"unsupported",
                   "The method " + std::string(method->id) +
                       " needs calibration and codes a block at a time: quantize a candidate with "
                       "it and attribute that",
                   {}};
    for (const std::string& scheme : run_.options.schemes) {
      TRY_ASSIGN(Plan plan, plan_for(scheme, *method));
      plans_.push_back(std::move(plan));
    }
    return make_jobs();
  }

  std::uint64_t work() const {
    std::uint64_t out = 0;
    for (const CurveJob& job : jobs_)
      for (const PlannedModule* planned : job.planned)
        out += planned && job.measured ? run_.work(job.first) : 0;
    return out +
           (predicts() ? fisher_work(run_.text, model_.spec->layers, run_.options.samples) : 0);
  }

  Result<void> run() {
    start_curves();
    for (const CurveJob& job : jobs_)
      if (job.measured)
        TRY(measure(job));
    return predicts() ? predict() : Result<void>();
  }

 private:
  bool predicts() const { return run_.options.predict || run_.options.measured_share < 1; }

  Result<Plan> plan_for(const std::string& scheme, const Method& method) {
    Recipe recipe;
    recipe.default_scheme = scheme;
    recipe.default_method = run_.options.method;
    recipe.activations = "none";
    if (auto parsed = parse_scheme(scheme)) {
      const std::string why = method.declines(*parsed);
      if (!parsed->quantized)
        return Error{"bad-argument", "\"" + scheme + "\" is no quantized scheme", {}};
      if (!why.empty())
        return Error{"unsupported",
                     "The method " + std::string(method.id) + " cannot make " + scheme + ": " + why,
                     {}};
      // Embedding and head are kept unless a rule names them, and here they are asked about.
      for (const Module& module : model_.modules)
        if ((module.role == "embedding" || module.role == "lm_head") && !module.tied_to_embedding)
          recipe.rules.push_back({module.name, scheme, run_.options.method});
    }
    return make_plan(model_, recipe, true);
  }

  Result<void> make_jobs() {
    std::map<std::string, std::vector<std::size_t>> by_role;
    for (std::size_t i = 0; i < model_.modules.size(); ++i) {
      const Module& module = model_.modules[i];
      if (module.part.empty() || module.weight.rows <= 1 || module.tied_to_embedding)
        continue;
      TRY_ASSIGN(const bool asked, run_.wanted(module.name));
      CurveJob job;
      job.module = i;
      job.exchanged = {i};
      job.first = module.layer >= 0       ? module.layer
                  : module.part == "head" ? model_.spec->layers
                                          : 0;
      bool any = false;
      for (const Plan& plan : plans_) {
        const PlannedModule& planned = plan.modules[i];
        job.planned.push_back(planned.quantize ? &planned : nullptr);
        any = any || planned.quantize;
      }
      if (!asked || !any)
        continue;
      if (module.part == "embedding")
        for (std::size_t h = 0; h < model_.modules.size(); ++h)
          if (model_.modules[h].tied_to_embedding)
            job.exchanged.push_back(h);
      by_role[module.role].push_back(jobs_.size());
      jobs_.push_back(std::move(job));
    }
    if (jobs_.empty())
      return Error{"bad-argument", "No module can be stored in one of these schemes", {}};
    for (const auto& [role, jobs] : by_role) {
      const auto measured = spread(jobs.size(), run_.options.measured_share);
      for (std::size_t i = 0; i < jobs.size(); ++i)
        jobs_[jobs[i]].measured = measured[i];
    }
    return {};
  }

  void start_curves() {
    auto& curves = run_.report.curves;
    for (CurveJob& job : jobs_) {
      const Module& module = model_.modules[job.module];
      ModuleCurve curve;
      curve.name = module.name;
      curve.role = module.role;
      curve.layer = module.layer;
      curve.parameters = module.weight.rows * module.weight.cols;
      curve.bytes = module.weight.bytes();
      for (std::size_t s = 0; s < plans_.size(); ++s) {
        const PlannedModule* planned = job.planned[s];
        if (!planned) {
          run_.report.notes.push_back(module.name + " is not measured in " +
                                      run_.options.schemes[s] + ": " +
                                      plans_[s].modules[job.module].reason);
          continue;
        }
        CurvePoint point;
        point.scheme = planned->scheme.id;
        point.method = planned->method;
        if (point.scheme != run_.options.schemes[s])
          point.asked = run_.options.schemes[s];
        take_known(curve.name, point);
        curve.points.push_back(std::move(point));
      }
      curves.push_back(std::move(curve));
    }
    std::stable_sort(jobs_.begin(), jobs_.end(),
                     [](const CurveJob& a, const CurveJob& b) { return a.first > b.first; });
  }

  void take_known(const std::string& name, CurvePoint& point) const {
    const AttributionReport* known = run_.options.known;
    if (!known || known->reference_signature != run_.report.reference_signature ||
        known->text_signature != run_.report.text_signature)
      return;
    if (const ModuleCurve* curve = known->curve(name))
      for (const CurvePoint& other : curve->points)
        if (other.scheme == point.scheme && other.method == point.method && other.measured) {
          const std::string asked = point.asked;
          point = other;
          point.asked = asked;
          point.predicted = {};
          point.kept = true;
        }
  }

  ModuleCurve& curve_of(const CurveJob& job) {
    for (ModuleCurve& curve : run_.report.curves)
      if (curve.name == model_.modules[job.module].name)
        return curve;
    assert(false);
    return run_.report.curves.front();
  }

  /// The module as the scheme stores it, with the sizes and the error of what is stored.
  Result<std::shared_ptr<Module>> coded(const CurveJob& job, const PlannedModule& planned,
                                        CurvePoint* point) {
    const Module& module = model_.modules[job.module];
    TRY_ASSIGN(const SourceWeight source, source_weight(module, run_.compute, run_.feedback));
    const Method* method = find_method(planned.method);
    TRY_ASSIGN(MethodOutput output, method->quantize({.weight = source.view,
                                                      .scheme = planned.scheme,
                                                      .params = planned.params,
                                                      .importance = {},
                                                      .compute = run_.compute,
                                                      .feedback = run_.feedback,
                                                      .where = planned.name,
                                                      .part = module.part}));
    if (point) {
      TRY_ASSIGN(const ErrorSums sums,
                 run_.compute.error(source.view, output.tensor.view(), &run_.feedback));
      point->weight_error = sums.sum_sq_ref > 0 ? sums.sum_sq_error / sums.sum_sq_ref : 0;
      point->bytes = output.tensor.bytes();
      point->bits = 8.0 * double(point->bytes) / double(module.weight.rows * module.weight.cols);
    }
    auto out = std::make_shared<Module>();
    out->name = module.name;
    out->shape = module.shape;
    out->bias = view_of(module.bias);
    out->weight = std::move(output.tensor);
    return out;
  }

  Result<void> measure(const CurveJob& job) {
    ModuleCurve& curve = curve_of(job);
    Hybrid hybrid(model_);
    std::size_t p = 0;
    for (const PlannedModule* planned : job.planned) {
      if (!planned)
        continue;
      CurvePoint& point = curve.points[p++];
      if (point.measured) {
        run_.feedback.advance(run_.work(job.first));
        continue;
      }
      const std::string step = curve.name + " in " + point.scheme;
      const auto outcome = [&]() -> Result<void> {
        TRY_ASSIGN(const auto other, coded(job, *planned, &point));
        for (const std::size_t i : job.exchanged)
          hybrid.put(i, *other);
        TRY_ASSIGN(const Exchanged exchanged,
                   run_.original->load(hybrid.checkpoint(), job.exchanged, {}));
        TRY_ASSIGN(const TokenScores scores,
                   run_.measure(*run_.original, exchanged, job.first, step));
        point.measured = scores.figures();
        return {};
      }();
      if (!outcome && outcome.error().cancelled())
        return outcome.error();
      if (!outcome)
        point.problem = outcome.error().text();
      run_.changed();
    }
    return {};
  }

  Result<void> predict() {
    const double begin = seconds_now();
    struct Entry {
      const CurveJob* job;
      const PlannedModule* planned;
      CurvePoint* point;
      const ModuleCurve* curve;
    };
    std::vector<Entry> entries;
    for (const CurveJob& job : jobs_) {
      ModuleCurve& curve = curve_of(job);
      std::size_t p = 0;
      for (const PlannedModule* planned : job.planned)
        if (planned)
          entries.push_back({&job, planned, &curve.points[p++], &curve});
    }
    const ChangesOfLayer changes = [&](int layer) -> Result<std::vector<WeightChange>> {
      std::vector<WeightChange> out;
      for (std::size_t e = 0; e < entries.size(); ++e) {
        if (model_.modules[entries[e].job->module].layer != layer)
          continue;
        auto made = coded(*entries[e].job, *entries[e].planned, entries[e].point);
        if (!made && made.error().cancelled())
          return made.error();
        if (!made) {
          entries[e].point->problem = made.error().text();
          continue;
        }
        for (const std::size_t i : entries[e].job->exchanged)
          out.push_back({e, i, *made});
      }
      return out;
    };
    TRY_ASSIGN(const auto figures,
               fisher_divergence(*run_.original, *run_.logits, run_.text, entries.size(), changes,
                                 run_.options.samples, run_.options.seed, run_.compute,
                                 run_.feedback));
    std::vector<PredictedCase> cases;
    for (std::size_t e = 0; e < entries.size(); ++e) {
      if (entries[e].point->problem.empty())
        entries[e].point->predicted = figures[e];
      cases.push_back(
          {entries[e].curve->role, &entries[e].point->predicted, &entries[e].point->measured});
    }
    run_.report.prediction = fit_predictions(cases, std::max(run_.report.noise_floor, 0.0));
    run_.report.prediction.seconds = seconds_now() - begin;
    run_.changed();
    return {};
  }

  AttributionRun& run_;
  const Checkpoint& model_;
  std::vector<Plan> plans_;    ///< by scheme
  std::vector<CurveJob> jobs_; ///< cheapest first
};

} // namespace

Result<std::uint64_t> curve_work(AttributionRun& run) {
  Curves curves(run);
  TRY(curves.plan());
  return curves.work();
}

Result<void> run_curves(AttributionRun& run) {
  Curves curves(run);
  TRY(curves.plan());
  return curves.run();
}

} // namespace bitlathe
