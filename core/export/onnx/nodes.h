// SPDX-License-Identifier: Apache-2.0
// Looking around in an ONNX graph that was read: who makes a value, what a node says. Internal to
// core/export/onnx.
#pragma once

#include "core/export/onnx/read.h"

#include <optional>

namespace bitlathe {

/// "model.layers.3.mlp.up_proj" -> "/model/layers.3/mlp/up_proj": how PyTorch's exporter names the
/// nodes of a module, and so do we.
std::string onnx_scope(const std::string& module);

std::int64_t whole_attribute(const onnx::NodeProto& node, const char* name, std::int64_t otherwise);

class OnnxNodes {
 public:
  /// `model` must outlive this.
  explicit OnnxNodes(const OnnxModel& model);

  const OnnxModel& model() const { return model_; }
  /// The node that makes a value; nullptr for inputs and initializers.
  const onnx::NodeProto* maker(const std::string& value) const;
  /// The only node of that type that takes a value, or nullptr.
  const onnx::NodeProto* taker(const std::string& value, const char* op) const;
  /// The weight behind input `i` of a node, through Identity and Cast; nullptr: it is computed.
  const OnnxTensor* weight(const onnx::NodeProto& node, int i) const;
  const OnnxTensor* weight(const std::string& value) const;
  /// Nodes of a module itself, not of modules below it.
  std::vector<const onnx::NodeProto*> of_module(const std::string& module) const;

 private:
  const OnnxModel& model_;
  std::map<std::string, const onnx::NodeProto*> makers_;
  std::multimap<std::string, const onnx::NodeProto*> takers_;
  std::multimap<std::string, const onnx::NodeProto*> by_scope_;
};

/// A matrix of the graph as values, whatever operator it goes into: row r gives output r.
struct OnnxMatrix {
  std::int64_t rows = 0, cols = 0;
  bool quantized = false;
  bool floats = false;   ///< its values are stored as they are, in `type`
  std::int32_t type = 0; ///< of the stored values or codes
  /// Decodes rows [first, first + count).
  std::function<void(std::int64_t first, std::int64_t count, float* out)> decode;
  std::string inputs = "none"; ///< "int8-token-dynamic", "int8-tensor-static"
  float input_scale = 0;
};
/// Of MatMul, Gemm, MatMulInteger, MatMulNBits, MatMulBnb4 and of Gather from a table. Errors:
/// "bad-file" when its tensors do not fit the operator, "unsupported" when they are computed.
Result<OnnxMatrix> onnx_matrix(const OnnxNodes& nodes, const onnx::NodeProto& node);
/// A table of codes that rows are gathered from, by the names that this program gives its parts.
Result<OnnxMatrix> onnx_block_table(const OnnxModel& model, const std::string& stem,
                                    std::int64_t cols);
/// A value of a float tensor.
float onnx_float(const OnnxTensor& tensor, std::int64_t index);
bool is_onnx_float(const OnnxTensor& tensor);

} // namespace bitlathe
