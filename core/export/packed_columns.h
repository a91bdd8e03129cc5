// SPDX-License-Identifier: Apache-2.0
// What GPTQ and AWQ exports share: integer weights as tensors of 32-bit words with the inputs as
// rows, made a piece at a time when they are written.
#pragma once

#include "core/export/tensors.h"

namespace bitlathe {

/// GPTQ's "qweight", I32 [in * bits / 32, out]: a column is the dense stream of an output's codes,
/// in the order of the weight's columns whatever order they stand in. `in` divides by 32. Like
/// all of these, the weight must stay alive until written.
TensorToWrite gptq_codes(std::string name, const QTensor& weight);
/// "qzeros", I32 [groups, out * bits / 32]: rows are dense streams of zero points, less one in
/// each field if asked for.
TensorToWrite gptq_zeros(std::string name, const QTensor& weight, bool minus_one);
/// "g_idx", I32 [in]: the group of every column.
TensorToWrite group_index(std::string name, const QTensor& weight);

/// AWQ's "qweight", I32 [in, out / 8], eight outputs of 4 bits interleaved in a word.
TensorToWrite awq_codes(std::string name, const QTensor& weight);
/// "qzeros", I32 [groups, out / 8], packed in the same way.
TensorToWrite awq_zeros(std::string name, const QTensor& weight);

/// "scales" [groups, out], in the type that they have. One scale for all is repeated.
TensorToWrite scales_by_group(std::string name, const QTensor& weight);

/// Loaders that run in another type than f16 round the scales to it: a note for vLLM.
void examine_scale_type(const Checkpoint& model, std::vector<Finding>& findings);

/// Columns of a group as these formats have it: 0 for whole rows, and for groups that are longer.
std::int64_t packed_group(const Scheme& scheme, std::int64_t cols);
std::int64_t packed_groups(const QTensor& weight);

} // namespace bitlathe
