// SPDX-License-Identifier: Apache-2.0
#include "core/export/onnx/rotary.h"

#include <cmath>
#include <limits>
#include <numbers>

namespace bitlathe {

namespace {

using Value = OnnxGraph::Value;
using List = std::vector<std::int64_t>;

constexpr auto as_double = std::int64_t(onnx::TensorProto::DOUBLE);
constexpr auto as_float = std::int64_t(onnx::TensorProto::FLOAT);
constexpr auto as_bool = std::int64_t(onnx::TensorProto::BOOL);

std::vector<double> frequencies(const RopeSpec& rope, const std::vector<float>& factors) {
  std::vector<double> out;
  for (std::int64_t i = 0; i < rope.dims / 2; ++i) {
    out.push_back(std::pow(double(rope.theta), -2.0 * double(i) / double(rope.dims)));
    if (!factors.empty())
      out.back() /= double(factors[std::size_t(i)]);
  }
  return out;
}

/// Tokens of the sequence after this call.
Value sequence_length(OnnxGraph& graph, const OnnxInputs& inputs) {
  const Value last = graph.add("ReduceMax", {inputs.positions}, {{"keepdims", std::int64_t(0)}});
  return graph.add("Add", {last, graph.constant(std::int64_t(1))});
}

/// Inverse frequencies, in double precision, of a sequence beyond the original context.
Value grown_frequencies(OnnxGraph& graph, const RopeSpec& rope, const Value& length) {
  if (!rope.long_factors.empty())
    return graph.constants(frequencies(rope, rope.long_factors));
  // theta grows by (factor * length / context - (factor - 1)) ^ (dims / (dims - 2)).
  const double factor = double(rope.dynamic_factor), dims = double(rope.dims);
  const Value share = graph.add("Mul", {graph.add("Cast", {length}, {{"to", as_double}}),
                                        graph.constant(factor / double(rope.original_context))});
  const Value grown = graph.add("Sub", {share, graph.constant(factor - 1.0)});
  // Inside of the context the result is not used, but it must be a number.
  const Value safe = graph.add("Max", {grown, graph.constant(1.0)});
  std::vector<double> powers;
  for (std::int64_t i = 0; i < rope.dims / 2; ++i)
    powers.push_back(-2.0 * double(i) / (dims - 2));
  return graph.add("Mul", {graph.constants(frequencies(rope, rope.factors)),
                           graph.add("Pow", {safe, graph.constants(powers)})});
}

} // namespace

OnnxRotation add_onnx_rotation(OnnxGraph& graph, const OnnxInputs& inputs, const RopeSpec& rope) {
  OnnxRotation out;
  out.dims = rope.dims;
  Value frequency = graph.constants(frequencies(rope, rope.factors));
  if (rope.original_context > 0 && (!rope.long_factors.empty() || rope.dynamic_factor > 0)) {
    const Value length = sequence_length(graph, inputs);
    const Value beyond = graph.add("Greater", {length, graph.constant(rope.original_context)});
    frequency = graph.add("Where", {beyond, grown_frequencies(graph, rope, length), frequency});
  }
  // Double precision, taken into one turn, so that late positions are as exact as early ones.
  const Value position =
      graph.add("Unsqueeze", {graph.add("Cast", {inputs.positions}, {{"to", as_double}}),
                              graph.constants(List{1, 3})});
  const Value angle = graph.add("Mul", {position, frequency});
  constexpr double turn = 2 * std::numbers::pi;
  const Value turns = graph.add("Floor", {graph.add("Mul", {angle, graph.constant(1.0 / turn)})});
  const Value rest = graph.add("Sub", {angle, graph.add("Mul", {turns, graph.constant(turn)})});
  const Value small = graph.add("Cast", {rest}, {{"to", as_float}});
  out.cos = graph.add("Cos", {small});
  out.sin = graph.add("Sin", {small});
  if (rope.attention_factor != 1.0f) {
    const Value factor = graph.constant(rope.attention_factor);
    out.cos = graph.add("Mul", {out.cos, factor});
    out.sin = graph.add("Mul", {out.sin, factor});
  }
  return out;
}

OnnxGraph::Value turn_heads(OnnxGraph& graph, const OnnxRotation& rotation, const Value& x,
                            std::int64_t head_dim) {
  const std::int64_t half = rotation.dims / 2, rest = head_dim - rotation.dims;
  List sizes{half, half};
  if (rest > 0)
    sizes.push_back(rest);
  const auto part = graph.add_many("Split", {x, graph.constants(sizes)},
                                   {{"axis", std::int64_t(-1)}}, int(sizes.size()));
  const auto times = [&](const Value& a, const Value& b) { return graph.add("Mul", {a, b}); };
  OnnxGraph::Values turned{
      graph.add("Sub", {times(part[0], rotation.cos), times(part[1], rotation.sin)}),
      graph.add("Add", {times(part[1], rotation.cos), times(part[0], rotation.sin)})};
  if (rest > 0)
    turned.push_back(part[2]);
  return graph.add("Concat", turned, {{"axis", std::int64_t(-1)}});
}

OnnxGraph::Value OnnxMasks::of_window(std::int64_t window) {
  if (const auto it = made_.find(window); it != made_.end())
    return it->second;
  const auto from_one = [&](const Value& a, const List& axes) {
    return graph_.add("Unsqueeze", {a, graph_.constants(axes)});
  };
  if (keys_.empty()) {
    const Value zero = graph_.constant(std::int64_t(0)), one = graph_.constant(std::int64_t(1));
    const auto length = [&](const Value& of) {
      return graph_.add("Gather", {graph_.add("Shape", {of}), one});
    };
    total_ = length(inputs_.mask);
    const Value past = graph_.add("Sub", {total_, length(inputs_.ids)});
    keys_ = graph_.add("Range", {zero, total_, one});
    queries_ = from_one(graph_.add("Range", {past, total_, one}), {1});
    padding_ = from_one(graph_.add("Cast", {inputs_.mask}, {{"to", as_bool}}), {1, 2});
  }
  Value seen = graph_.add("LessOrEqual", {keys_, queries_});
  if (window > 0) {
    const Value first = graph_.add("Sub", {queries_, graph_.constant(window)});
    seen = graph_.add("And", {seen, graph_.add("Greater", {keys_, first})});
  }
  const Value allowed = graph_.add("And", {seen, padding_});
  // Not minus infinity: the rows of padding tokens see nothing, and must stay numbers.
  const Value mask = graph_.add("Where", {allowed, graph_.constant(0.0f),
                                          graph_.constant(std::numeric_limits<float>::lowest())});
  made_[window] = mask;
  return mask;
}

OnnxGraph::Value OnnxMasks::shape_with_keys(const List& first) {
  Value& shape = shapes_[first];
  if (shape.empty())
    shape = graph_.add(
        "Concat",
        {graph_.constants(first), graph_.add("Unsqueeze", {total_, graph_.constants(List{0})})},
        {{"axis", std::int64_t(0)}});
  return shape;
}

} // namespace bitlathe
