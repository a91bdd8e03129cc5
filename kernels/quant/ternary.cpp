// SPDX-License-Identifier: Apache-2.0
#include "kernels/quant/ternary.h"

#include "kernels/cpu/isa.h"
#include "kernels/cpu/kernels.h"

#include <algorithm>
#include <vector>

namespace bitlathe {

float ternary_scale(std::span<const float> values, std::span<const float> weight) {
  // Whichever the scale, the values coded as 1 or -1 are the largest ones. For the k largest the
  // best scale is their mean magnitude m, and it takes k * m^2 off the error.
  struct Value {
    float magnitude, weight;
  };
  std::vector<Value> sorted(values.size());
  for (std::size_t i = 0; i < values.size(); ++i)
    sorted[i] = {std::fabs(values[i]), weight.empty() ? 1.0f : weight[i]};
  std::sort(sorted.begin(), sorted.end(), [](const Value& a, const Value& b) {
    return a.magnitude != b.magnitude ? a.magnitude > b.magnitude : a.weight > b.weight;
  });
  double mass = 0, sum = 0, best = 0, scale = 0;
  for (const Value& value : sorted) {
    mass += double(value.weight);
    sum += double(value.weight) * double(value.magnitude);
    if (mass > 0 && sum * sum > best * mass) {
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
