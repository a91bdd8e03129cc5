// SPDX-License-Identifier: Apache-2.0
// Views of matrices in memory: float matrices as checkpoints store them, and packed matrices in any
// layout that a scheme defines. Non-owning; all little endian, row-major.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace bitlathe {

enum class FloatType : std::uint8_t { f32, f16, bf16 };
constexpr std::size_t float_size(FloatType t) { return t == FloatType::f32 ? 4 : 2; }
float load_float(FloatType type, const std::byte* base, std::int64_t index);
void store_float(FloatType type, std::byte* base, std::int64_t index, float value);

/// rows x cols floats of one type, contiguous.
struct FloatView {
  FloatType type = FloatType::f32;
  std::int64_t rows = 0, cols = 0;
  std::span<const std::byte> data; ///< rows * cols * float_size(type) bytes, any alignment

  FloatView slice(std::int64_t first_row, std::int64_t count) const {
    const auto stride = cols * std::int64_t(float_size(type));
    return {type, count, cols,
            data.subspan(std::size_t(first_row * stride), std::size_t(count * stride))};
  }
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
/// layout "q8_0", "q4_0", "q4_1": GGUF blocks of 32 along a row (reference: ggml), in `codes`.
struct MatrixView {
  const Layout* layout = nullptr;
  std::int64_t rows = 0, cols = 0;
  int bits = 0;
  std::int64_t group = 0;
  bool symmetric = true;
  bool per_tensor = false;
  FloatType float_type = FloatType::f32; ///< of the values (float) or of the scales (int)
  std::span<const std::byte> codes, scales, zeros;

  std::int64_t groups() const { return group > 0 ? (cols + group - 1) / group : 1; }
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
};

std::span<const Layout* const> all_layouts();
/// nullptr when unknown.
const Layout* find_layout(std::string_view id);

} // namespace bitlathe
