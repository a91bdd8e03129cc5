// SPDX-License-Identifier: Apache-2.0
// What layouts of blocks along a row share. A block type is one file here that gives the columns
// and bytes of a block and decodes whole blocks in plain C++ (no fused multiply-add: the build
// forbids it, so that every instruction set has the same bits). A faster decoder, and a product
// that decodes in registers, may follow in kernels/cpu/ as a member of cpu::Kernels; tst_gguf_types
// compares them.
#pragma once

#include "kernels/cpu/isa.h"
#include "kernels/cpu/kernels.h"
#include "kernels/matrix.h"
#include "kernels/num/float16.h"

#include <algorithm>

namespace bitlathe {

using DecodeBlocks = void (*)(const std::uint8_t* blocks, std::int64_t n_blocks, float* out);

inline float block_half(const std::uint8_t* at) {
  return f16_to_f32(std::uint16_t(at[0] | at[1] << 8));
}

template <int columns, int bytes, DecodeBlocks reference, cpu::BlockKernels cpu::Kernels::*fast>
struct Blocks {
  static std::int64_t row_bytes(const MatrixView& m) { return m.cols / columns * bytes; }

  static cpu::BlockKernels kernels(const cpu::Kernels& all) {
    cpu::BlockKernels own{reference, nullptr, nullptr};
    if constexpr (fast != nullptr) {
      own.dot = (all.*fast).dot;
      own.encode = (all.*fast).encode;
      if ((all.*fast).decode)
        own.decode = (all.*fast).decode;
    }
    return own;
  }

  static void decode(const MatrixView& m, std::int64_t row, std::int64_t col, std::int64_t count,
                     float* out) {
    const DecodeBlocks decode_blocks = kernels(active_cpu_kernels()).decode;
    const std::uint8_t* block = m.row(row) + col / columns * bytes;
    float part[columns]; // the caller may start and stop inside a block
    if (const std::int64_t skip = col % columns; skip > 0 && count > 0) {
      const std::int64_t n = std::min<std::int64_t>(count, columns - skip);
      decode_blocks(block, 1, part);
      std::copy_n(part + skip, n, out);
      block += bytes;
      out += n;
      count -= n;
    }
    decode_blocks(block, count / columns, out);
    if (const std::int64_t rest = count % columns) {
      decode_blocks(block + count / columns * bytes, 1, part);
      std::copy_n(part, rest, out + (count - rest));
    }
  }
};

/// For `const Layout layout_NAME = block_layout<...>("NAME");`
template <int columns, int bytes, DecodeBlocks reference,
          cpu::BlockKernels cpu::Kernels::*fast = nullptr>
constexpr Layout block_layout(std::string_view id) {
  using B = Blocks<columns, bytes, reference, fast>;
  return {id, B::row_bytes, B::decode, columns, bytes, reference, B::kernels};
}

} // namespace bitlathe
