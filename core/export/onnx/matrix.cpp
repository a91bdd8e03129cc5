// SPDX-License-Identifier: Apache-2.0
// What the weights of a graph are worth, by what ONNX's operators and those of ONNX Runtime say of
// their inputs; written apart from what packs them.
#include "kernels/matrix.h"
#include "core/export/onnx/nodes.h"
#include "kernels/num/nf4.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>

namespace bitlathe {

namespace {

using onnx::TensorProto;

/// Keeps a hostile file from making a number of bytes overflow.
constexpr std::int64_t most = std::int64_t(1) << 31;

Error misfit(const onnx::NodeProto& node, const std::string& what) {
  return {"bad-file", node.op_type() + " " + node.name() + ": " + what, {}};
}
Error computed(const onnx::NodeProto& node) {
  return {"unsupported", node.op_type() + " " + node.name() + " takes no stored weight", {}};
}

std::uint8_t byte_at(const OnnxTensor& tensor, std::int64_t index) {
  return std::to_integer<std::uint8_t>(tensor.data[std::size_t(index)]);
}

bool is_byte(const OnnxTensor& tensor) {
  return tensor.type == TensorProto::UINT8 || tensor.type == TensorProto::INT8;
}

int code_at(const OnnxTensor& tensor, std::int64_t index) {
  const std::uint8_t byte = byte_at(tensor, index);
  return tensor.type == TensorProto::INT8 ? int(std::int8_t(byte)) : int(byte);
}

/// One number for all rows, or one for each.
bool fits_rows(const OnnxTensor& tensor, std::int64_t rows) {
  return tensor.problem.empty() && (tensor.count() == 1 || tensor.count() == rows);
}

struct Grid {
  const OnnxTensor *scale = nullptr, *zero = nullptr;
  float scale_of(std::int64_t row) const {
    return onnx_float(*scale, scale->count() == 1 ? 0 : row);
  }
  int zero_of(std::int64_t row) const {
    return zero ? code_at(*zero, zero->count() == 1 ? 0 : row) : 0;
  }
};

/// Values or 8-bit codes of two dimensions; `turned`: as [cols][rows].
Result<OnnxMatrix> plain_matrix(const onnx::NodeProto& node, const OnnxTensor& tensor, bool turned,
                                const Grid& grid) {
  if (!tensor.problem.empty())
    return misfit(node, tensor.name + ": " + tensor.problem);
  if (tensor.dims.size() != 2 || tensor.count() == 0)
    return misfit(node, tensor.name + " is no matrix");
  OnnxMatrix out;
  out.rows = tensor.dims[turned ? 1 : 0];
  out.cols = tensor.dims[turned ? 0 : 1];
  out.quantized = grid.scale != nullptr;
  out.floats = !out.quantized;
  out.type = tensor.type;
  if (out.floats ? !is_onnx_float(tensor) : !is_byte(tensor))
    return misfit(node, tensor.name + " is of type " + onnx_type_name(tensor.type));
  if (grid.scale && (!is_onnx_float(*grid.scale) || !fits_rows(*grid.scale, out.rows)))
    return misfit(node, "its scales do not fit " + tensor.name);
  if (grid.zero && (grid.zero->type != tensor.type || !fits_rows(*grid.zero, out.rows)))
    return misfit(node, "its zero points do not fit " + tensor.name);
  out.decode = [&tensor, turned, grid, rows = out.rows,
                cols = out.cols](std::int64_t first, std::int64_t count, float* values) {
    const auto value = [&](std::int64_t row, std::int64_t col) {
      const std::int64_t at = turned ? col * rows + row : row * cols + col;
      return grid.scale ? grid.scale_of(row) * float(code_at(tensor, at) - grid.zero_of(row))
                        : onnx_float(tensor, at);
    };
    if (turned) {
      for (std::int64_t col = 0; col < cols; ++col)
        for (std::int64_t i = 0; i < count; ++i)
          values[i * cols + col] = value(first + i, col);
    } else {
      for (std::int64_t i = 0; i < count; ++i)
        for (std::int64_t col = 0; col < cols; ++col)
          values[i * cols + col] = value(first + i, col);
    }
  };
  return out;
}

struct BlockShape {
  std::int64_t rows = 0, cols = 0, bits = 0, size = 0;
  std::int64_t count() const { return (cols + size - 1) / size; }
  std::int64_t code_bytes() const { return size * bits / 8; }
  std::int64_t zero_bytes() const { return (count() * bits + 7) / 8; }
  bool sane() const {
    return rows > 0 && cols > 0 && rows < most && cols < most && bits >= 2 && bits <= 8 &&
           size >= 16 && size <= most && (size & (size - 1)) == 0;
  }
};

/// `zeros` may be null. Empty: they fit.
std::string blocks_problem(const BlockShape& shape, const OnnxTensor& codes,
                           const OnnxTensor& scales, const OnnxTensor* zeros) {
  if (!shape.sane())
    return "its attributes are out of range: K " + std::to_string(shape.cols) + ", N " +
           std::to_string(shape.rows) + ", bits " + std::to_string(shape.bits) + ", block_size " +
           std::to_string(shape.size) + " (a power of two from 16)";
  for (const OnnxTensor* tensor : {&codes, &scales, zeros})
    if (tensor && !tensor->problem.empty())
      return tensor->name + ": " + tensor->problem;
  if (codes.type != TensorProto::UINT8 ||
      codes.count() != shape.rows * shape.count() * shape.code_bytes())
    return codes.name + " is not of " +
           std::to_string(shape.rows * shape.count() * shape.code_bytes()) + " bytes";
  if (!is_onnx_float(scales) || scales.count() != shape.rows * shape.count())
    return scales.name + " does not have " + std::to_string(shape.rows * shape.count()) + " scales";
  if (!zeros)
    return {};
  const bool packed =
      zeros->type == TensorProto::UINT8 && zeros->count() == shape.rows * shape.zero_bytes();
  const bool plain = is_onnx_float(*zeros) && zeros->count() == shape.rows * shape.count();
  return packed || plain ? std::string()
                         : zeros->name + " does not have " +
                               std::to_string(shape.rows * shape.count()) + " zero points";
}

/// Bits [at, at + bits) of a stream with the first in the lowest ones.
int bits_at(const std::byte* stream, std::int64_t at, std::int64_t bits, std::int64_t bytes) {
  const std::int64_t byte = at / 8;
  unsigned value = std::to_integer<unsigned>(stream[byte]);
  if (byte + 1 < bytes)
    value |= std::to_integer<unsigned>(stream[byte + 1]) << 8;
  return int(value >> (at % 8) & ((1u << bits) - 1));
}

OnnxMatrix block_matrix(const BlockShape& shape, const OnnxTensor& codes, const OnnxTensor& scales,
                        const OnnxTensor* zeros) {
  OnnxMatrix out;
  out.rows = shape.rows;
  out.cols = shape.cols;
  out.quantized = true;
  out.type = codes.type;
  out.decode = [&codes, &scales, zeros, shape](std::int64_t first, std::int64_t count,
                                               float* values) {
    const std::int64_t row_bytes = shape.count() * shape.code_bytes();
    for (std::int64_t row = first; row < first + count; ++row) {
      const std::byte* stream = codes.data.data() + row * row_bytes;
      for (std::int64_t block = 0; block < shape.count(); ++block) {
        const std::int64_t at = row * shape.count() + block;
        const float scale = onnx_float(scales, at);
        float zero = float(1 << (shape.bits - 1));
        if (zeros && zeros->type == TensorProto::UINT8)
          zero = float(bits_at(zeros->data.data() + row * shape.zero_bytes(), block * shape.bits,
                               shape.bits, shape.zero_bytes()));
        else if (zeros)
          zero = onnx_float(*zeros, at);
        const std::int64_t end = std::min(shape.cols, (block + 1) * shape.size);
        for (std::int64_t col = block * shape.size; col < end; ++col)
          *values++ =
              scale * (float(bits_at(stream, col * shape.bits, shape.bits, row_bytes)) - zero);
      }
    }
  };
  return out;
}

Result<OnnxMatrix> of_blocks(const OnnxNodes& nodes, const onnx::NodeProto& node) {
  const BlockShape shape{whole_attribute(node, "N", 0), whole_attribute(node, "K", 0),
                         whole_attribute(node, "bits", 4), whole_attribute(node, "block_size", 0)};
  const OnnxTensor *codes = nodes.weight(node, 1), *scales = nodes.weight(node, 2),
                   *zeros = nodes.weight(node, 3);
  const bool other_zeros = !zeros && node.input_size() > 3 && !node.input(3).empty();
  if (!codes || !scales || other_zeros)
    return computed(node);
  if (node.input_size() > 4 && !node.input(4).empty())
    return Error{"unsupported", node.name() + " has a g_idx, which runtimes ignore", {}};
  if (const auto problem = blocks_problem(shape, *codes, *scales, zeros); !problem.empty())
    return misfit(node, problem);
  return block_matrix(shape, *codes, *scales, zeros);
}

Result<OnnxMatrix> of_bnb4(const OnnxNodes& nodes, const onnx::NodeProto& node) {
  const std::int64_t rows = whole_attribute(node, "N", 0), cols = whole_attribute(node, "K", 0);
  const std::int64_t size = whole_attribute(node, "block_size", 0);
  const std::int64_t kind = whole_attribute(node, "quant_type", -1);
  const OnnxTensor *codes = nodes.weight(node, 1), *scales = nodes.weight(node, 2);
  if (!codes || !scales)
    return computed(node);
  if (rows <= 0 || cols <= 0 || rows >= most || cols >= most || size < 16 || size > most ||
      (size & (size - 1)) != 0 || kind < 0 || kind > 1)
    return misfit(node, "its attributes are out of range");
  for (const OnnxTensor* tensor : {codes, scales})
    if (!tensor->problem.empty())
      return misfit(node, tensor->name + ": " + tensor->problem);
  const std::int64_t values = rows * cols;
  if (codes->type != TensorProto::UINT8 || codes->count() != (values + 1) / 2)
    return misfit(node, codes->name + " is not of " + std::to_string((values + 1) / 2) + " bytes");
  if (!is_onnx_float(*scales) || scales->count() != (values + size - 1) / size)
    return misfit(node, scales->name + " does not have " +
                            std::to_string((values + size - 1) / size) + " scales");
  OnnxMatrix out;
  out.rows = rows;
  out.cols = cols;
  out.quantized = true;
  out.type = codes->type;
  out.decode = [codes, scales, cols, size, kind](std::int64_t first, std::int64_t count,
                                                 float* to) {
    const auto& table = kind == 1 ? nf4_values : fp4_values;
    for (std::int64_t at = first * cols; at < (first + count) * cols; ++at) {
      const unsigned both = byte_at(*codes, at / 2);
      *to++ = table[at % 2 == 0 ? both >> 4 : both & 15u] * onnx_float(*scales, at / size);
    }
  };
  return out;
}

/// x -> DynamicQuantizeLinear -> MatMulInteger -> Cast -> Mul with the product of both scales.
Result<OnnxMatrix> of_integers(const OnnxNodes& nodes, const onnx::NodeProto& node) {
  const OnnxTensor* codes = nodes.weight(node, 1);
  if (!codes)
    return computed(node);
  const auto* cast = node.output_size() == 1 ? nodes.taker(node.output(0), "Cast") : nullptr;
  const auto* mul = cast ? nodes.taker(cast->output(0), "Mul") : nullptr;
  const OnnxTensor* scale = nullptr;
  for (int i = 0; mul && i < mul->input_size(); ++i)
    if (const auto* scales = nodes.maker(mul->input(i)); scales && scales->op_type() == "Mul")
      for (int k = 0; k < scales->input_size(); ++k)
        if (const OnnxTensor* found = nodes.weight(*scales, k))
          scale = found;
  if (!scale)
    return Error{"unsupported", node.name() + ": the scale of its weight was not found", {}};
  TRY_ASSIGN(OnnxMatrix out, plain_matrix(node, *codes, true, {scale, nodes.weight(node, 3)}));
  out.inputs = "int8-token-dynamic";
  return out;
}

/// The scale behind QuantizeLinear and DequantizeLinear, which inputs go through.
const OnnxTensor* input_grid(const OnnxNodes& nodes, const std::string& value) {
  const auto* decode = nodes.maker(value);
  if (!decode || decode->op_type() != "DequantizeLinear" || decode->input_size() < 2)
    return nullptr;
  const auto* code = nodes.maker(decode->input(0));
  return code && code->op_type() == "QuantizeLinear" ? nodes.weight(*decode, 1) : nullptr;
}

Result<OnnxMatrix> of_product(const OnnxNodes& nodes, const onnx::NodeProto& node) {
  if (node.input_size() < 2)
    return misfit(node, "it has fewer than two inputs");
  bool turned = node.op_type() != "Gemm" || whole_attribute(node, "transB", 0) == 0;
  std::string value = node.input(1);
  while (const auto* maker = nodes.maker(value)) {
    if (maker->op_type() != "Transpose" && maker->op_type() != "Cast" &&
        maker->op_type() != "Identity")
      break;
    turned = turned != (maker->op_type() == "Transpose");
    value = maker->input_size() > 0 ? maker->input(0) : std::string();
  }
  Grid grid;
  const OnnxTensor* tensor = nodes.weight(value);
  if (const auto* decode = nodes.maker(value);
      !tensor && decode && decode->op_type() == "DequantizeLinear") {
    tensor = nodes.weight(*decode, 0);
    grid = {nodes.weight(*decode, 1), nodes.weight(*decode, 2)};
    if (!grid.scale)
      return computed(node);
    const std::int64_t axis = whole_attribute(*decode, "axis", 1);
    if (grid.scale->count() > 1 && (axis + 2) % 2 != (turned ? 1 : 0))
      return Error{"unsupported", node.name() + " has scales that are not by output", {}};
  }
  if (!tensor)
    return computed(node);
  TRY_ASSIGN(OnnxMatrix out, plain_matrix(node, *tensor, turned, grid));
  if (const OnnxTensor* scale = input_grid(nodes, node.input(0))) {
    if (!is_onnx_float(*scale) || scale->count() != 1 || !scale->problem.empty())
      return misfit(node, "the scale of its inputs is not one number");
    out.inputs = "int8-tensor-static";
    out.input_scale = onnx_float(*scale, 0);
  }
  return out;
}

/// Inputs that are gathered first stand in another order: the columns of the weight do too.
Result<OnnxMatrix> in_column_order(const OnnxNodes& nodes, const onnx::NodeProto& node,
                                   OnnxMatrix matrix) {
  // Behind what codes the inputs.
  static const std::set<std::string> coding{
      "DynamicQuantizeLinear", "QuantizeLinear", "DequantizeLinear", "Slice", "Concat", "Div"};
  const auto* gather = node.input_size() > 0 ? nodes.maker(node.input(0)) : nullptr;
  for (int steps = 0; steps < 8 && gather && coding.count(gather->op_type()); ++steps)
    gather = gather->input_size() > 0 ? nodes.maker(gather->input(0)) : nullptr;
  const OnnxTensor* order =
      gather && gather->op_type() == "Gather" && whole_attribute(*gather, "axis", 0) == -1
          ? nodes.weight(*gather, 1)
          : nullptr;
  if (!order)
    return matrix;
  if (order->type != TensorProto::INT64 || !order->problem.empty() || order->count() != matrix.cols)
    return misfit(node, "the order of its columns does not fit");
  std::vector<std::int64_t> columns(std::size_t(matrix.cols));
  std::memcpy(columns.data(), order->data.data(), order->data.size());
  std::vector<bool> seen(columns.size(), false);
  for (const auto column : columns) {
    if (column < 0 || column >= matrix.cols || seen[std::size_t(column)])
      return misfit(node, "the order of its columns is no permutation");
    seen[std::size_t(column)] = true;
  }
  auto stored = std::move(matrix.decode);
  matrix.decode = [stored = std::move(stored), columns = std::move(columns)](
                      std::int64_t first, std::int64_t count, float* out) {
    const auto cols = std::int64_t(columns.size());
    std::vector<float> values(std::size_t(count * cols));
    stored(first, count, values.data());
    for (std::int64_t row = 0; row < count; ++row)
      for (std::int64_t i = 0; i < cols; ++i)
        out[row * cols + columns[std::size_t(i)]] = values[std::size_t(row * cols + i)];
  };
  return matrix;
}

} // namespace

bool is_onnx_float(const OnnxTensor& tensor) {
  return tensor.type == TensorProto::FLOAT || tensor.type == TensorProto::FLOAT16 ||
         tensor.type == TensorProto::BFLOAT16;
}

float onnx_float(const OnnxTensor& tensor, std::int64_t index) {
  const FloatType type = tensor.type == TensorProto::FLOAT     ? FloatType::f32
                         : tensor.type == TensorProto::FLOAT16 ? FloatType::f16
                                                               : FloatType::bf16;
  return load_float(type, tensor.data.data(), index);
}

Result<OnnxMatrix> onnx_matrix(const OnnxNodes& nodes, const onnx::NodeProto& node) {
  const std::string& op = node.op_type();
  if (op == "Gather") {
    const OnnxTensor* table = nodes.weight(node, 0);
    return table ? plain_matrix(node, *table, false, {}) : Result<OnnxMatrix>(computed(node));
  }
  Result<OnnxMatrix> (*read)(const OnnxNodes&, const onnx::NodeProto&) = nullptr;
  if (op == "MatMulNBits")
    read = of_blocks;
  else if (op == "MatMulBnb4")
    read = of_bnb4;
  else if (op == "MatMulInteger")
    read = of_integers;
  else if (op == "MatMul" || op == "Gemm")
    read = of_product;
  if (!read)
    return computed(node);
  TRY_ASSIGN(OnnxMatrix out, read(nodes, node));
  return in_column_order(nodes, node, std::move(out));
}

Result<OnnxMatrix> onnx_block_table(const OnnxModel& model, const std::string& stem,
                                    std::int64_t cols) {
  for (const std::int64_t bits : {2, 4, 8}) {
    const OnnxTensor* codes = model.find(stem + ".weight_Q" + std::to_string(bits));
    const OnnxTensor* scales = model.find(stem + ".weight_scales");
    if (!codes || !scales)
      continue;
    if (codes->dims.size() != 3)
      return Error{"bad-file", codes->name + " does not have three dimensions", {}};
    const BlockShape shape{codes->dims[0], cols, bits,
                           codes->dims[2] < most ? codes->dims[2] * 8 / bits : 0};
    const OnnxTensor* zeros = model.find(stem + ".weight_zero_points");
    if (const auto problem = blocks_problem(shape, *codes, *scales, zeros); !problem.empty())
      return Error{"bad-file", stem + ": " + problem, {}};
    return block_matrix(shape, *codes, *scales, zeros);
  }
  return Error{"not-found", "there is no table of " + stem, {}};
}

} // namespace bitlathe
