// SPDX-License-Identifier: Apache-2.0
// Values as a checkpoint stores them: f32, f16 or bf16.
#include "kernels/cpu/isa.h"
#include "kernels/cpu/kernels.h"
#include "kernels/matrix.h"

namespace bitlathe {

namespace {

std::int64_t row_bytes(const MatrixView& m) {
  return m.cols * std::int64_t(float_size(m.float_type));
}

void decode(const MatrixView& m, std::int64_t row, std::int64_t col, std::int64_t count,
            float* out) {
  const std::uint8_t* at = m.row(row) + col * std::int64_t(float_size(m.float_type));
  active_cpu_kernels().to_f32(int(m.float_type), at, count, out);
}

} // namespace

extern const Layout layout_float;
const Layout layout_float{"float", row_bytes, decode};

} // namespace bitlathe
