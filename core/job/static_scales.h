// SPDX-License-Identifier: Apache-2.0
// The part of the main job that makes static scales and thresholds of activation schemes. Internal
// to core/job.
#pragma once

#include "core/calib/ranges.h"
#include "core/job/quantize.h"
#include "core/job/result_store.h"

namespace bitlathe {

/// Error when a plan asks for static scales and there is nothing to calibrate them with: asked
/// before any work.
Result<void> check_static_scales(const Checkpoint& checkpoint, const Plan& plan,
                                 const QuantizeOptions& options);

/// Runs after the result was finished once: with calibration text on the coded model, so that the
/// scales fit inputs that methods have changed; else from the given statistics. Puts what it finds
/// into the summary and finishes the result again.
Result<void> add_activation_settings(const Checkpoint& checkpoint, const Plan& plan,
                                     Compute& compute, const QuantizeOptions& options,
                                     ResultWriter& writer, QuantizeSummary& summary,
                                     Feedback& feedback);

} // namespace bitlathe
