// SPDX-License-Identifier: Apache-2.0
// An ONNX graph under construction: nodes, constants that are part of it, and weights that are only
// described until they are written.
#pragma once

#include "core/io/files.h"

#include <functional>
#include <initializer_list>
#include <map>
#include <onnx/onnx_pb.h>
#include <set>
#include <variant>

namespace bitlathe {

/// A weight to be stored: exactly `bytes` bytes, asked for once.
struct OnnxWeight {
  std::string name;
  std::int32_t type = 0; ///< onnx::TensorProto::DataType
  std::vector<std::int64_t> dims;
  std::uint64_t bytes = 0;
  std::function<Result<void>(OutputFile&)> write;
};

struct OnnxAttribute {
  const char* name;
  std::variant<std::int64_t, float, std::string, std::vector<std::int64_t>> value;
};

class OnnxGraph {
 public:
  using Value = std::string; ///< name of a tensor in the graph
  using Values = std::vector<Value>;
  /// A dimension: a number, or the name of one that is known at run time only.
  using Dim = std::variant<std::int64_t, std::string>;

  /// Nodes that follow are named below this: "/model/layers.0/self_attn".
  void enter(std::string scope) { scope_ = std::move(scope); }

  Value add(const char* op, const Values& inputs, std::vector<OnnxAttribute> attributes = {});
  Values add_many(const char* op, const Values& inputs, std::vector<OnnxAttribute> attributes,
                  int outputs);
  /// An operator of ONNX Runtime's own domain, com.microsoft.
  Value add_microsoft(const char* op, const Values& inputs, std::vector<OnnxAttribute> attributes);
  /// Renames the result of the newest node.
  Value name_last(const Value& value, const std::string& name);

  Value constant(std::int64_t value); ///< no dimensions
  Value constant(float value);
  Value constant(double value);
  Value constants(const std::vector<std::int64_t>& values); ///< one dimension
  Value constants(const std::vector<float>& values);
  Value constants(const std::vector<double>& values);
  Value constant_byte(std::uint8_t value, bool is_signed = false);
  /// Stored once however often it is asked for.
  Value weight(OnnxWeight weight);

  void add_input(const std::string& name, std::int32_t type, const std::vector<Dim>& shape);
  void add_output(const std::string& name, std::int32_t type, const std::vector<Dim>& shape);

  /// The graph without its weights.
  const onnx::GraphProto& proto() const { return proto_; }
  onnx::GraphProto& proto() { return proto_; }
  const std::vector<OnnxWeight>& weights() const { return weights_; }
  std::vector<OnnxWeight> take_weights() { return std::move(weights_); }
  bool uses_microsoft() const { return microsoft_; }

 private:
  Value store_constant(std::int32_t type, const std::vector<std::int64_t>& dims, const void* data,
                       std::size_t bytes);
  static onnx::ValueInfoProto value_info(const std::string& name, std::int32_t type,
                                         const std::vector<Dim>& shape);

  onnx::GraphProto proto_;
  std::string scope_;
  std::map<std::string, int> used_names_;
  std::map<std::string, Value> constants_; ///< by type, shape and bytes
  std::vector<OnnxWeight> weights_;
  std::set<std::string> weight_names_;
  bool microsoft_ = false;
};

} // namespace bitlathe
