// SPDX-License-Identifier: Apache-2.0
// How matrices lie in device memory, as shaders/floats.glsl and shaders/packed.glsl read them.
#pragma once

#include "kernels/base/result.h"
#include "kernels/matrix.h"

#include <cstdint>

namespace bitlathe {

/// Rows of floats on the device are padded to whole units of eight values.
inline std::int64_t row_units(std::int64_t cols) { return (cols + 7) / 8; }
inline std::int64_t padded_row_bytes(const FloatView& w) {
  return row_units(w.cols) * 8 * std::int64_t(float_size(w.type));
}
/// Copies rows [first, first + count) so, zeros in the padding.
void fill_rows(std::byte* to, const FloatView& w, std::int64_t first, std::int64_t count);
/// memcpy on all threads for large pieces.
void copy_bytes(std::byte* to, const std::byte* from, std::uint64_t bytes);

/// What packed.glsl needs to know of a packed matrix.
struct PackedFormat {
  enum : std::uint32_t {
    layout_float = 0,
    layout_int = 1,
    layout_q8_0 = 2,
    layout_q4_0 = 3,
    layout_q4_1 = 4
  };
  enum : std::uint32_t { zeros_middle = 0, zeros_byte = 1, zeros_offset = 2 };
  std::uint32_t layout = 0, ftype = 0, bits = 4, zeros = zeros_middle; ///< specialisation constants
  std::uint32_t row_words = 0, group = 0, groups = 1, of_row = 0;      ///< push constants
  std::int64_t code_bytes = 0, scale_bytes = 0, zero_bytes = 0;        ///< of one row on the device
};
/// Error "unsupported" for a layout or size the shaders do not read.
Result<PackedFormat> packed_format(const MatrixView& q);

/// Bytes of codes, scales and zeros of `count` rows on the device; at least 4 each.
struct PackedBytes {
  std::uint64_t codes = 0, scales = 0, zeros = 0;
};
PackedBytes packed_bytes(const PackedFormat& f, std::int64_t count);
void fill_codes(std::byte* to, const MatrixView& q, std::int64_t first, std::int64_t count);
void fill_scales(std::byte* to, const MatrixView& q, const PackedFormat& f, std::int64_t first,
                 std::int64_t count);
void fill_zeros(std::byte* to, const MatrixView& q, const PackedFormat& f, std::int64_t first,
                std::int64_t count);

/// GGUF blocks as kept for products: integer codes in words, f16 scales and, for q4_1, f16 offsets.
PackedFormat resident_format(const MatrixView& q, const PackedFormat& f);
void fill_resident_blocks(const MatrixView& q, std::int64_t first, std::int64_t count,
                          std::byte* codes, std::byte* scales, std::byte* offsets);

} // namespace bitlathe
