// SPDX-License-Identifier: Apache-2.0
// Blocks of nvfp4 (kernels/layouts/nvfp4.cpp) under one f32 factor of the whole weight, which is
// the one element of `scales`: x = factor * (scale / 2 * twice the E2M1 value). The product in
// parentheses is exact. Rows need not divide into blocks: the last one is filled up with zeros.
#include "kernels/matrix.h"

namespace bitlathe {

namespace {

const Layout& blocks() {
  static const Layout* layout = find_layout("nvfp4");
  return *layout;
}

std::int64_t row_bytes(const MatrixView& m) {
  return (m.cols + blocks().block - 1) / blocks().block * blocks().block_bytes;
}

void decode(const MatrixView& m, std::int64_t row, std::int64_t col, std::int64_t count,
            float* out) {
  blocks().decode(m, row, col, count, out);
  const float factor = load_float(FloatType::f32, m.scales.data(), 0);
  for (std::int64_t i = 0; i < count; ++i)
    out[i] *= factor;
}

} // namespace

extern const Layout layout_nvfp4_scaled;
const Layout layout_nvfp4_scaled{"nvfp4_scaled", row_bytes, decode};

} // namespace bitlathe
