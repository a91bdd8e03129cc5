// SPDX-License-Identifier: Apache-2.0
#include "core/export/onnx/linear.h"

#include "core/export/onnx/pack.h"

namespace bitlathe {

namespace {

using Value = OnnxGraph::Value;

constexpr auto float_type = std::int64_t(onnx::TensorProto::FLOAT);

bool is_float(const Scheme& scheme) { return scheme.family->id == "float"; }
/// Codes on integer grids: those of the kernel layout "int", and two block types of GGUF.
bool is_integer(const Scheme& scheme) {
  return scheme.family->id == "int" || scheme.family->id == "ternary" || scheme.id == "q4_0" ||
         scheme.id == "q8_0";
}

std::string integer_blocks_problem(const Scheme& scheme, std::int64_t rows, std::int64_t cols) {
  const OnnxBlocks blocks = onnx_blocks(scheme, rows, cols);
  const std::string tail = scheme.symmetric ? "-sym" : "-asym";
  if (blocks.bits != 2 && blocks.bits != 4 && blocks.bits != 8) {
    const std::string bits = blocks.bits == 3 ? "4" : "8";
    const std::string middle = scheme.per_tensor   ? "tensor"
                               : scheme.group == 0 ? "channel"
                                                   : "g" + std::to_string(scheme.group);
    return "ONNX Runtime multiplies weights of 2, 4 and 8 bits; nearest: int" + bits + "-" +
           middle + tail;
  }
  if (blocks.size == 0) {
    const auto up = (scheme.group + 15) / 16 * 16;
    const std::string nearest =
        scheme.family->id == "ternary"
            ? "ternary-g" + std::to_string(up)
            : "int" + std::to_string(blocks.bits) + "-g" + std::to_string(up) + tail;
    return "ONNX Runtime takes groups that are multiples of 16; nearest: " + nearest;
  }
  return {};
}

/// The type that values are stored in, as f32. The runtime does this once, when it loads a model.
Value as_float(OnnxGraph& graph, const Value& value, FloatType type) {
  return type == FloatType::f32 ? value : graph.add("Cast", {value}, {{"to", float_type}});
}

struct Blocks {
  OnnxBlocks shape;
  Value codes, scales, zeros; ///< no zeros: symmetric
};

Blocks store_blocks(OnnxGraph& graph, const std::string& stem, const QTensor& weight) {
  Blocks out;
  out.shape = onnx_blocks(weight.scheme, weight.rows, weight.cols);
  const std::string name = stem + ".weight";
  out.codes = graph.weight(
      onnx_block_codes(name + "_Q" + std::to_string(out.shape.bits), out.shape, weight));
  out.scales = graph.weight(onnx_block_scales(name + "_scales", out.shape, weight));
  if (!out.shape.symmetric)
    out.zeros = graph.weight(onnx_block_zeros(name + "_zero_points", out.shape, weight));
  return out;
}

/// Codes of a few bits in the bytes of the last axis, one after the other in a new last axis.
Value unpacked(OnnxGraph& graph, const Value& bytes, std::int64_t bits) {
  const Value last = graph.constants(std::vector<std::int64_t>{-1});
  OnnxGraph::Values parts;
  for (std::int64_t shift = 0; shift < 8; shift += bits) {
    Value part = bytes;
    if (shift > 0)
      part = graph.add("BitShift", {part, graph.constant_byte(std::uint8_t(shift))},
                       {{"direction", "RIGHT"}});
    if (shift + bits < 8)
      part = graph.add("Mod", {part, graph.constant_byte(std::uint8_t(1 << bits))});
    parts.push_back(graph.add("Unsqueeze", {part, last}));
  }
  return parts.size() == 1 ? parts.front()
                           : graph.add("Concat", parts, {{"axis", std::int64_t(-1)}});
}

/// The first `count` of the last axis.
Value first_ones(OnnxGraph& graph, const Value& value, std::int64_t count) {
  using List = std::vector<std::int64_t>;
  return graph.add("Slice", {value, graph.constants(List{0}), graph.constants(List{count}),
                             graph.constants(List{-1})});
}

Value add_block_table(OnnxGraph& graph, const std::string& stem, const QTensor& weight,
                      const Value& indices) {
  using List = std::vector<std::int64_t>;
  const Blocks blocks = store_blocks(graph, stem, weight);
  const OnnxBlocks& shape = blocks.shape;
  const auto row_of = [&](const Value& table) { return graph.add("Gather", {table, indices}); };
  const auto to_float = [&](const Value& value) {
    return graph.add("Cast", {value}, {{"to", float_type}});
  };
  Value codes = unpacked(graph, row_of(blocks.codes), shape.bits);
  codes = graph.add("Reshape", {codes, graph.constants(List{0, 0, shape.count, shape.size})});
  codes = to_float(codes);
  Value zero;
  if (shape.symmetric) {
    zero = graph.constant(float(1 << (shape.bits - 1)));
  } else {
    zero = unpacked(graph, row_of(blocks.zeros), shape.bits);
    zero = graph.add("Reshape", {zero, graph.constants(List{0, 0, -1})});
    if (shape.zero_bytes() * 8 / shape.bits != shape.count)
      zero = first_ones(graph, zero, shape.count);
    zero = graph.add("Unsqueeze", {to_float(zero), graph.constants(List{-1})});
  }
  const Value scale = graph.add("Unsqueeze", {row_of(blocks.scales), graph.constants(List{-1})});
  Value values = graph.add("Mul", {graph.add("Sub", {codes, zero}), scale});
  const std::int64_t padded = shape.count * shape.size;
  values = graph.add("Reshape", {values, graph.constants(List{0, 0, padded})});
  return padded == weight.cols ? values : first_ones(graph, values, weight.cols);
}

/// Weights and inputs are integers. DynamicQuantizeLinear has one scale for all that it is given,
/// so that one loud token would cost all others their precision: tokens are brought to the same
/// loudness before and back afterwards. With the two ends of the grid of int8 beside them, what
/// comes out are the codes of int8-token-dynamic plus 128.
Value multiply_dynamic(OnnxGraph& graph, const OnnxLinear& linear, const Value& x) {
  const std::string name = linear.stem + ".MatMul.weight";
  const Value codes = graph.weight(onnx_codes_transposed(name + "_quantized", linear.weight));
  const Value scale = graph.weight(onnx_row_scales(name + "_scale", linear.weight));
  const Value zero = graph.weight(onnx_row_zeros(name + "_zero_point", linear.weight));
  const Value loudness =
      graph.add("ReduceMax", {graph.add("Abs", {x})}, {{"axes", std::vector<std::int64_t>{-1}}});
  const Value token = graph.add("Max", {loudness, graph.constant(1e-30f)});
  const Value with_ends = graph.add("Concat", {graph.add("Div", {x, token}), linear.grid_ends},
                                    {{"axis", std::int64_t(-1)}});
  const auto input = graph.add_many("DynamicQuantizeLinear", {with_ends}, {}, 3);
  const Value inputs = first_ones(graph, input[0], linear.weight.cols);
  const Value sum = graph.add("MatMulInteger", {inputs, codes, input[2], zero});
  const Value scales = graph.add("Mul", {input[1], scale});
  const Value y = graph.add("Mul", {graph.add("Cast", {sum}, {{"to", float_type}}), scales});
  return graph.add("Mul", {y, token});
}

/// The inputs are rounded to a calibrated grid; runtimes fuse this to a product of integers.
Value multiply_static(OnnxGraph& graph, const OnnxLinear& linear, const Value& x) {
  const std::string name = linear.stem + ".MatMul.weight";
  const Value codes = graph.weight(onnx_codes_transposed(name + "_quantized", linear.weight));
  const Value scale = graph.weight(onnx_row_scales(name + "_scale", linear.weight));
  const Value zero = graph.weight(onnx_row_zeros(name + "_zero_point", linear.weight));
  const Value input_scale =
      graph.weight(onnx_scalar(linear.stem + ".MatMul.input_scale", *linear.activation_scale));
  const Value input_zero = graph.constant_byte(0, true);
  const Value coded = graph.add("QuantizeLinear", {x, input_scale, input_zero});
  const Value input = graph.add("DequantizeLinear", {coded, input_scale, input_zero});
  const Value weight =
      graph.add("DequantizeLinear", {codes, scale, zero}, {{"axis", std::int64_t(1)}});
  return graph.add("MatMul", {input, weight});
}

Value multiply_floats(OnnxGraph& graph, const OnnxLinear& linear, const Value& x) {
  const QTensor& weight = linear.weight;
  const FloatType type = weight.scheme.float_type;
  if (!linear.as_table) {
    const Value stored = graph.weight(onnx_transposed(linear.stem + ".MatMul.weight", weight));
    return graph.add("MatMul", {x, as_float(graph, stored, type)});
  }
  const Value stored =
      graph.weight(onnx_values(linear.stem + ".weight", {weight.rows, weight.cols}, weight));
  const Value turned = graph.add("Transpose", {as_float(graph, stored, type)},
                                 {{"perm", std::vector<std::int64_t>{1, 0}}});
  return graph.add("MatMul", {x, turned});
}

Value multiply_blocks(OnnxGraph& graph, const OnnxLinear& linear, const Value& x) {
  const Blocks blocks =
      store_blocks(graph, linear.as_table ? linear.stem : linear.stem + ".MatMul", linear.weight);
  OnnxGraph::Values inputs{x, blocks.codes, blocks.scales};
  if (!blocks.zeros.empty())
    inputs.push_back(blocks.zeros);
  return graph.add_microsoft("MatMulNBits", inputs,
                             {{"K", linear.weight.cols},
                              {"N", linear.weight.rows},
                              {"bits", blocks.shape.bits},
                              {"block_size", blocks.shape.size}});
}

Value multiply_bnb4(OnnxGraph& graph, const OnnxLinear& linear, const Value& x) {
  const QTensor& weight = linear.weight;
  const std::string name = linear.stem + ".MatMul.weight";
  const Value codes = graph.weight(onnx_bnb4_codes(name + "_Bnb4", weight));
  const Value scales = graph.weight(onnx_bnb4_scales(name + "_absmax", weight));
  const bool nf4 = weight.scheme.id.rfind("nf4", 0) == 0;
  return graph.add_microsoft("MatMulBnb4", {x, codes, scales},
                             {{"K", weight.cols},
                              {"N", weight.rows},
                              {"block_size", onnx_bnb4_block(weight.scheme)},
                              {"quant_type", std::int64_t(nf4 ? 1 : 0)}});
}

} // namespace

std::string onnx_linear_problem(const Scheme& scheme, const std::string& activations,
                                std::int64_t rows, std::int64_t cols) {
  if (!scheme.family)
    return scheme.id + " weights cannot be decoded, so they cannot be rewritten";
  if (is_float(scheme))
    return {};
  if (activations != "none") {
    if (activations != "int8-token-dynamic" && activations != "int8-tensor-static")
      return "ONNX has no operator for " + activations +
             " activations; nearest: int8-channel-sym with int8-token-dynamic";
    if (scheme.family->id == "int" && scheme.bits == 8 &&
        (scheme.group == 0 || scheme.group >= cols))
      return {};
    return "ONNX multiplies coded inputs with 8-bit weights that have one scale per output; "
           "nearest: int8-channel-sym with " +
           activations + ", or " + scheme.id + " with activations none";
  }
  if (is_integer(scheme))
    return integer_blocks_problem(scheme, rows, cols);
  if (scheme.family->id == "nf4")
    return {};
  return "ONNX Runtime has no product with " + scheme.id + " weights; nearest: " +
         (scheme.bits > 5 ? "int8-g32-sym or q8_0" : "int4-g32-sym or q4_0");
}

std::string onnx_table_problem(const Scheme& scheme, bool reordered, std::int64_t rows,
                               std::int64_t cols) {
  if (!scheme.family)
    return scheme.id + " weights cannot be decoded, so they cannot be rewritten";
  if (is_float(scheme))
    return {};
  if (is_integer(scheme) && !reordered)
    return integer_blocks_problem(scheme, rows, cols);
  return "Rows of a table can be taken from float or integer codes in order; nearest: "
         "int8-channel-sym";
}

OnnxGraph::Value add_onnx_grid_ends(OnnxGraph& graph, const Value& tokens) {
  const Value shape = graph.add(
      "Concat", {graph.add("Shape", {tokens}), graph.constants(std::vector<std::int64_t>{2})},
      {{"axis", std::int64_t(0)}});
  return graph.add("Expand", {graph.constants(std::vector<float>{-128.0f / 127.0f, 1.0f}), shape});
}

OnnxGraph::Value add_onnx_linear(OnnxGraph& graph, const OnnxLinear& linear, const Value& input) {
  const QTensor& weight = linear.weight;
  Value x = input;
  if (weight.column_order) { // codes stand in another order: so do the inputs then
    const Value order =
        graph.weight(onnx_column_order(linear.stem + ".MatMul.column_order", weight));
    x = graph.add("Gather", {x, order}, {{"axis", std::int64_t(-1)}});
  }
  if (is_float(weight.scheme))
    return multiply_floats(graph, linear, x);
  if (weight.scheme.family->id == "nf4")
    return multiply_bnb4(graph, linear, x);
  if (linear.activations == "int8-token-dynamic")
    return multiply_dynamic(graph, linear, x);
  if (linear.activations == "int8-tensor-static")
    return multiply_static(graph, linear, x);
  return multiply_blocks(graph, linear, x);
}

OnnxGraph::Value add_onnx_table(OnnxGraph& graph, const std::string& stem, const QTensor& weight,
                                const Value& indices) {
  if (!is_float(weight.scheme))
    return add_block_table(graph, stem, weight, indices);
  const Value stored =
      graph.weight(onnx_values(stem + ".weight", {weight.rows, weight.cols}, weight));
  return as_float(graph, graph.add("Gather", {stored, indices}), weight.scheme.float_type);
}

OnnxGraph::Value add_onnx_vector(OnnxGraph& graph, const std::string& name, const QTensor& weight) {
  const Value stored = graph.weight(onnx_values(name, {weight.cols}, weight));
  return as_float(graph, stored, weight.scheme.float_type);
}

} // namespace bitlathe
