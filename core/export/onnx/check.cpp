// SPDX-License-Identifier: Apache-2.0
#include "core/export/onnx/check.h"

#include "core/export/tensors.h"

#include <algorithm>
#include <set>

namespace bitlathe {

namespace {

struct Problems {
  std::vector<std::string> list;
  void add(std::string text) { list.push_back(std::move(text)); }
  VerifyCheck check(std::string name, std::string good) const {
    return {std::move(name), list.empty(), list.empty() ? std::move(good) : name_list(list, 5)};
  }
};

std::string plural(std::size_t n, const std::string& what) {
  return std::to_string(n) + " " + what + (n == 1 ? "" : "s");
}

VerifyCheck check_versions(const onnx::ModelProto& proto) {
  constexpr std::int64_t oldest_ir = 3, oldest_opset = 7; // that ONNX Runtime still takes
  Problems problems;
  if (proto.ir_version() < oldest_ir)
    problems.add("its IR version is " + std::to_string(proto.ir_version()) +
                 ", and runtimes want at least 3");
  std::set<std::string> domains;
  std::string good = "IR " + std::to_string(proto.ir_version());
  for (const auto& opset : proto.opset_import()) {
    const bool standard = opset.domain().empty() || opset.domain() == "ai.onnx";
    const std::string domain = standard ? "ai.onnx" : opset.domain();
    if (!domains.insert(standard ? std::string() : opset.domain()).second)
      problems.add("the operators of " + domain + " are imported twice");
    if (standard && opset.version() < oldest_opset)
      problems.add("opset " + std::to_string(opset.version()) + " is older than runtimes take");
    good += ", " + domain + " " + std::to_string(opset.version());
  }
  std::set<std::string> unknown;
  for (const auto& node : proto.graph().node()) {
    const std::string domain = node.domain() == "ai.onnx" ? std::string() : node.domain();
    if (!domains.count(domain))
      unknown.insert((domain.empty() ? "ai.onnx" : domain) + " (" + node.op_type() + ")");
  }
  for (const auto& domain : unknown)
    problems.add("no version of the operators of " + domain + " is named");
  return problems.check("versions", good);
}

/// Every value is made once, before it is used.
class GraphCheck {
 public:
  void graph(const onnx::GraphProto& graph, std::set<std::string> known,
             const std::vector<OnnxTensor>& initializers, int depth) {
    if (depth > 16) {
      problems.add("graphs are nested too deeply");
      return;
    }
    std::set<std::string> made;
    for (const auto& input : graph.input())
      if (!made.insert(input.name()).second)
        problems.add("the input " + input.name() + " is named twice");
    std::set<std::string> stored;
    for (const auto& tensor : initializers)
      if (!stored.insert(tensor.name).second)
        problems.add("the weight " + tensor.name + " is there twice");
    for (const auto& tensor : graph.initializer())
      stored.insert(tensor.name());
    made.insert(stored.begin(), stored.end());
    known.insert(made.begin(), made.end());
    for (const auto& node : graph.node()) {
      ++nodes;
      const std::string what = node.op_type() + (node.name().empty() ? "" : " " + node.name());
      if (node.op_type().empty())
        problems.add("a node has no operator");
      for (const auto& input : node.input())
        if (!input.empty() && !known.count(input))
          problems.add(what + " takes " + input + ", which nothing before it makes");
      for (const auto& attribute : node.attribute()) {
        if (attribute.has_g())
          this->graph(attribute.g(), known, {}, depth + 1);
        for (const auto& inner : attribute.graphs())
          this->graph(inner, known, {}, depth + 1);
      }
      for (const auto& output : node.output())
        if (!output.empty() && (!made.insert(output).second || !known.insert(output).second))
          problems.add(what + " makes " + output + ", which is there already");
    }
    for (const auto& output : graph.output())
      if (!known.count(output.name()))
        problems.add("nothing makes the output " + output.name());
    if (graph.output_size() == 0)
      problems.add("a graph has no outputs");
  }

