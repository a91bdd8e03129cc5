// SPDX-License-Identifier: Apache-2.0
#include "core/export/onnx/pack.h"

#include "core/export/tensors.h"
#include "core/schemes/deferred.h"
#include "kernels/base/parallel.h"
#include "kernels/compute/compute.h"
#include "kernels/layouts/blockwise.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numeric>

namespace bitlathe {

namespace {

/// A weight whose rows of bytes are made one by one, from `source`.
OnnxWeight in_rows(const QTensor& source, std::string name, std::int32_t type,
                   std::vector<std::int64_t> dims, std::int64_t rows, std::size_t row_bytes,
                   std::function<void(std::int64_t row, std::byte* out)> make_row) {
  return {std::move(name), type, std::move(dims), std::uint64_t(rows) * row_bytes,
          with_weight(source, [rows, row_bytes, make_row = std::move(make_row)](OutputFile& file) {
            return write_in_pieces(file, rows, row_bytes, make_row);
          })};
}

/// Writes [cols][rows] of elements. `fill(row, col, count, out)` gives some of a row; `col` is a
/// multiple of 32.
template <class Element, class Fill>
Result<void> write_transposed(OutputFile& file, std::int64_t rows, std::int64_t cols, Fill fill) {
  constexpr std::int64_t piece_bytes = 8 << 20, together = 32;
  const std::int64_t step = std::max<std::int64_t>(
      32, piece_bytes / std::max<std::int64_t>(1, rows * std::int64_t(sizeof(Element))) / 32 * 32);
  std::vector<Element> piece;
  for (std::int64_t col = 0; col < cols; col += step) {
    const std::int64_t n = std::min(step, cols - col);
    piece.resize(std::size_t(n * rows));
    parallel_for((rows + together - 1) / together, 1, [&](std::int64_t begin, std::int64_t end) {
      std::vector<Element> some(std::size_t(together * n));
      for (std::int64_t tile = begin; tile < end; ++tile) {
        const std::int64_t first = tile * together, height = std::min(together, rows - first);
        for (std::int64_t r = 0; r < height; ++r)
          fill(first + r, col, n, some.data() + r * n);
        for (std::int64_t c = 0; c < n; ++c)
          for (std::int64_t r = 0; r < height; ++r)
            piece[std::size_t(c * rows + first + r)] = some[std::size_t(r * n + c)];
      }
    });
    TRY(file.write(std::as_bytes(std::span(piece))));
  }
  return {};
}

template <class Element>
Result<void> write_floats_transposed(OutputFile& file, const QTensor& weight) {
  const MatrixView view = weight.view();
  return write_transposed<Element>(
      file, weight.rows, weight.cols,
      [&](std::int64_t row, std::int64_t col, std::int64_t count, Element* out) {
        thread_local std::vector<float> values;
        values.resize(std::size_t(count));
        view.layout->decode(view, row, col, count, values.data());
        for (std::int64_t i = 0; i < count; ++i)
          store_float(weight.scheme.float_type, reinterpret_cast<std::byte*>(out), i,
                      values[std::size_t(i)]);
      });
}

/// GGUF's q4_0 and q8_0: an f16 scale before 32 codes, which are signed bytes, or half bytes with
/// the second half of the block in the upper ones.
bool is_gguf_block(const Scheme& scheme) { return scheme.id == "q4_0" || scheme.id == "q8_0"; }
constexpr std::int64_t gguf_block = 32;
std::size_t gguf_block_bytes(std::int64_t bits) { return std::size_t(2 + gguf_block * bits / 8); }

/// The codes of one such block, the first in the lowest bits, with 2^(bits-1) for zero.
void take_gguf_codes(const std::uint8_t* block, std::int64_t bits, std::byte* out) {
  const std::uint8_t* codes = block + 2;
  if (bits == 8) {
    for (std::int64_t i = 0; i < gguf_block; ++i)
      out[i] = std::byte(codes[i] ^ 0x80);
    return;
  }
  for (std::int64_t i = 0; i < gguf_block / 4; ++i) {
    out[i] = std::byte((codes[2 * i] & 15) | (codes[2 * i + 1] & 15) << 4);
    out[i + gguf_block / 4] = std::byte(codes[2 * i] >> 4 | (codes[2 * i + 1] & 0xF0));
  }
}

/// Index of the scale of a group of a row.
std::int64_t scale_index(const QTensor& weight, const MatrixView& view, std::int64_t row,
                         std::int64_t group) {
  return view.per_tensor ? 0 : weight.stored_row(row) * view.groups() + group;
}

} // namespace

std::int32_t onnx_type(FloatType type) {
  static constexpr std::array types{onnx::TensorProto::FLOAT, onnx::TensorProto::FLOAT16,
                                    onnx::TensorProto::BFLOAT16};
  return types[std::size_t(type)];
}

OnnxWeight onnx_values(std::string name, std::vector<std::int64_t> dims, const QTensor& weight) {
  const FloatType type = weight.scheme.float_type;
  auto tensor = float_tensor(name, {}, dims, weight, type);
  return {std::move(name), onnx_type(type), std::move(dims), tensor.bytes, std::move(tensor.write)};
}

OnnxWeight onnx_transposed(std::string name, const QTensor& weight) {
  const FloatType type = weight.scheme.float_type;
  return {std::move(name),
          onnx_type(type),
          {weight.cols, weight.rows},
          std::uint64_t(weight.rows * weight.cols) * float_size(type),
          [&weight, type](OutputFile& file) -> Result<void> {
            TRY_ASSIGN(const WeightUse use, weight.use());
            if (weight.by_columns && !weight.row_order)
              return file.write(weight.codes);
            return type == FloatType::f32 ? write_floats_transposed<std::uint32_t>(file, weight)
                                          : write_floats_transposed<std::uint16_t>(file, weight);
          }};
}

OnnxWeight onnx_codes_transposed(std::string name, const QTensor& weight) {
  const bool symmetric = weight.scheme.symmetric;
  return {std::move(name),
          symmetric ? onnx::TensorProto::INT8 : onnx::TensorProto::UINT8,
          {weight.cols, weight.rows},
          std::uint64_t(weight.rows * weight.cols),
          [&weight, symmetric](OutputFile& file) -> Result<void> {
            TRY_ASSIGN(const WeightUse use, weight.use());
            const MatrixView view = weight.view();
            const std::uint8_t flip = symmetric ? 0x80 : 0; // u - 128 in two's complement
            return write_transposed<std::uint8_t>(
                file, weight.rows, weight.cols,
                [&](std::int64_t row, std::int64_t col, std::int64_t count, std::uint8_t* out) {
                  const std::uint8_t* codes = view.row(row) + col;
                  for (std::int64_t i = 0; i < count; ++i)
                    out[i] = std::uint8_t(codes[i] ^ flip);
                });
          }};
}

OnnxWeight onnx_row_scales(std::string name, const QTensor& weight) {
  return in_rows(weight, std::move(name), onnx::TensorProto::FLOAT, {weight.rows}, weight.rows,
                 sizeof(float), [&weight](std::int64_t row, std::byte* out) {
                   const MatrixView view = weight.view();
                   store_float(FloatType::f32, out, 0,
                               load_float(view.float_type, view.scales.data(),
                                          scale_index(weight, view, row, 0)));
                 });
}

OnnxWeight onnx_row_zeros(std::string name, const QTensor& weight) {
  return in_rows(weight, std::move(name),
                 weight.scheme.symmetric ? onnx::TensorProto::INT8 : onnx::TensorProto::UINT8,
                 {weight.rows}, weight.rows, 1, [&weight](std::int64_t row, std::byte* out) {
                   const MatrixView view = weight.view();
                   *out = view.symmetric
                              ? std::byte(0)
                              : view.zeros[std::size_t(scale_index(weight, view, row, 0))];
                 });
}

OnnxBlocks onnx_blocks(const Scheme& scheme, std::int64_t rows, std::int64_t cols) {
  constexpr std::int64_t smallest = 16, largest = 256; // that ONNX Runtime has kernels for
  const bool ternary = scheme.family->id == "ternary";
  OnnxBlocks out;
  if (is_gguf_block(scheme))
    return {scheme.id == "q4_0" ? 4 : 8, gguf_block, rows, cols / gguf_block, true};
  out.bits = ternary ? 2 : std::int64_t(scheme.bits);
  out.rows = rows;
  out.symmetric = ternary || scheme.symmetric;
  // The largest power of two that divides a group; one that holds the whole row may go beyond it.
  const bool whole_row = scheme.group == 0 || scheme.group >= cols;
  const std::int64_t length =
      whole_row ? (cols + smallest - 1) / smallest * smallest : scheme.group;
  if (length % smallest != 0)
    return out;
  out.size = std::min(largest, length & -length);
  out.count = (cols + out.size - 1) / out.size;
  return out;
}

OnnxWeight onnx_block_codes(std::string name, const OnnxBlocks& blocks, const QTensor& weight) {
  const auto row_bytes = std::size_t(blocks.count * blocks.code_bytes());
  return in_rows(weight, std::move(name), onnx::TensorProto::UINT8,
                 {blocks.rows, blocks.count, blocks.code_bytes()}, blocks.rows, row_bytes,
                 [&weight, bits = blocks.bits, row_bytes](std::int64_t row, std::byte* out) {
                   if (is_gguf_block(weight.scheme)) {
                     const auto stored = gguf_block_bytes(bits);
                     const auto packed = std::size_t(gguf_block * bits / 8);
                     const std::uint8_t* block = weight.view().row(row);
                     for (std::size_t at = 0; at < row_bytes; at += packed, block += stored)
                       take_gguf_codes(block, bits, out + at);
                     return;
                   }
                   // Both are streams of bits with the first in the lowest ones.
                   const auto used = std::size_t(weight.cols * bits + 7) / 8;
                   std::memcpy(out, weight.view().row(row), used);
                   std::memset(out + used, 0, row_bytes - used);
                 });
}

OnnxWeight onnx_block_scales(std::string name, const OnnxBlocks& blocks, const QTensor& weight) {
  return in_rows(weight, std::move(name), onnx::TensorProto::FLOAT, {blocks.rows, blocks.count},
                 blocks.rows, std::size_t(blocks.count) * sizeof(float),
                 [&weight, blocks](std::int64_t row, std::byte* out) {
                   const MatrixView view = weight.view();
                   for (std::int64_t b = 0; b < blocks.count; ++b) {
                     if (is_gguf_block(weight.scheme)) {
                       const auto* block = reinterpret_cast<const std::byte*>(view.row(row)) +
                                           std::size_t(b) * gguf_block_bytes(blocks.bits);
                       store_float(FloatType::f32, out, b, load_float(FloatType::f16, block, 0));
                       continue;
                     }
                     const auto at = scale_index(weight, view, row, b * blocks.size / view.group);
                     store_float(FloatType::f32, out, b,
                                 load_float(view.float_type, view.scales.data(), at));
                   }
                 });
}

OnnxWeight onnx_block_zeros(std::string name, const OnnxBlocks& blocks, const QTensor& weight) {
  return in_rows(weight, std::move(name), onnx::TensorProto::UINT8,
                 {blocks.rows, blocks.zero_bytes()}, blocks.rows, std::size_t(blocks.zero_bytes()),
                 [&weight, blocks](std::int64_t row, std::byte* out) {
                   const MatrixView view = weight.view();
                   std::memset(out, 0, std::size_t(blocks.zero_bytes()));
                   for (std::int64_t b = 0; b < blocks.count; ++b) {
                     const auto at = scale_index(weight, view, row, b * blocks.size / view.group);
                     const std::int64_t bit = b * blocks.bits;
                     out[bit / 8] |= view.zeros[std::size_t(at)] << (bit % 8);
                   }
                 });
}

std::int64_t onnx_bnb4_block(const Scheme& scheme) {
  return std::min<std::int64_t>(scheme.group, 256);
}

OnnxWeight onnx_bnb4_codes(std::string name, const QTensor& weight) {
  constexpr std::int64_t piece = 4096; // bytes made together
  const std::int64_t values = weight.rows * weight.cols, bytes = (values + 1) / 2;
  OnnxWeight out;
  out.name = std::move(name);
  out.type = onnx::TensorProto::UINT8;
  out.dims = {bytes};
  out.bytes = std::uint64_t(bytes);
  out.write = [&weight, values, bytes](OutputFile& file) -> Result<void> {
    TRY_ASSIGN(const WeightUse use, weight.use());
    const MatrixView view = weight.view();
    const auto make = [&](std::int64_t first, std::int64_t count, std::byte* to) {
      std::int64_t row = 2 * first / weight.cols, col = 2 * first % weight.cols;
      for (std::int64_t i = 0; i < count; ++i) {
        unsigned both = 0;
        for (std::int64_t half = 0; half < 2; ++half) {
          const bool there = 2 * (first + i) + half < values;
          const unsigned code = there ? unsigned(view.row(row)[col / 2]) >> (col % 2 * 4) & 15u : 0;
          both = both << 4 | code;
          if (++col == weight.cols) {
            col = 0;
            ++row;
          }
        }
        to[i] = std::byte(both);
      }
    };
    const std::int64_t whole = bytes / piece;
    TRY(write_in_pieces(file, whole, std::size_t(piece),
                        [&](std::int64_t i, std::byte* to) { make(i * piece, piece, to); }));
    std::vector<std::byte> rest(std::size_t(bytes - whole * piece));
    make(whole * piece, std::int64_t(rest.size()), rest.data());
    return file.write(rest);
  };
  return out;
}

OnnxWeight onnx_bnb4_scales(std::string name, const QTensor& weight) {
  const std::int64_t size = onnx_bnb4_block(weight.scheme);
  const std::int64_t count = (weight.rows * weight.cols + size - 1) / size;
  return in_rows(weight, std::move(name), onnx::TensorProto::FLOAT, {count}, count, sizeof(float),
                 [&weight, size](std::int64_t block, std::byte* out) {
                   const MatrixView view = weight.view();
                   store_float(FloatType::f32, out, 0,
                               block_scale(view, block * size / view.group));
                 });
}

OnnxWeight onnx_column_order(std::string name, const QTensor& weight) {
  return in_rows(weight, std::move(name), onnx::TensorProto::INT64, {weight.cols}, weight.cols,
                 sizeof(std::int64_t), [&weight](std::int64_t i, std::byte* out) {
                   const std::int64_t column = (*weight.column_order)[std::size_t(i)];
                   std::memcpy(out, &column, sizeof column);
                 });
}

OnnxWeight onnx_scalar(std::string name, const float& value) {
  return {std::move(name), onnx::TensorProto::FLOAT, {}, sizeof(float), [&value](OutputFile& file) {
            return file.write(std::as_bytes(std::span(&value, 1)));
          }};
}

} // namespace bitlathe
