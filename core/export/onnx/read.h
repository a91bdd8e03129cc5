// SPDX-License-Identifier: Apache-2.0
// ONNX files of any origin, read. Weights stay where they are: in the mapped file, or in the mapped
// files beside it. Internal to core/export/onnx.
#pragma once

#include "core/io/files.h"

#include <map>
#include <onnx/onnx_pb.h>

namespace bitlathe {

/// Bits of one element; 0 when the type is not known or has no fixed size.
int onnx_type_bits(std::int32_t type);
/// "FLOAT16".
std::string onnx_type_name(std::int32_t type);

struct OnnxTensor {
  std::string name;
  std::int32_t type = 0;
  std::vector<std::int64_t> dims;
  std::span<const std::byte> data; ///< empty as well when there is a problem
  std::string location;            ///< file beside the model; empty: inside
  std::uint64_t offset = 0;
  std::string problem; ///< why its data cannot be used: a wrong size, a missing file
  std::shared_ptr<const void> keep_alive;

  std::int64_t count() const; ///< of elements; dims are checked
};

struct OnnxModel {
  onnx::ModelProto proto; ///< with initializers that have no data
  std::vector<OnnxTensor> initializers;
  fs::path path;
  std::shared_ptr<const MappedFile> file;

  /// nullptr when there is none of that name.
  const OnnxTensor* find(const std::string& name) const;

  std::map<std::string, std::size_t> index; ///< of initializers by name
};

/// Errors: "bad-file" when the file is cut off or no ONNX model; what is wrong with single weights
/// stands with them.
Result<OnnxModel> read_onnx(const fs::path& path);

/// Bytes of a tensor that the graph itself holds (a Constant, or one read by read_onnx): raw, or
/// from the typed fields.
Result<OnnxTensor> onnx_tensor_of(const onnx::TensorProto& proto);

} // namespace bitlathe
