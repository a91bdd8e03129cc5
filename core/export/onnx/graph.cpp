// SPDX-License-Identifier: Apache-2.0
#include "core/export/onnx/graph.h"

namespace bitlathe {

OnnxGraph::Value OnnxGraph::add(const char* op, const Values& inputs,
                                std::vector<OnnxAttribute> attributes) {
  return add_many(op, inputs, std::move(attributes), 1).front();
}

OnnxGraph::Values OnnxGraph::add_many(const char* op, const Values& inputs,
                                      std::vector<OnnxAttribute> attributes, int outputs) {
  auto& node = *proto_.add_node();
  std::string name = scope_ + "/" + op;
  if (const int used = used_names_[name]++; used > 0)
    name += "_" + std::to_string(used);
  node.set_name(name);
  node.set_op_type(op);
  for (const Value& input : inputs)
    node.add_input(input);
  Values out;
  for (int i = 0; i < outputs; ++i) {
    out.push_back(name + "_output_" + std::to_string(i));
    node.add_output(out.back());
  }
  for (const auto& attribute : attributes) {
    auto& proto = *node.add_attribute();
    proto.set_name(attribute.name);
    if (const auto* whole = std::get_if<std::int64_t>(&attribute.value)) {
      proto.set_type(onnx::AttributeProto::INT);
      proto.set_i(*whole);
    } else if (const auto* real = std::get_if<float>(&attribute.value)) {
      proto.set_type(onnx::AttributeProto::FLOAT);
      proto.set_f(*real);
    } else if (const auto* text = std::get_if<std::string>(&attribute.value)) {
      proto.set_type(onnx::AttributeProto::STRING);
      proto.set_s(*text);
    } else {
      proto.set_type(onnx::AttributeProto::INTS);
      for (const auto value : std::get<std::vector<std::int64_t>>(attribute.value))
        proto.add_ints(value);
    }
  }
  return out;
}

OnnxGraph::Value OnnxGraph::add_microsoft(const char* op, const Values& inputs,
                                          std::vector<OnnxAttribute> attributes) {
  const Value out = add(op, inputs, std::move(attributes));
  proto_.mutable_node(proto_.node_size() - 1)->set_domain("com.microsoft");
  microsoft_ = true;
  return out;
}

OnnxGraph::Value OnnxGraph::name_last(const Value& value, const std::string& name) {
  auto& node = *proto_.mutable_node(proto_.node_size() - 1);
  for (int i = 0; i < node.output_size(); ++i)
    if (node.output(i) == value)
      node.set_output(i, name);
  return name;
}

OnnxGraph::Value OnnxGraph::store_constant(std::int32_t type, const std::vector<std::int64_t>& dims,
                                           const void* data, std::size_t bytes) {
  std::string raw(static_cast<const char*>(data), bytes);
  std::string key = std::to_string(type) + ":" + std::to_string(dims.size()) + ":" + raw;
  const auto [it, is_new] =
      constants_.emplace(std::move(key), "constant_" + std::to_string(constants_.size()));
  if (is_new) {
    auto& tensor = *proto_.add_initializer();
    tensor.set_name(it->second);
    tensor.set_data_type(type);
    for (const auto dim : dims)
      tensor.add_dims(dim);
    tensor.set_raw_data(std::move(raw));
  }
  return it->second;
}

OnnxGraph::Value OnnxGraph::constant(std::int64_t value) {
  return store_constant(onnx::TensorProto::INT64, {}, &value, sizeof value);
}
OnnxGraph::Value OnnxGraph::constant(float value) {
  return store_constant(onnx::TensorProto::FLOAT, {}, &value, sizeof value);
}
OnnxGraph::Value OnnxGraph::constant(double value) {
  return store_constant(onnx::TensorProto::DOUBLE, {}, &value, sizeof value);
}
OnnxGraph::Value OnnxGraph::constant_byte(std::uint8_t value, bool is_signed) {
  return store_constant(is_signed ? onnx::TensorProto::INT8 : onnx::TensorProto::UINT8, {}, &value,
                        1);
}
OnnxGraph::Value OnnxGraph::constants(const std::vector<std::int64_t>& values) {
  return store_constant(onnx::TensorProto::INT64, {std::int64_t(values.size())}, values.data(),
                        values.size() * sizeof(std::int64_t));
}
OnnxGraph::Value OnnxGraph::constants(const std::vector<float>& values) {
  return store_constant(onnx::TensorProto::FLOAT, {std::int64_t(values.size())}, values.data(),
                        values.size() * sizeof(float));
}
OnnxGraph::Value OnnxGraph::constants(const std::vector<double>& values) {
  return store_constant(onnx::TensorProto::DOUBLE, {std::int64_t(values.size())}, values.data(),
                        values.size() * sizeof(double));
}

OnnxGraph::Value OnnxGraph::weight(OnnxWeight weight) {
  const Value name = weight.name;
  if (weight_names_.insert(name).second)
    weights_.push_back(std::move(weight));
  return name;
}

onnx::ValueInfoProto OnnxGraph::value_info(const std::string& name, std::int32_t type,
                                           const std::vector<Dim>& shape) {
  onnx::ValueInfoProto info;
  info.set_name(name);
  auto& tensor = *info.mutable_type()->mutable_tensor_type();
  tensor.set_elem_type(type);
  for (const Dim& dim : shape) {
    auto& out = *tensor.mutable_shape()->add_dim();
    if (const auto* value = std::get_if<std::int64_t>(&dim))
      out.set_dim_value(*value);
    else
      out.set_dim_param(std::get<std::string>(dim));
  }
  return info;
}

void OnnxGraph::add_input(const std::string& name, std::int32_t type,
                          const std::vector<Dim>& shape) {
  *proto_.add_input() = value_info(name, type, shape);
}

void OnnxGraph::add_output(const std::string& name, std::int32_t type,
                           const std::vector<Dim>& shape) {
  *proto_.add_output() = value_info(name, type, shape);
}

} // namespace bitlathe
