// SPDX-License-Identifier: Apache-2.0
#include "kernels/quant/activations.h"

#include "kernels/base/parallel.h"
#include "kernels/compute/cpu_matmul.h"
#include "kernels/cpu/isa.h"
#include "kernels/num/float16.h"
#include "kernels/num/float8.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cassert>
#include <cmath>
#include <limits>

namespace bitlathe {

namespace {

constexpr std::int32_t magnitude_mask = 0x7fffffff, infinity_bits = 0x7f800000;

/// Bits of the magnitude; as whole numbers they are in the order of the magnitudes.
std::int32_t magnitude(float x) { return std::bit_cast<std::int32_t>(x) & magnitude_mask; }

/// The largest magnitude's bits; NaN counts above infinity.
std::int32_t largest_magnitude(const float* x, std::int64_t n) {
  std::int32_t largest = 0;
  for (std::int64_t i = 0; i < n; ++i)
    largest = std::max(largest, magnitude(x[i]));
  return largest;
}

/// x rounded to a multiple of `step`, a power of two, ties to even; |x| < 2^22 steps.
float round_to_step(float x, float step) {
  const float magic = 12582912.0f * step; // 1.5 * 2^23
  return (x + magic) - magic;
}

/// |x| on the grid of E2M1: 0, 0.5, 1, 1.5, 2, 3, 4, 6.
float round_e2m1(float x) {
  const float a = std::min(std::fabs(x), 6.0f);
  const float rounded = round_to_step(a, a < 2.0f ? 0.5f : a < 4.0f ? 1.0f : 2.0f);
  return std::copysign(rounded, x);
}

/// Some columns of a row of layout "int".
void decode_columns(const MatrixView& w, std::int64_t row, std::span<const std::int32_t> columns,
                    std::vector<float>& scratch, float* out) {
  if (w.bits != 8) {
    scratch.resize(std::size_t(w.cols));
    w.layout->decode(w, row, 0, w.cols, scratch.data());
    for (std::size_t i = 0; i < columns.size(); ++i)
      out[i] = scratch[std::size_t(columns[i])];
    return;
  }
  const std::uint8_t* codes = w.row(row);
  const std::int64_t grids = w.per_tensor ? 0 : w.stored(row) * w.groups();
  for (std::size_t i = 0; i < columns.size(); ++i) {
    const std::int64_t grid = grids + (w.per_tensor ? 0 : columns[i] / w.group);
    const int zero = w.symmetric ? 128 : int(w.zeros[std::size_t(grid)]);
    out[i] = load_float(w.float_type, w.scales.data(), grid) * float(int(codes[columns[i]]) - zero);
  }
}

std::int64_t grain(std::int64_t cols) {
  return std::max<std::int64_t>(1, 65536 / std::max<std::int64_t>(cols, 1));
}

} // namespace

void scan_tokens(const float* x, std::int64_t cols, std::span<TokenScan> out) {
  parallel_for(std::int64_t(out.size()), grain(cols), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const float* row = x + t * cols;
      TokenScan& scan = out[std::size_t(t)];
      scan = {};
      std::int32_t largest = largest_magnitude(row, cols);
      if (largest >= infinity_bits) {
        largest = 0;
        for (std::int64_t i = 0; i < cols; ++i) {
          const std::int32_t bits = magnitude(row[i]);
          scan.nan += bits > infinity_bits;
          scan.inf += bits == infinity_bits;
          largest = bits < infinity_bits ? std::max(largest, bits) : largest;
        }
      }
      scan.absmax = std::bit_cast<float>(largest);
    }
  });
}

float activation_scale(float absmax, float largest) {
  return absmax > 0 ? std::max(absmax / largest, std::numeric_limits<float>::min()) : 1.0f;
}

void code_e4m3(const float* x, std::int64_t n, float scale, float* out) {
  const float inverse = 1.0f / scale;
  for (std::int64_t i = 0; i < n; ++i) {
    const float value = x[i] * inverse;
    const float a = std::min(448.0f, std::fabs(value)); // a NaN in second place is dropped here
    // Steps of 2^(exponent - 3), and of 2^-9 below the smallest normal, 2^-6. What rounds up into
    // the next binade is there already.
    const std::int32_t exponent = std::max(std::bit_cast<std::int32_t>(a) >> 23, 121);
    const float magic = std::bit_cast<float>(((exponent + 20) << 23) | 0x400000);
    const float rounded = std::copysign((a + magic) - magic, value);
    out[i] = value == value ? rounded : value;
  }
}

