// SPDX-License-Identifier: Apache-2.0
// GGUF block types as the product shaders take them: integer codes on a grid per group, so that one
// shader serves all. Values stay exactly those of the layout; the grids take more room on the
// device than in the file.
#pragma once

#include "kernels/compute/vulkan_format.h"

namespace bitlathe {

/// w = scale * (code - 2^(bits - 1)), or scale * code + offset for types with a minimum; the scale
/// and offset of `group` columns as f32.
struct IntegerForm {
  std::string_view layout;
  std::uint32_t bits, group;
  bool offset;
  /// One block: a code per column; a scale and an offset per group.
  void (*take)(const std::uint8_t* block, std::uint8_t* codes, float* scales, float* offsets);
};
/// nullptr when a layout has none, or the matrix a shape the shaders do not take.
const IntegerForm* integer_form(const MatrixView& q);
PackedFormat integer_format(const MatrixView& q, const IntegerForm& form);
void fill_integer_form(const MatrixView& q, const IntegerForm& form, std::int64_t first,
                       std::int64_t count, std::byte* codes, std::byte* scales, std::byte* offsets);

} // namespace bitlathe
