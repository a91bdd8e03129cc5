// SPDX-License-Identifier: Apache-2.0
// Checks of ONNX files of any origin. Internal to core/export.
#pragma once

#include "core/export/exporter.h"
#include "core/export/onnx/nodes.h"

namespace bitlathe {

/// The .onnx file that a path means: itself, or the one in a folder. Empty: there is none.
fs::path find_onnx(const fs::path& path);

/// What ONNX Runtime checks when it loads a model, and what programs that run decoders expect.
std::vector<VerifyCheck> check_onnx(const OnnxModel& model);

/// Nodes against ONNX's own description of its operators, for opsets that the library knows.
VerifyCheck check_onnx_operators(const OnnxModel& model);

/// A file of this program against the graph that it makes of the checkpoint, where that is in the
/// same form: nothing may differ.
Result<VerifyCheck> check_onnx_graph(const OnnxModel& model, const Checkpoint& against);

/// Every weight of the checkpoint against the graph's: codes and scales of a quantized one and
/// values of a float one that is stored as floats exactly; else what rounding costs.
Result<void> compare_onnx(const OnnxModel& model, const Checkpoint& against, Feedback& feedback,
                          VerifyReport& report);

/// Numbers that are none, in float weights and scales.
Result<VerifyCheck> check_onnx_finite(const OnnxModel& model, Feedback& feedback);

} // namespace bitlathe
