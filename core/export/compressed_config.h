// SPDX-License-Identifier: Apache-2.0
// The quantization_config of compressed-tensors: one group of settings per kind of module.
#pragma once

#include "core/model/checkpoint.h"

namespace bitlathe {

/// Columns per group as the format stores them; 0 = one scale per channel. A group that spans a
/// whole row is a channel.
std::int64_t compressed_group(const QTensor& weight);

/// nvfp4 blocks, with or without a factor of the weight.
bool is_nvfp4(const Scheme& scheme);

/// Whether keys and values are f8 with calibrated scales, which the format has a place for.
bool holds_kv_scales(const Checkpoint& model);
/// "model.layers.3.self_attn": what the scales of a layer's keys and values are named after.
std::string attention_name(const Checkpoint& model, int layer);

/// For config.json, of a model that `examine` did not refuse.
Json compressed_config(const Checkpoint& model);

} // namespace bitlathe
