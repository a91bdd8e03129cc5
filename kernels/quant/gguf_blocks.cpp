// SPDX-License-Identifier: Apache-2.0
#include "kernels/quant/gguf_blocks.h"

#include "kernels/base/parallel.h"

#include <algorithm>
#include <atomic>

namespace bitlathe {

bool block_encoder_weighs(std::string_view layout) {
  constexpr std::string_view plain[] = {"q8_0", "mxfp4", "nvfp4", "tq1_0", "tq2_0"};
  return has_block_encoder(layout) &&
         std::find(std::begin(plain), std::end(plain), layout) == std::end(plain);
}

Result<std::int64_t> vanished_blocks(Compute& compute, const FloatView& w, const MatrixView& q,
                                     const Feedback* feedback) {
  const std::int64_t block = q.layout->block;
  const std::int64_t piece =
      std::max<std::int64_t>(1, (1 << 20) / std::max<std::int64_t>(1, w.cols));
  std::vector<float> decoded(static_cast<std::size_t>(std::min(piece, w.rows) * w.cols));
  std::atomic<std::int64_t> vanished = 0;
  for (std::int64_t first = 0; first < w.rows; first += piece) {
    const std::int64_t rows = std::min(piece, w.rows - first);
    const std::span<float> values(decoded.data(), std::size_t(rows * w.cols));
    TRY(compute.decode(q, first, rows, values, feedback));
    parallel_for(rows, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row)
        for (std::int64_t col = 0; col < w.cols; col += block) {
          const float* v = values.data() + row * w.cols + col;
          if (std::any_of(v, v + block, [](float x) { return x != 0; }))
            continue;
          const std::byte* source = w.row(first + row);
          for (std::int64_t c = col; c < col + block; ++c)
            if (load_float(w.type, source, c) != 0) {
              ++vanished;
              break;
            }
        }
    });
  }
  return std::int64_t(vanished);
}

} // namespace bitlathe
