// SPDX-License-Identifier: Apache-2.0
// Steps of the main job that the plain and the calibrated run share. Internal to core/job.
#pragma once

#include "core/job/quantize.h"
#include "core/job/result_store.h"
#include "core/methods/method.h"
#include "core/schemes/deferred.h"

namespace bitlathe {

/// The weight of a module as floats: the map itself, or decoded when the source is packed.
struct SourceWeight {
  FloatView view;
  std::vector<float> decoded;
  std::unique_ptr<QTensor> turned; ///< by rows, when the source is stored by columns
  WeightUse use;                   ///< of the source, where the view is of it
};
Result<SourceWeight> source_weight(const Module& module, Compute& compute, Feedback& feedback);

/// A change of float type only. Values that overflow are an error.
Result<MethodOutput> convert(const FloatView& weight, const Scheme& scheme,
                             const std::string& where);

/// What the plan says of a module, without figures.
ModuleResult planned_result(const PlannedModule& planned);

/// The error figures of what is stored.
Result<void> measure(const FloatView& weight, const QTensor& stored, Compute& compute,
                     Feedback& feedback, ModuleResult& result);

/// A job that calibrates, block by block: results in the order of the plan.
Result<std::vector<ModuleResult>> run_calibrated(const Checkpoint& checkpoint, const Plan& plan,
                                                 Compute& compute, const QuantizeOptions& options,
                                                 ResultWriter& writer,
                                                 std::vector<std::string>& notes,
                                                 Feedback& feedback);

} // namespace bitlathe
