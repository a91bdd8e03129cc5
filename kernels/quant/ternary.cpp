// SPDX-License-Identifier: Apache-2.0
#include "kernels/quant/ternary.h"

#include "kernels/cpu/isa.h"
#include "kernels/cpu/kernels.h"

#include <algorithm>
#include <numeric>

namespace bitlathe {

float ternary_scale(std::span<const float> values, std::span<const float> weight) {
  // Whichever the scale, the values coded as 1 or -1 are the largest ones. For the k largest the
  // best scale is their mean magnitude m, and it takes k * m^2 off the error.
  std::vector<std::uint32_t> order(values.size());
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    const float x = std::fabs(values[a]), y = std::fabs(values[b]);
    return x != y ? x > y : a < b;
  });
  double mass = 0, sum = 0, best = 0, scale = 0;
  for (const std::uint32_t i : order) {
    const double share = weight.empty() ? 1 : double(weight[i]);
    mass += share;
    sum += share * double(std::fabs(values[i]));
    if (mass > 0 && sum * sum / mass > best) {
      best = sum * sum / mass;
      scale = sum / mass;
    }
  }
  return float(scale);
}

Result<void> quantize_ternary(const FloatView& w, std::int64_t group, std::span<const float> scales,
                              const Dither& dither, std::span<std::byte> codes,
                              const Feedback* feedback) {
  const std::int64_t groups = (w.cols + group - 1) / group;
  const std::int64_t row_bytes = int_row_bytes(w.cols, 2);
  return each_row_of(w, feedback, [&](std::int64_t r, const float* values) {
    std::vector<std::uint8_t> row(std::size_t(w.cols));
    for (std::int64_t c = 0; c < w.cols; ++c) {
      const float scale = scales[std::size_t(r * groups + c / group)];
      int code = 0;
      if (dither.on())
        code = int(
            std::floor(std::clamp(double(values[c]) / double(scale), -1.0, 1.0) + dither(r, c)));
      else if (2 * std::fabs(values[c]) > scale)
        code = values[c] < 0 ? -1 : 1;
      row[std::size_t(c)] = std::uint8_t(code + 2);
    }
    active_cpu_kernels().pack(row.data(), w.cols, 2,
                              reinterpret_cast<std::uint8_t*>(codes.data()) + r * row_bytes);
  });
}

} // namespace bitlathe
