// SPDX-License-Identifier: Apache-2.0
#include "kernels/quant/nf4.h"

#include "kernels/base/parallel.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/kernels.h"
#include "kernels/layouts/blockwise.h"
#include "kernels/quant/stored_scale.h"

#include <algorithm>
#include <cmath>

namespace bitlathe {

namespace {

/// Largest magnitude of every block.
Result<std::vector<float>> block_absmax(const FloatView& w, std::int64_t block,
                                        const Feedback* feedback) {
  const std::int64_t n = w.rows * w.cols, blocks = (n + block - 1) / block;
  std::vector<float> out(std::size_t(blocks), 0.0f);
  const bool finished = parallel_for(
      blocks, std::max<std::int64_t>(1, 16384 / block),
      [&](std::int64_t begin, std::int64_t end) {
        std::vector<float> values(std::size_t(std::min(block, w.cols)));
        for (std::int64_t b = begin; b < end; ++b)
          for (std::int64_t at = b * block; at < std::min(n, (b + 1) * block);) {
            const std::int64_t row = at / w.cols, col = at % w.cols;
            const std::int64_t part = std::min({w.cols - col, (b + 1) * block - at, n - at});
            active_cpu_kernels().to_f32(int(w.type),
                                        w.row(row) + col * std::int64_t(float_size(w.type)), part,
                                        values.data());
            float& absmax = out[std::size_t(b)];
            for (std::int64_t i = 0; i < part; ++i)
              absmax = std::max(absmax, std::fabs(values[std::size_t(i)]));
            at += part;
          }
      },
      feedback);
  if (!finished)
    return cancelled_error();
  return out;
}

/// Ascending magnitudes of FP4.
constexpr std::array<float, 8> fp4_magnitudes = [] {
  std::array<float, 8> out{};
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = fp4_values[fp4_ascending[i]];
  return out;
}();

/// Place of the neighbour below or of the one above among ascending values, at random.
template <std::size_t count>
int place_between(const std::array<float, count>& values, float x, const Dither& dither,
                  std::int64_t row, std::int64_t col) {
  const auto above = std::upper_bound(values.begin() + 1, values.end() - 1, x);
  const int lower = int(above - values.begin()) - 1;
  return lower + dither.up(double(*(above - 1)), double(x), double(*above), row, col);
}

void code_row(bool fp4, std::span<const float> x, const Dither& dither, std::int64_t row,
              std::span<std::uint8_t> codes) {
  const auto n = std::int64_t(x.size());
  std::vector<float> magnitudes;
  if (fp4)
    for (const float value : x)
      magnitudes.push_back(std::fabs(value));
  if (dither.on())
    for (std::int64_t i = 0; i < n; ++i)
      codes[std::size_t(i)] = std::uint8_t(
          fp4 ? place_between(fp4_magnitudes, magnitudes[std::size_t(i)], dither, row, i)
              : place_between(nf4_values, x[std::size_t(i)], dither, row, i));
  else if (fp4)
    active_cpu_kernels().count_above(magnitudes.data(), n, fp4_thresholds.data(),
                                     int(fp4_thresholds.size()), codes.data());
  else
    active_cpu_kernels().count_above(x.data(), n, nf4_thresholds.data(), int(nf4_thresholds.size()),
                                     codes.data());
  if (fp4) // from places among the magnitudes
    for (std::size_t i = 0; i < x.size(); ++i)
      codes[i] = std::uint8_t(fp4_ascending[codes[i]] | (x[i] < 0 ? 8 : 0));
}

/// Codes of the scales themselves: bytes of the dynamic map after the mean is taken off.
void nest(const std::vector<float>& absmax, std::span<std::byte> codes,
          std::span<std::byte> nested) {
  double sum = 0;
  for (const float a : absmax)
    sum += double(a);
  const auto mean = float(sum / double(absmax.size()));
  const auto groups = nested.size() / sizeof(float) - 1;
  store_float(FloatType::f32, nested.data(), std::int64_t(groups), mean);
  for (std::size_t g = 0; g < groups; ++g) {
    const std::size_t begin = g * nested_block, end = std::min(begin + nested_block, absmax.size());
    float largest = 0;
    for (std::size_t i = begin; i < end; ++i)
      largest = std::max(largest, std::fabs(absmax[i] - mean));
    store_float(FloatType::f32, nested.data(), std::int64_t(g), largest);
    for (std::size_t i = begin; i < end; ++i)
      codes[i] = std::byte(dynamic_code(largest > 0 ? (absmax[i] - mean) / largest : 0.0f));
  }
}

} // namespace

Result<void> quantize_blockwise(const FloatView& w, const BlockwiseSpec& spec, const Dither& dither,
                                std::span<std::byte> codes, std::span<std::byte> scales,
                                std::span<std::byte> nested, std::int64_t* clamped,
                                const Feedback* feedback) {
  std::vector<float> absmax;
  TRY_ASSIGN(absmax, block_absmax(w, spec.block, feedback));
  if (spec.nested)
    nest(absmax, scales, nested);
  else
    for (std::size_t i = 0; i < absmax.size(); ++i) {
      bool hit = false;
      if (absmax[i] > 0)
        absmax[i] = stored_scale(absmax[i], spec.scale_type, &hit);
      store_float(spec.scale_type, scales.data(), std::int64_t(i), absmax[i]);
      if (clamped)
        *clamped += hit;
    }
  const std::int64_t row_bytes = int_row_bytes(w.cols, 4);
  return each_row_of(w, feedback, [&](std::int64_t r, const float* values) {
    std::vector<std::uint8_t> row(std::size_t(w.cols));
    std::vector<float> scaled(row.size());
    for (std::int64_t c = 0; c < w.cols;) {
      const std::int64_t block = (r * w.cols + c) / spec.block;
      const std::int64_t end = std::min(w.cols, (block + 1) * spec.block - r * w.cols);
      const float scale = absmax[std::size_t(block)], inverse = 1.0f / scale;
      const bool divide = !std::isfinite(inverse); // zeros, and magnitudes near the smallest
      for (; c < end; ++c) {
        const float x = scale == 0 ? 0.0f : divide ? values[c] / scale : values[c] * inverse;
        scaled[std::size_t(c)] = std::clamp(x, -1.0f, 1.0f);
      }
    }
    code_row(spec.fp4, scaled, dither, r, row);
    active_cpu_kernels().pack(row.data(), w.cols, 4,
                              reinterpret_cast<std::uint8_t*>(codes.data()) + r * row_bytes);
  });
}

} // namespace bitlathe
