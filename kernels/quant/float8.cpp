// SPDX-License-Identifier: Apache-2.0
#include "kernels/quant/float8.h"

#include "kernels/num/float8.h"

namespace bitlathe {

namespace {

/// The neighbour of the nearest code on the other side of x.
template <std::uint8_t (*encode)(float), float (*decode)(std::uint8_t)>
std::uint8_t dithered(float x, const Dither& dither, std::int64_t row, std::int64_t col) {
  const std::uint8_t nearest = encode(x);
  const float magnitude = std::fabs(x), there = std::fabs(decode(nearest));
  if (there == magnitude)
    return nearest;
  // Codes of one sign ascend with their magnitudes; beyond the largest there is nothing.
  const auto other = std::uint8_t(there < magnitude ? nearest + 1 : nearest - 1);
  const float beyond = std::fabs(decode(other));
  if (!std::isfinite(beyond))
    return nearest;
  const bool up = dither.up(double(std::min(there, beyond)), double(magnitude),
                            double(std::max(there, beyond)), row, col);
  return up == (beyond > there) ? other : nearest;
}

template <std::uint8_t (*encode)(float), float (*decode)(std::uint8_t)>
Result<void> run(const FloatView& w, const Float8Spec& spec, std::span<const float> scales,
                 const Dither& dither, std::span<std::byte> codes, const Feedback* feedback) {
  const std::int64_t group = spec.group > 0 ? spec.group : w.cols;
  const std::int64_t groups = (w.cols + group - 1) / std::max<std::int64_t>(1, group);
  return each_row_of(w, feedback, [&](std::int64_t r, const float* values) {
    auto* out = reinterpret_cast<std::uint8_t*>(codes.data()) + r * w.cols;
    for (std::int64_t g = 0; g < groups; ++g) {
      const float scale =
          scales[std::size_t(spec.per_tensor ? 0 : r / spec.group_rows * groups + g)];
      for (std::int64_t c = g * group; c < std::min(w.cols, (g + 1) * group); ++c) {
        const float x = values[c] / scale;
        out[c] = dither.on() ? dithered<encode, decode>(x, dither, r, c) : encode(x);
      }
    }
  });
}

} // namespace

Result<void> quantize_float8(const FloatView& w, const Float8Spec& spec,
                             std::span<const float> scales, const Dither& dither,
                             std::span<std::byte> codes, const Feedback* feedback) {
  return spec.e5m2 ? run<f32_to_f8_e5m2, f8_e5m2_to_f32>(w, spec, scales, dither, codes, feedback)
                   : run<f32_to_f8_e4m3, f8_e4m3_to_f32>(w, spec, scales, dither, codes, feedback);
}

} // namespace bitlathe