  Problems problems;
  std::size_t nodes = 0;
};

struct Shape {
  std::int32_t type = 0;
  std::vector<std::int64_t> dims; ///< -1: known at run time only
};

std::map<std::string, Shape>
shapes_of(const google::protobuf::RepeatedPtrField<onnx::ValueInfoProto>& infos) {
  std::map<std::string, Shape> out;
  for (const auto& info : infos) {
    Shape& shape = out[info.name()];
    shape.type = info.type().tensor_type().elem_type();
    for (const auto& dim : info.type().tensor_type().shape().dim())
      shape.dims.push_back(dim.has_dim_value() ? dim.dim_value() : -1);
  }
  return out;
}

/// The names under which Optimum, Transformers.js and ONNX Runtime's own examples feed a decoder.
VerifyCheck check_interface(const OnnxModel& model) {
  Problems problems;
  auto inputs = shapes_of(model.proto.graph().input());
  const auto outputs = shapes_of(model.proto.graph().output());
  for (const auto& tensor : model.initializers) // old files list weights among the inputs
    inputs.erase(tensor.name);
  for (const char* name : {"input_ids", "attention_mask"})
    if (!inputs.count(name))
      problems.add("there is no input " + std::string(name));
  if (!outputs.count("logits"))
    problems.add("there is no output logits");
  std::size_t caches = 0;
  const std::string past = "past_key_values.", present = "present.";
  for (const auto& [name, shape] : inputs) {
    if (name.rfind(past, 0) != 0)
      continue;
    ++caches;
    const auto other = outputs.find(present + name.substr(past.size()));
    if (other == outputs.end())
      problems.add(name + " has no output " + present + name.substr(past.size()));
    else if (other->second.type != shape.type)
      problems.add(name + " and " + other->first + " are of different types");
    else if (shape.dims.size() != 4)
      problems.add(name + " does not have four dimensions");
  }
  for (const auto& [name, shape] : outputs)
    if (name.rfind(present, 0) == 0 && !inputs.count(past + name.substr(present.size())))
      problems.add(name + " has no input " + past + name.substr(present.size()));
  return problems.check("interface",
                        caches > 0 ? "a decoder with a cache of " + plural(caches / 2, "layer")
                                   : "a decoder without a cache");
}

void check_weights(const OnnxModel& model, std::vector<VerifyCheck>& checks) {
  Problems inside, outside;
  std::set<std::string> files;
  for (const auto& tensor : model.initializers) {
    if (!tensor.location.empty())
      files.insert(tensor.location);
    if (!tensor.problem.empty())
      (tensor.location.empty() ? inside : outside).add(tensor.name + ": " + tensor.problem);
    if (tensor.name.empty())
      inside.add("a weight has no name");
  }
  checks.push_back(inside.check("weights", plural(model.initializers.size(), "weight") +
                                               " with the bytes that type and shape need"));
  if (!files.empty())
    checks.push_back(outside.check("data files", name_list({files.begin(), files.end()}) +
                                                     ": every weight lies inside"));
}

/// Products whose stored operands do not fit what the operator is told about them.
VerifyCheck check_products(const OnnxModel& model) {
  const OnnxNodes nodes(model);
  Problems problems;
  std::map<std::string, std::size_t> counts;
  for (const auto& node : model.proto.graph().node()) {
    const auto matrix = onnx_matrix(nodes, node);
    if (!matrix && matrix.error().code == "bad-file" && node.op_type() != "Gather")
      problems.add(matrix.error().message);
    if (matrix && node.op_type() != "Gather")
      ++counts[node.op_type()];
  }
  std::string good;
  for (const auto& [op, count] : counts)
    good += (good.empty() ? "" : ", ") + std::to_string(count) + " " + op;
  return problems.check("products", good.empty() ? "no products with stored weights" : good);
}

} // namespace

fs::path find_onnx(const fs::path& path) {
  std::error_code failed;
  if (fs::is_directory(path, failed)) {
    for (const char* name : {"model.onnx", "onnx/model.onnx"})
      if (fs::is_regular_file(path / name, failed))
        return path / name;
    return {};
  }
  return path.extension() == ".onnx" && fs::is_regular_file(path, failed) ? path : fs::path();
}

std::vector<VerifyCheck> check_onnx(const OnnxModel& model) {
  std::vector<VerifyCheck> out;
  out.push_back(check_versions(model.proto));
  GraphCheck graph;
  if (model.proto.graph().name().empty())
    graph.problems.add("the graph has no name");
  graph.graph(model.proto.graph(), {}, model.initializers, 0);
  out.push_back(
      graph.problems.check("graph", plural(graph.nodes, "node") + ", each after what it takes"));
  out.push_back(check_onnx_operators(model));
  check_weights(model, out);
  out.push_back(check_products(model));
  out.push_back(check_interface(model));
  return out;
}

} // namespace bitlathe
