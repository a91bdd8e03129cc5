// SPDX-License-Identifier: Apache-2.0
// The quantization_config of compressed-tensors: one group of settings per kind of module.
#pragma once

#include "core/model/checkpoint.h"

namespace bitlathe {

/// Columns per group as the format stores them; 0 = one scale per channel. A group that spans a
/// whole row is a channel.
std::int64_t compressed_group(const QTensor& weight);

/// For config.json, of a model whose quantized modules are all of the "int" family.
Json compressed_config(const Checkpoint& model);

} // namespace bitlathe
