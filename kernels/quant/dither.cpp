// SPDX-License-Identifier: Apache-2.0
#include "kernels/quant/dither.h"

#include "kernels/base/parallel.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/kernels.h"

#include <algorithm>

namespace bitlathe {

Result<void> each_row_of(const FloatView& w, const Feedback* feedback,
                         const std::function<void(std::int64_t, const float*)>& row) {
  const auto grain = std::max<std::int64_t>(1, 16384 / std::max<std::int64_t>(1, w.cols));
  const bool finished = parallel_for(
      w.rows, grain,
      [&](std::int64_t begin, std::int64_t end) {
        std::vector<float> values(std::size_t(w.cols));
        for (std::int64_t r = begin; r < end; ++r) {
          active_cpu_kernels().to_f32(int(w.type), w.row(r), w.cols, values.data());
          row(r, values.data());
        }
      },
      feedback);
  return finished ? Result<void>() : Result<void>(cancelled_error());
}

Result<void> quantize_int_dithered(const FloatView& w, const IntSpec& spec,
                                   std::span<const IntGrid> grids, const Dither& dither,
                                   std::span<std::byte> codes, const Feedback* feedback) {
  const std::int64_t groups = (w.cols + spec.group - 1) / spec.group;
  const std::int64_t row_bytes = int_row_bytes(w.cols, spec.bits);
  const double top = double((1 << spec.bits) - 1);
  return each_row_of(w, feedback, [&](std::int64_t r, const float* values) {
    std::vector<std::uint8_t> row(std::size_t(w.cols));
    for (std::int64_t c = 0; c < w.cols; ++c) {
      const IntGrid& grid = grids[std::size_t(spec.per_tensor ? 0 : r * groups + c / spec.group)];
      const double x = double(values[c]) / double(grid.scale) + double(grid.zero);
      row[std::size_t(c)] = std::uint8_t(std::clamp(std::floor(x + dither(r, c)), 0.0, top));
    }
    active_cpu_kernels().pack(row.data(), w.cols, spec.bits,
                              reinterpret_cast<std::uint8_t*>(codes.data()) + r * row_bytes);
  });
}

} // namespace bitlathe
