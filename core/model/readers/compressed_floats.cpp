// SPDX-License-Identifier: Apache-2.0
// The 4-bit floats of compressed-tensors and the blocks of GGUF hold the same numbers in another
// order: there, neighbours share a byte and scales stand apart; here, the first and the second half
// of a group share bytes behind their scales.
#include "core/model/readers/compressed_weights.h"
#include "kernels/base/parallel.h"

#include <atomic>

namespace bitlathe {

namespace {

/// One group of `size` columns: its nibbles in halves, each xored with `flip`.
void halves(const std::byte* pairs, int size, unsigned flip, std::byte* out) {
  const auto nibble = [&](int i) {
    return (unsigned(pairs[i / 2]) >> (i % 2 ? 4 : 0) & 15u) ^ flip;
  };
  for (int j = 0; j < size / 2; ++j)
    out[j] = std::byte(nibble(j) | nibble(j + size / 2) << 4);
}

} // namespace

bool nvfp4_blocks(std::span<const std::byte> codes, std::span<const std::byte> scales,
                  std::int64_t rows, std::int64_t cols, std::span<std::byte> out) {
  const std::int64_t blocks = cols / 64;
  std::atomic<bool> good{true};
  parallel_for(rows, 32, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin * blocks; b < end * blocks; ++b)
      for (int s = 0; s < 4; ++s) {
        const auto scale = unsigned(scales[std::size_t(b * 4 + s)]);
        if ((scale & 0x7f) == 0x7f)
          good = false;
        out[std::size_t(b * 36 + s)] = std::byte(scale & 0x7f);
        halves(codes.data() + b * 32 + s * 8, 16, scale & 0x80 ? 8 : 0,
               out.data() + b * 36 + 4 + 8 * s);
      }
  });
  return good;
}

bool mxfp4_blocks(std::span<const std::byte> codes, std::span<const std::byte> scales,
                  std::int64_t rows, std::int64_t cols, std::span<std::byte> out) {
  const std::int64_t blocks = cols / 32;
  std::atomic<bool> good{true};
  parallel_for(rows, 32, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin * blocks; b < end * blocks; ++b) {
      if (scales[std::size_t(b)] == std::byte(0xff))
        good = false;
      out[std::size_t(b * 17)] = scales[std::size_t(b)];
      halves(codes.data() + b * 16, 32, 0, out.data() + b * 17 + 1);
    }
  });
  return good;
}

} // namespace bitlathe
