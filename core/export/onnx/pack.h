// SPDX-License-Identifier: Apache-2.0
// Canonical weights as the tensors that ONNX operators take. Nothing is read before it is written;
// the tensors must stay alive until then. Internal to core/export/onnx.
#pragma once

#include "core/export/onnx/graph.h"
#include "core/schemes/scheme.h"

namespace bitlathe {

/// FLOAT, FLOAT16 or BFLOAT16.
std::int32_t onnx_type(FloatType type);

/// Float values as they are, row by row.
OnnxWeight onnx_values(std::string name, std::vector<std::int64_t> dims, const QTensor& weight);
/// Float values as [cols][rows], the right side of a MatMul.
OnnxWeight onnx_transposed(std::string name, const QTensor& weight);

/// Codes of 8 bits as [cols][rows]: INT8 for symmetric schemes, else UINT8.
OnnxWeight onnx_codes_transposed(std::string name, const QTensor& weight);
/// One f32 scale, and one zero point, per row of the weight.
OnnxWeight onnx_row_scales(std::string name, const QTensor& weight);
OnnxWeight onnx_row_zeros(std::string name, const QTensor& weight);

/// What MatMulNBits takes: blocks of a power of two of columns, each with one scale and zero point.
/// A group of the weight is one block or several.
struct OnnxBlocks {
  std::int64_t bits = 0, size = 0;  ///< size: columns of a block
  std::int64_t rows = 0, count = 0; ///< count: blocks of a row
  bool symmetric = true;

  std::int64_t code_bytes() const { return size * bits / 8; }        ///< of a block
  std::int64_t zero_bytes() const { return (count * bits + 7) / 8; } ///< of a row
};
/// size 0: groups of this length cannot be put into such blocks.
OnnxBlocks onnx_blocks(const Scheme& scheme, std::int64_t rows, std::int64_t cols);
OnnxWeight onnx_block_codes(std::string name, const OnnxBlocks& blocks, const QTensor& weight);
OnnxWeight onnx_block_scales(std::string name, const OnnxBlocks& blocks, const QTensor& weight);
OnnxWeight onnx_block_zeros(std::string name, const OnnxBlocks& blocks, const QTensor& weight);

/// What MatMulBnb4 takes: the flattened weight, two codes a byte, the first in the high half; and
/// the largest magnitude of every block of at most 256 values.
std::int64_t onnx_bnb4_block(const Scheme& scheme);
OnnxWeight onnx_bnb4_codes(std::string name, const QTensor& weight);
OnnxWeight onnx_bnb4_scales(std::string name, const QTensor& weight);

/// Position in a stored row -> column, for Gather.
OnnxWeight onnx_column_order(std::string name, const QTensor& weight);
/// One number, read when it is written.
OnnxWeight onnx_scalar(std::string name, const float& value);

} // namespace bitlathe
