// SPDX-License-Identifier: Apache-2.0
// Masks and rotary positions of a decoder graph: what all of its layers share. Internal to
// core/export/onnx.
#pragma once

#include "core/export/onnx/graph.h"
#include "core/model/spec.h"

namespace bitlathe {

/// The inputs that say where tokens stand.
struct OnnxInputs {
  OnnxGraph::Value ids, mask, positions;
};

/// Cosines and sines [B, 1, S, dims / 2] of the positions of a call.
struct OnnxRotation {
  std::int64_t dims = 0;
  OnnxGraph::Value cos, sin;
};
OnnxRotation add_onnx_rotation(OnnxGraph& graph, const OnnxInputs& inputs, const RopeSpec& rope);
/// Turns the first dims values of heads [B, heads, S, head_dim].
OnnxGraph::Value turn_heads(OnnxGraph& graph, const OnnxRotation& rotation,
                            const OnnxGraph::Value& x, std::int64_t head_dim);

/// What attention may look at, as numbers to be added to scores: [B, 1, S, T] with 0 or the lowest
/// float, by window (0: everything before).
class OnnxMasks {
 public:
  OnnxMasks(OnnxGraph& graph, const OnnxInputs& inputs) : graph_(graph), inputs_(inputs) {}
  OnnxGraph::Value of_window(std::int64_t window);
  /// A shape for Reshape that ends with the number of keys: {first..., T}.
  OnnxGraph::Value shape_with_keys(const std::vector<std::int64_t>& first);

 private:
  OnnxGraph& graph_;
  const OnnxInputs& inputs_;
  OnnxGraph::Value keys_, queries_, padding_, total_;
  std::map<std::int64_t, OnnxGraph::Value> made_;
  std::map<std::vector<std::int64_t>, OnnxGraph::Value> shapes_;
};

} // namespace bitlathe
