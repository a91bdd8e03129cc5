// SPDX-License-Identifier: Apache-2.0
// The graph of a decoder with a KV cache, from ModelSpec and the parts of its layers.
#pragma once

#include "core/export/onnx/graph.h"
#include "core/model/checkpoint.h"

namespace bitlathe {

/// Inputs input_ids, attention_mask, position_ids, past_key_values.N.key and .value; outputs logits
/// and present.N.key and .value. The checkpoint must stay alive until the weights are written.
/// Errors: "bad-file" when a part is missing.
Result<OnnxGraph> make_onnx_decoder(const Checkpoint& model);

} // namespace bitlathe
