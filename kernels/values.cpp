// SPDX-License-Identifier: Apache-2.0
#include "kernels/values.h"

#include "kernels/base/parallel.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <mutex>
#include <vector>

namespace bitlathe {

namespace {

constexpr std::int64_t chunk = 4096; ///< values converted to f32 at a time; fits the first cache

void add_value(ValueRange& range, float value, std::uint64_t times) {
  ValueRange one;
  if (std::isnan(value))
    one.nan = times;
  else if (std::isinf(value))
    one.inf = times;
  else
    one = {times, 0, 0, value + 0.0f, value + 0.0f};
  range.add(one);
}

/// All rows of the data, in whatever order; not so for a slice of rows in another order.
bool in_one_run(const FloatView& w) {
  return w.row_order.empty() || std::int64_t(w.data.size()) == w.rows * w.row_bytes();
}
FloatView one_row(const FloatView& w, std::int64_t row) {
  return {w.type, 1, w.cols, {w.row(row), std::size_t(w.row_bytes())}};
}

float value_of(FloatType type, std::size_t pattern) {
  const auto bits = std::uint16_t(pattern);
  return load_float(type, reinterpret_cast<const std::byte*>(&bits), 0);
}

} // namespace

void ValueRange::add(const ValueRange& other) {
  if (other.count > 0) {
    min = count ? std::min(min, other.min) : other.min;
    max = count ? std::max(max, other.max) : other.max;
  }
  count += other.count;
  nan += other.nan;
  inf += other.inf;
}

Result<ValueRange> value_range(const FloatView& w, const Feedback* feedback) {
  if (!in_one_run(w)) {
    ValueRange all;
    for (std::int64_t row = 0; row < w.rows; ++row) {
      TRY_ASSIGN(const ValueRange one, value_range(one_row(w, row), feedback));
      all.add(one);
    }
    return all;
  }
  const cpu::Kernels& k = active_cpu_kernels();
  const auto size = std::int64_t(float_size(w.type));
  // Rows do not matter here: the matrix is one run of numbers.
  const std::int64_t n = w.rows * w.cols, chunks = (n + chunk - 1) / chunk;
  ValueRange all; // adding is exact, so that the order of the pieces does not matter
  std::mutex mutex;
  const bool done = parallel_for(
      chunks, 64,
      [&](std::int64_t begin, std::int64_t end) {
        ValueRange own;
        alignas(64) float values[chunk];
        for (; begin < end; ++begin) {
          const std::int64_t first = begin * chunk, count = std::min(chunk, n - first);
          k.to_f32(int(w.type), w.data.data() + first * size, count, values);
          float lo = 0, hi = 0;
          k.range(values, count, &lo, &hi);
          if (std::isfinite(lo) && std::isfinite(hi))
            own.add({std::uint64_t(count), 0, 0, lo, hi});
          else
            for (std::int64_t i = 0; i < count; ++i)
              add_value(own, values[i], 1);
        }
        const std::lock_guard lock(mutex);
        all.add(own);
      },
      feedback);
  return done ? Result<ValueRange>(all) : Result<ValueRange>(cancelled_error());
}

Result<void> count_patterns(const FloatView& w, std::span<std::uint64_t> counts,
                            const Feedback* feedback) {
  if (w.type == FloatType::f32 || counts.size() != bit_patterns)
    return Error{"bad-argument", "Bit patterns are counted of 16-bit types, in 65536 counters", {}};
  if (!in_one_run(w)) {
    for (std::int64_t row = 0; row < w.rows; ++row)
      TRY(count_patterns(one_row(w, row), counts, feedback));
    return {};
  }
  // Counters of their own for four neighbours: equal values do not wait for each other's stores.
  constexpr std::size_t copies = 4;
  constexpr std::int64_t block = 1 << 16, most_blocks = 128; // a set of counters is worth 16 MiB
  const std::int64_t n = w.rows * w.cols, blocks = (n + block - 1) / block;
  const std::int64_t share = (blocks + thread_count() - 1) / thread_count();
  std::mutex mutex;
  const bool done = parallel_for(
      blocks, std::clamp<std::int64_t>(share, 1, most_blocks),
      [&](std::int64_t begin, std::int64_t end) {
        std::vector<std::uint32_t> own(copies * bit_patterns);
        std::uint32_t *a = own.data(), *b = a + bit_patterns, *c = b + bit_patterns,
                      *d = c + bit_patterns;
        const auto stopped = [&] { return feedback && feedback->stopped(); };
        while (begin < end && !stopped()) {
          // Counters are 32 bits wide: they are emptied before they could run over.
          const std::int64_t until = std::min(end, begin + (std::int64_t(1) << 15));
          for (; begin < until && !stopped(); ++begin) {
            const std::byte* from = w.data.data() + begin * block * 2;
            const std::int64_t count = std::min(block, n - begin * block);
            std::int64_t i = 0;
            for (; i + 8 <= count; i += 8) {
              std::uint64_t v, u;
              std::memcpy(&v, from + i * 2, 8);
              std::memcpy(&u, from + i * 2 + 8, 8);
              ++a[v & 0xffff];
              ++b[v >> 16 & 0xffff];
              ++c[v >> 32 & 0xffff];
              ++d[v >> 48];
              ++a[u & 0xffff];
              ++b[u >> 16 & 0xffff];
              ++c[u >> 32 & 0xffff];
              ++d[u >> 48];
            }
            for (; i < count; ++i) {
              std::uint16_t v;
              std::memcpy(&v, from + i * 2, 2);
              ++a[v];
            }
          }
          const std::lock_guard lock(mutex);
          for (std::size_t p = 0; p < bit_patterns; ++p) {
            counts[p] += std::uint64_t(a[p]) + b[p] + c[p] + d[p];
            a[p] = b[p] = c[p] = d[p] = 0;
          }
        }
      },
      feedback);
  return done ? Result<void>() : Result<void>(cancelled_error());
}

ValueRange pattern_range(FloatType type, std::span<const std::uint64_t> patterns) {
  ValueRange out;
  for (std::size_t p = 0; p < bit_patterns; ++p)
    if (patterns[p] > 0)
      add_value(out, value_of(type, p), patterns[p]);
  return out;
}

void pattern_histogram(FloatType type, std::span<const std::uint64_t> patterns, float lo, float hi,
                       std::span<std::uint64_t> counts) {
  const auto bins = std::int32_t(counts.size());
  const float inv = float(bins) / (hi - lo);
  for (std::size_t p = 0; p < bit_patterns; ++p) {
    if (patterns[p] == 0)
      continue;
    const float value = value_of(type, p);
    if (value >= lo && value <= hi)
      counts[std::size_t(std::min(std::int32_t((value - lo) * inv), bins - 1))] += patterns[p];
  }
}

} // namespace bitlathe
