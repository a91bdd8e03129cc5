// SPDX-License-Identifier: Apache-2.0
// Nodes against ONNX's own description of its operators, and against the graph that this program
// makes of a model.
#include "core/export/onnx/check.h"
#include "core/export/onnx/decoder.h"
#include "core/export/tensors.h"

#include <algorithm>
#include <onnx/defs/schema.h>
#include <set>

namespace bitlathe {

namespace {

/// Counts of inputs and outputs, and attributes that must or must not be there. The library
/// throws what it finds.
std::string node_problem(const onnx::OpSchema& schema, const onnx::NodeProto& node) {
  try {
    schema.Verify(node);
    return {};
  } catch (const std::exception& error) {
    const std::string text = error.what();
    return node.op_type() + " " + node.name() + ": " + text.substr(0, text.find('\n'));
  }
}

/// Operators that are not ONNX's but that ONNX Runtime has, as far as they matter here.
const std::set<std::string> microsoft_products{"MatMulNBits", "MatMulBnb4"};

} // namespace

VerifyCheck check_onnx_operators(const OnnxModel& model) {
  const auto& versions = onnx::OpSchemaRegistry::DomainToVersionRange::Instance().Map();
  const int newest = versions.at("").second;
  std::int64_t opset = 0;
  for (const auto& import : model.proto.opset_import())
    if (import.domain().empty() || import.domain() == "ai.onnx")
      opset = import.version();
  if (opset > newest)
    return {"operators", true,
            "not checked: opset " + std::to_string(opset) + " is newer than " +
                std::to_string(newest) + ", which this program knows"};
  std::vector<std::string> problems;
  std::size_t checked = 0;
  for (const auto& node : model.proto.graph().node()) {
    if (problems.size() > 20)
      break;
    if (!node.domain().empty() && node.domain() != "ai.onnx")
      continue;
    ++checked;
    const auto* schema = onnx::OpSchemaRegistry::Schema(node.op_type(), int(opset), "");
    if (!schema)
      problems.push_back(node.op_type() + (microsoft_products.count(node.op_type())
                                               ? " belongs to the domain com.microsoft"
                                               : " is no operator of ONNX"));
    else if (auto problem = node_problem(*schema, node); !problem.empty())
      problems.push_back(std::move(problem));
  }
  return {"operators", problems.empty(),
          problems.empty() ? std::to_string(checked) + " nodes as ONNX describes their operators"
                           : name_list(problems, 5)};
}

Result<VerifyCheck> check_onnx_graph(const OnnxModel& model, const Checkpoint& against) {
  VerifyCheck out{"same graph", true, {}};
  const auto skipped = [&](const std::string& why) {
    out.detail = "not compared: " + why;
    return out;
  };
  if (!against.spec)
    return skipped("the reference cannot be run");
  if (model.proto.producer_name() != "bitlathe" ||
      model.proto.producer_version() != BITLATHE_VERSION)
    return skipped("it was not made by this version of this program");
  TRY_ASSIGN(OnnxGraph made, make_onnx_decoder(against));
  const auto stored_like = [](const OnnxTensor* tensor, const auto& wanted) {
    return tensor && tensor->type == wanted.type && tensor->dims == wanted.dims;
  };
  for (const OnnxWeight& weight : made.weights())
    if (!stored_like(model.find(weight.name), weight))
      return skipped("the reference's weights are in another form (" + weight.name + ")");
  std::vector<std::string> problems;
  const auto& got = model.proto.graph();
  const auto& want = made.proto();
  for (const auto& constant : want.initializer()) {
    const OnnxTensor* tensor = model.find(constant.name());
    const auto data = std::as_bytes(std::span(constant.raw_data()));
    if (!tensor || tensor->type != constant.data_type() ||
        !std::equal(tensor->dims.begin(), tensor->dims.end(), constant.dims().begin(),
                    constant.dims().end()) ||
        !std::equal(tensor->data.begin(), tensor->data.end(), data.begin(), data.end()))
      problems.push_back("the constant " + constant.name() + " differs");
  }
  const auto expected = std::size_t(want.initializer_size()) + made.weights().size();
  if (model.initializers.size() != expected)
    problems.push_back("it holds " + std::to_string(model.initializers.size()) +
                       " tensors instead of " + std::to_string(expected));
  if (got.node_size() != want.node_size())
    problems.push_back("it has " + std::to_string(got.node_size()) + " nodes instead of " +
                       std::to_string(want.node_size()));
  for (int i = 0; i < std::min(got.node_size(), want.node_size()) && problems.size() < 20; ++i)
    if (got.node(i).SerializeAsString() != want.node(i).SerializeAsString())
      problems.push_back(want.node(i).name() + " differs");
  const auto same_list = [](const auto& a, const auto& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
      return x.SerializeAsString() == y.SerializeAsString();
    });
  };
  if (!same_list(got.input(), want.input()) || !same_list(got.output(), want.output()))
    problems.push_back("its inputs or outputs differ");
  out.ok = problems.empty();
  out.detail =
      out.ok ? "every node and constant is as it is made of the reference" : name_list(problems, 5);
  return out;
}

} // namespace bitlathe
