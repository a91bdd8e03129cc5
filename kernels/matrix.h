// SPDX-License-Identifier: Apache-2.0
// Views of matrices in memory: float matrices as checkpoints store them, and packed matrices in any
// layout that a scheme defines. Non-owning; all little endian, row-major.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace bitlathe {

namespace cpu {
struct BlockKernels;
struct Kernels;
} // namespace cpu

enum class FloatType : std::uint8_t { f32, f16, bf16 };
constexpr std::size_t float_size(FloatType t) { return t == FloatType::f32 ? 4 : 2; }
float load_float(FloatType type, const std::byte* base, std::int64_t index);
void store_float(FloatType type, std::byte* base, std::int64_t index, float value);

/// For every row of a view the row of the stored data that holds it; empty when they are the same.
/// A checkpoint that keeps rows in another order stays mapped that way.
using RowOrder = std::span<const std::int32_t>;
inline std::int64_t stored_row(RowOrder order, std::int64_t row) {
  return order.empty() ? row : order[std::size_t(row)];
}

/// rows x cols floats of one type, contiguous.
struct FloatView {
  FloatType type = FloatType::f32;
  std::int64_t rows = 0, cols = 0;
  std::span<const std::byte> data; ///< rows * cols * float_size(type) bytes, any alignment; with a
                                   ///< row order: all rows that it names
  RowOrder row_order = {};

  std::int64_t row_bytes() const { return cols * std::int64_t(float_size(type)); }
  const std::byte* row(std::int64_t r) const {
    return data.data() + stored_row(row_order, r) * row_bytes();
  }
  FloatView slice(std::int64_t first_row, std::int64_t count) const;
};

struct Layout;

/// A weight matrix W[rows = outputs][cols = inputs] in some storage layout.
///
/// layout "float":  `codes` holds the values, type in `float_type`.
/// layout "int":    unsigned codes u of `bits` bits (2..8), each row a dense little-endian
/// bitstream
///                  padded to whole 32-bit words (element i at bits i*bits.., as compressed-tensors
///                  stores it). Groups of `group` columns (the last may be shorter); group == cols
///                  for per-channel, and per-tensor repeats nothing: `scales` then has one element.
///                  w = scale * (u - zero); symmetric: zero = 2^(bits-1) and `zeros` is empty;
///                  asymmetric: `zeros` has one byte per group, values 0..2^bits-1.
///                  scales/zeros: [rows][groups], or one element when `per_tensor`.
///                  With a `column_order`, the codes and groups of a row stand in that order, and
///                  the layout is "int_ordered".
/// other layouts:  what their file in kernels/layouts says: blocks along a row in `codes` (GGUF
/// types: their names, reference ggml), see
///                  `Layout::block`.
struct MatrixView {
  const Layout* layout = nullptr;
  std::int64_t rows = 0, cols = 0;
  int bits = 0;
  std::int64_t group = 0;
  bool symmetric = true;
  bool per_tensor = false;
  FloatType float_type = FloatType::f32; ///< of the values (float) or of the scales (int)
  std::span<const std::byte> codes, scales, zeros;
  /// Scales of scales, where the layout has such.
  std::span<const std::byte> nested;
  RowOrder row_order = {}; ///< of codes, scales and zeros
  /// Position in a stored row -> column of the weight (act-order); empty: the same.
  std::span<const std::int32_t> column_order;
  /// Rows that share a scale; more than 1 for tiles (f8: 128 x 128).
  std::int64_t group_rows = 1;
  /// Layouts whose groups do not end with a row (tiles, blocks over the flattened weight): the row
  /// of the whole weight that row 0 is. `scales`, `zeros` and `nested` are the whole weight's.
  std::int64_t row_origin = 0;

  std::int64_t groups() const { return group > 0 ? (cols + group - 1) / group : 1; }
  std::int64_t stored(std::int64_t row) const { return stored_row(row_order, row); }
  /// The codes of one row.
  const std::uint8_t* row(std::int64_t r) const;
  MatrixView slice(std::int64_t first_row, std::int64_t count) const;
};

/// One storage layout: kernels/layouts/<id>.cpp, listed in kernels/CMakeLists.txt.
struct Layout {
  std::string_view id;
  /// Bytes of one row of `codes`.
  std::int64_t (*row_bytes)(const MatrixView&);
  /// Decodes columns [col, col + count) of one row to f32; `col` is a multiple of 32. Runs on the
  /// instruction set in use; the result is the same on every one.
  void (*decode)(const MatrixView&, std::int64_t row, std::int64_t col, std::int64_t count,
                 float* out);
  /// Layouts of blocks: columns and bytes of a block, the decoding of whole blocks in plain C++,
  /// which is the definition, and the kernels of an instruction set. Otherwise 0 and null.
  int block = 0, block_bytes = 0;
  void (*reference)(const std::uint8_t* blocks, std::int64_t n_blocks, float* out) = nullptr;
  cpu::BlockKernels (*kernels)(const cpu::Kernels&) = nullptr;
  /// Groups go across rows: see MatrixView::row_origin. Such weights have no row order.
  bool groups_cross_rows = false;
};

std::span<const Layout* const> all_layouts();
/// nullptr when unknown.
const Layout* find_layout(std::string_view id);

} // namespace bitlathe
