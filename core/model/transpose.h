// SPDX-License-Identifier: Apache-2.0
// Matrices that Hugging Face folders store as [in, out] (GPT-2's Conv1D), turned to the canonical
// [out, in] and back.
#pragma once

#include "core/schemes/scheme.h"

namespace bitlathe {

/// A float weight with rows and columns exchanged, in memory of its own.
QTensor transposed(const QTensor& weight);
/// Any weight decoded to a float type, with rows and columns exchanged.
std::vector<std::byte> transposed_values(const QTensor& weight, FloatType type);

} // namespace bitlathe
