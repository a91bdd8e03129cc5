// SPDX-License-Identifier: Apache-2.0
#include "core/export/onnx/nodes.h"

namespace bitlathe {

std::string onnx_scope(const std::string& module) {
  std::string out = "/";
  for (std::size_t i = 0; i < module.size(); ++i) {
    const bool before_number =
        i + 1 < module.size() && module[i + 1] >= '0' && module[i + 1] <= '9';
    out += module[i] == '.' && !before_number ? '/' : module[i];
  }
  return out;
}

std::int64_t whole_attribute(const onnx::NodeProto& node, const char* name,
                             std::int64_t otherwise) {
  for (const auto& attribute : node.attribute())
    if (attribute.name() == name && attribute.has_i())
      return attribute.i();
  return otherwise;
}

OnnxNodes::OnnxNodes(const OnnxModel& model) : model_(model) {
  for (const auto& node : model.proto.graph().node()) {
    for (const auto& output : node.output())
      makers_.emplace(output, &node);
    for (const auto& input : node.input())
      takers_.emplace(input, &node);
    if (const auto slash = node.name().rfind('/'); slash != std::string::npos)
      by_scope_.emplace(node.name().substr(0, slash), &node);
  }
}

const onnx::NodeProto* OnnxNodes::maker(const std::string& value) const {
  const auto it = makers_.find(value);
  return it == makers_.end() ? nullptr : it->second;
}

const onnx::NodeProto* OnnxNodes::taker(const std::string& value, const char* op) const {
  const onnx::NodeProto* found = nullptr;
  for (auto [it, end] = takers_.equal_range(value); it != end; ++it)
    if (it->second->op_type() == op) {
      if (found)
        return nullptr;
      found = it->second;
    }
  return found;
}

const OnnxTensor* OnnxNodes::weight(const std::string& value) const {
  const std::string* name = &value;
  for (int steps = 0; steps < 8; ++steps) {
    if (const OnnxTensor* tensor = model_.find(*name))
      return tensor;
    const auto* node = maker(*name);
    if (!node || node->input_size() < 1 ||
        (node->op_type() != "Identity" && node->op_type() != "Cast"))
      return nullptr;
    name = &node->input(0);
  }
  return nullptr;
}

const OnnxTensor* OnnxNodes::weight(const onnx::NodeProto& node, int i) const {
  return i < node.input_size() && !node.input(i).empty() ? weight(node.input(i)) : nullptr;
}

std::vector<const onnx::NodeProto*> OnnxNodes::of_module(const std::string& module) const {
  std::vector<const onnx::NodeProto*> out;
  for (auto [it, end] = by_scope_.equal_range(onnx_scope(module)); it != end; ++it)
    out.push_back(it->second);
  return out;
}

} // namespace bitlathe
