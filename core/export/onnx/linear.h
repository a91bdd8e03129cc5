// SPDX-License-Identifier: Apache-2.0
// Products and look-ups with a weight in any scheme that ONNX Runtime has operators for. Internal
// to core/export/onnx.
#pragma once

#include "core/export/onnx/graph.h"
#include "core/model/checkpoint.h"

namespace bitlathe {

/// Why a linear, or a table that rows are taken from, cannot be expressed, with the nearest scheme
/// that can; empty when it can.
std::string onnx_linear_problem(const Scheme& scheme, const std::string& activations,
                                std::int64_t rows, std::int64_t cols);
std::string onnx_table_problem(const Scheme& scheme, bool reordered, std::int64_t rows,
                               std::int64_t cols);

/// What one linear multiplies with.
struct OnnxLinear {
  const QTensor& weight;
  std::string stem;      ///< of the names of what is stored
  bool as_table = false; ///< the same tensors serve add_onnx_table: a head tied to the embedding
  std::string activations = "none";
  const float* activation_scale = nullptr; ///< of static activations
  OnnxGraph::Value grid_ends = {};         ///< of dynamic ones
};
/// For every token of [B, S] the lowest and the highest number of int8 where 127 stands for 1.
OnnxGraph::Value add_onnx_grid_ends(OnnxGraph& graph, const OnnxGraph::Value& tokens);
/// x [.., in] -> [.., out], without a bias.
OnnxGraph::Value add_onnx_linear(OnnxGraph& graph, const OnnxLinear& linear,
                                 const OnnxGraph::Value& x);
/// Rows of a table as f32: indices [B, S] -> [B, S, cols].
OnnxGraph::Value add_onnx_table(OnnxGraph& graph, const std::string& stem, const QTensor& weight,
                                const OnnxGraph::Value& indices);
/// A vector (a bias, a norm) as f32.
OnnxGraph::Value add_onnx_vector(OnnxGraph& graph, const std::string& name, const QTensor& weight);

} // namespace bitlathe
