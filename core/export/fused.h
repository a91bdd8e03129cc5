// SPDX-License-Identifier: Apache-2.0
// Matrices that a runtime joins when it loads a model: the parts must be stored alike.
#pragma once

#include "core/export/exporter.h"

namespace bitlathe {

/// The matrix that a module becomes a part of, "model.layers.0.self_attn q, k, v"; empty: none.
std::string joined_matrix(const Module& module);

/// vLLM runs q, k and v as one matrix, and gate and up as one: a warning for it that names where
/// the parts differ in scheme, activations or order of columns.
void examine_fused(const std::vector<ExportModule>& modules, std::vector<Finding>& findings);

} // namespace bitlathe
