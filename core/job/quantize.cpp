// SPDX-License-Identifier: Apache-2.0
#include "core/job/quantize.h"

#include "core/job/coding.h"
#include "core/job/static_scales.h"

#include <chrono>

namespace bitlathe {

namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

class QuantizeJob {
 public:
  QuantizeJob(const Checkpoint& checkpoint, const Plan& plan, Compute& compute,
              const QuantizeOptions& options, Feedback& feedback)
      : checkpoint_(checkpoint), plan_(plan), compute_(compute), options_(options),
        feedback_(feedback) {}

  Result<QuantizeSummary> run() {
    const auto start = Clock::now();
    assert(plan_.modules.size() == checkpoint_.modules.size());
    TRY(check_static_scales(checkpoint_, plan_, options_));
    std::uint64_t total = 0;
    for (const PlannedModule& planned : plan_.modules)
      total += planned.quantize || planned.convert ? planned.bytes_before : 0;
    feedback_.done = 0;
    feedback_.total = total;
    TRY_ASSIGN(writer_, ResultWriter::create(options_.result_folder, checkpoint_, plan_));
    if (calibrates(plan_)) {
      TRY_ASSIGN(summary_.modules, run_calibrated(checkpoint_, plan_, compute_, options_, *writer_,
                                                  summary_.notes, feedback_));
    } else {
      for (std::size_t i = 0; i < plan_.modules.size(); ++i) {
        if (feedback_.stopped())
          return cancelled_error();
        TRY(run_module(plan_.modules[i], checkpoint_.modules[i]));
      }
    }
    summary_.bytes_before = plan_.bytes_before;
    summary_.bytes_after = plan_.bytes_after;
    summary_.bits_per_weight = plan_.bits_per_weight;
    summary_.bits_per_quantized_weight = plan_.bits_per_quantized_weight;
    summary_.backend = compute_.device().backend + " (" + compute_.device().name + ")";
    summary_.notes.insert(summary_.notes.end(), plan_.notes.begin(), plan_.notes.end());
    for (const std::string& note : compute_.notes())
      summary_.notes.push_back(note);
    summary_.calibration = calibration();
    summary_.seconds = seconds_since(start);
    TRY(writer_->finish(summary_));
    if (auto added = add_activation_settings(checkpoint_, plan_, compute_, options_, *writer_,
                                             summary_, feedback_);
        !added) {
      std::error_code ignored;
      fs::remove_all(options_.result_folder, ignored);
      return added.error();
    }
    return std::move(summary_);
  }

 private:
  /// The text that codes and scales depend on.
  CalibrationRecord calibration() const {
    if (options_.samples && !options_.samples->empty())
      return make_record(plan_.recipe.calibration_files, *options_.samples);
    if (!options_.statistics)
      return {};
    CalibrationRecord record = options_.statistics->record;
    if (record.sources.empty() && record.windows > 0) // just collected, by this recipe
      record.sources = make_record(plan_.recipe.calibration_files, {}).sources;
    return record;
  }

  Result<void> run_module(const PlannedModule& planned, const Module& module) {
    const auto start = Clock::now();
    ModuleResult result = planned_result(planned);
    if (planned.quantize || planned.convert) {
      feedback_.set_step(planned.name);
      TRY_ASSIGN(const SourceWeight source, source_weight(module, compute_, feedback_));
      auto coded = code(planned, module.part, source.view);
      if (!coded) {
        Error error = coded.error();
        if (error.where == planned.name) // name the file too
          error.where += " of " + checkpoint_.path.string();
        return error;
      }
      MethodOutput output = std::move(*coded);
      summary_.notes.insert(summary_.notes.end(), output.notes.begin(), output.notes.end());
      TRY(measure(source.view, output.tensor, compute_, feedback_, result));
      result.notes = std::move(output.notes);
      if (output.weighted)
        result.reason += "; weighted by importance";
      result.seconds = seconds_since(start);
      TRY(writer_->add(planned, output.tensor, result));
      feedback_.advance(planned.bytes_before);
    }
    summary_.modules.push_back(result);
    if (options_.on_module)
      options_.on_module(result);
    return {};
  }

  Result<MethodOutput> code(const PlannedModule& planned, std::string_view part,
                            const FloatView& weight) {
    if (planned.convert)
      return convert(weight, planned.scheme, planned.name);
    const Method* method = find_method(planned.method);
    std::vector<float> importance;
    if (options_.statistics && method->uses_importance) {
      const auto it = options_.statistics->modules.find(planned.name);
      if (it == options_.statistics->modules.end())
        summary_.notes.push_back(planned.name +
                                 ": no activation statistics; coded without importance");
      else
        importance = it->second.importance();
      if (!importance.empty() && std::int64_t(importance.size()) != weight.cols)
        return Error{"mismatch",
                     "The activation statistics have " + std::to_string(importance.size()) +
                         " columns, the weight has " + std::to_string(weight.cols),
                     planned.name};
    }
    return method->quantize({.weight = weight,
                             .scheme = planned.scheme,
                             .params = planned.params,
                             .observer = plan_.recipe.observer,
                             .importance = importance,
                             .compute = compute_,
                             .feedback = feedback_,
                             .where = planned.name,
                             .part = part,
                             .seed = plan_.recipe.seed});
  }

  const Checkpoint& checkpoint_;
  const Plan& plan_;
  Compute& compute_;
  const QuantizeOptions& options_;
  Feedback& feedback_;
  std::unique_ptr<ResultWriter> writer_;
  QuantizeSummary summary_;
};

} // namespace

bool calibrates(const Plan& plan) {
  for (const PlannedModule& planned : plan.modules)
    if (planned.quantize && find_method(planned.method)->calibrated)
      return true;
  return false;
}

Result<QuantizeSummary> run_quantize(const Checkpoint& checkpoint, const Plan& plan,
                                     Compute& compute, const QuantizeOptions& options,
                                     Feedback& feedback) {
  start_memory_watch();
  return QuantizeJob(checkpoint, plan, compute, options, feedback).run();
}

} // namespace bitlathe
