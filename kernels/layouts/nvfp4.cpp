// SPDX-License-Identifier: Apache-2.0
// GGUF nvfp4: 64 values in 36 bytes. 0 four unsigned E4M3 scales of 16 values each, 4 nibbles (8
// bytes hold 16 values: low nibbles, then high ones); x = scale / 2 * twice the E2M1 value.
#include "kernels/layouts/block.h"
#include "kernels/layouts/value_tables.h"

namespace bitlathe {

namespace {

void decode(const std::uint8_t* b, std::int64_t n_blocks, float* out) {
  for (std::int64_t i = 0; i < n_blocks; ++i, b += 36, out += 64)
    for (int s = 0; s < 4; ++s) {
      const float d = nvfp4_scale(b[s]);
      for (int j = 0; j < 8; ++j) {
        const int code = b[4 + 8 * s + j];
        out[16 * s + j] = float(e2m1_doubled[code & 15]) * d;
        out[16 * s + j + 8] = float(e2m1_doubled[code >> 4]) * d;
      }
    }
}

} // namespace

extern const Layout layout_nvfp4;
const Layout layout_nvfp4 = block_layout<64, 36, decode, &cpu::Kernels::nvfp4>("nvfp4");

} // namespace bitlathe