void simulate_mxfp4(const float* x, std::int64_t n, float* out) {
  constexpr std::int64_t block = 32;
  for (std::int64_t i = 0; i < n; i += block) {
    const std::int64_t count = std::min(block, n - i);
    const float absmax = std::bit_cast<float>(largest_magnitude(x + i, count));
    const int exponent = absmax > 0 ? std::clamp(std::ilogb(absmax) - 2, -127, 127) : 0;
    // Both as f64: 2^-127 and 2^127 have no inverse in f32.
    const double scale = std::ldexp(1.0, exponent), inverse = std::ldexp(1.0, -exponent);
    for (std::int64_t j = i; j < i + count; ++j)
      out[j] = float(double(round_e2m1(float(double(x[j]) * inverse))) * scale);
  }
}

void simulate_nvfp4(const float* x, std::int64_t n, float* out, float given_scale) {
  constexpr std::int64_t block = 16;
  const float absmax = std::bit_cast<float>(largest_magnitude(x, n));
  const float token_scale = given_scale > 0 ? given_scale : activation_scale(absmax, 6.0f * 448.0f);
  for (std::int64_t i = 0; i < n; i += block) {
    const std::int64_t count = std::min(block, n - i);
    const float largest = std::bit_cast<float>(largest_magnitude(x + i, count));
    const float stored = f8_e4m3_to_f32(f32_to_f8_e4m3(largest / 6.0f / token_scale));
    const float scale = stored * token_scale;
    for (std::int64_t j = i; j < i + count; ++j)
      out[j] = scale > 0 ? round_e2m1(x[j] / scale) * scale : 0.0f;
  }
}

std::vector<std::int32_t> outlier_columns(const float* x, std::int64_t m, std::int64_t cols,
                                          float threshold) {
  std::vector<std::uint8_t> reached(std::size_t(cols), 0);
  const std::int32_t bar = magnitude(threshold);
  parallel_for(cols, std::max<std::int64_t>(64, 65536 / std::max<std::int64_t>(m, 1)),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t t = 0; t < m; ++t)
                   for (std::int64_t c = begin; c < end; ++c) {
                     const std::int32_t bits = magnitude(x[t * cols + c]);
                     reached[std::size_t(c)] |= std::uint8_t(bits >= bar && bits <= infinity_bits);
                   }
               });
  std::vector<std::int32_t> out;
  for (std::int64_t c = 0; c < cols; ++c)
    if (reached[std::size_t(c)])
      out.push_back(std::int32_t(c));
  return out;
}

std::uint64_t add_outlier_product(const MatrixView& w, std::span<const std::int32_t> columns,
                                  const float* x, std::int64_t m, float* y) {
  assert(w.layout->id == "int");
  if (columns.empty() || m <= 0)
    return 0;
  const auto count = std::int64_t(columns.size());
  constexpr float largest = 65504.0f;
  std::vector<float> narrow(std::size_t(m * count));
  std::atomic<std::uint64_t> overflowed{0};
  parallel_for(m, grain(count), [&](std::int64_t begin, std::int64_t end) {
    std::uint64_t beyond = 0;
    for (std::int64_t i = begin * count; i < end * count; ++i) {
      const float value = x[i / count * w.cols + columns[std::size_t(i % count)]];
      const float half = f16_to_f32(f32_to_f16(value));
      const bool over = std::isinf(half) && std::isfinite(value);
      beyond += over;
      narrow[std::size_t(i)] = over ? std::copysign(largest, value) : half;
    }
    overflowed += beyond;
  });
  // The columns of some rows at a time, so that memory stays small when many columns stand out.
  const auto& kernels = active_cpu_kernels();
  const std::int64_t step = std::min(w.rows, std::max<std::int64_t>((4 << 20) / count, 64));
  std::vector<float> gathered(std::size_t(step * count)), part(std::size_t(m * step));
  for (std::int64_t first = 0; first < w.rows; first += step) {
    const std::int64_t rows = std::min(step, w.rows - first);
    parallel_for(rows, grain(w.bits == 8 ? count : w.cols),
                 [&](std::int64_t begin, std::int64_t end) {
                   std::vector<float> scratch;
                   for (std::int64_t r = begin; r < end; ++r)
                     decode_columns(w, first + r, columns, scratch,
                                    gathered.data() + std::size_t(r * count));
                 });
    MatrixView view;
    view.layout = find_layout("float");
    view.rows = rows;
    view.cols = count;
    view.float_type = FloatType::f32;
    view.codes = std::as_bytes(std::span(gathered)).first(std::size_t(rows * count) * 4);
    cpu_matmul(kernels, view, narrow.data(), m, part.data());
    for (std::int64_t t = 0; t < m; ++t)
      for (std::int64_t r = 0; r < rows; ++r)
        y[t * w.rows + first + r] += part[std::size_t(t * rows + r)];
  }
  return overflowed;
}

} // namespace bitlathe
