// SPDX-License-Identifier: Apache-2.0
// What layouts of codes that name entries of a table share.
#pragma once

#include "kernels/cpu/isa.h"
#include "kernels/cpu/kernels.h"
#include "kernels/matrix.h"

#include <algorithm>

namespace bitlathe {

constexpr std::int64_t table_step = 512; ///< codes unpacked together

/// Codes [col, col + n) of a row, n <= table_step.
inline void unpack_codes(const MatrixView& m, std::int64_t row, int bits, std::int64_t col,
                         std::int64_t n, std::uint8_t* codes) {
  active_cpu_kernels().unpack(m.row(row), m.layout->row_bytes(m), bits, col, n, codes);
}

} // namespace bitlathe
