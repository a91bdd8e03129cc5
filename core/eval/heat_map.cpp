// SPDX-License-Identifier: Apache-2.0
// Pictures of matrices: tiles of minima, maxima and mean magnitudes over any region.
#include "core/eval/weight_stats.h"
#include "core/schemes/deferred.h"
#include "kernels/base/parallel.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace bitlathe {

namespace {

/// Columns handled at a time; a multiple of 32 as the layouts demand.
constexpr std::int64_t piece = 1024;

/// What a strip of columns amounts to over the rows of one row of tiles. NaN is left out. One value
/// per column, so that the loops below turn into vector instructions.
struct Strip {
  float low[piece], high[piece], magnitude[piece];
  std::int32_t count[piece];

  void clear(std::int64_t n) {
    std::fill_n(low, n, std::numeric_limits<float>::infinity());
    std::fill_n(high, n, -std::numeric_limits<float>::infinity());
    std::fill_n(magnitude, n, 0.0f);
    std::fill_n(count, n, 0);
  }
  void add(const float* x, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) {
      const float v = x[i];
      low[i] = v < low[i] ? v : low[i];
      high[i] = v > high[i] ? v : high[i];
      magnitude[i] += v == v ? std::abs(v) : 0.0f;
      count[i] += v == v;
    }
  }
};

struct TileSum {
  float min = std::numeric_limits<float>::infinity();
  float max = -std::numeric_limits<float>::infinity();
  double magnitude = 0;
  std::int64_t count = 0;

  void add(const Strip& strip, std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      min = std::min(min, strip.low[i]);
      max = std::max(max, strip.high[i]);
      magnitude += double(strip.magnitude[i]);
      count += strip.count[i];
    }
  }
  HeatTile tile() const {
    if (count == 0) { // nothing but NaN
      const float nan = std::numeric_limits<float>::quiet_NaN();
      return {nan, nan, nan};
    }
    return {min, max, float(magnitude / double(count))};
  }
};

/// Tiles of a region; `fill(row, col, count, out)` produces values, col a multiple of 32.
template <class Fill>
Result<HeatMap> tiles_of(const Module& module, std::int64_t row0, std::int64_t col0,
                         std::int64_t rows, std::int64_t cols, std::int64_t size,
                         Feedback& feedback, const Fill& fill) {
  const std::int64_t all_rows = module.weight.rows, all_cols = module.weight.cols;
  if (row0 < 0 || col0 < 0 || rows <= 0 || cols <= 0 || row0 > all_rows - rows ||
      col0 > all_cols - cols || size <= 0)
    return Error{"bad-argument", "The region lies outside the matrix", module.name};
  HeatMap out{row0, col0, rows, cols, std::min(rows, size), std::min(cols, size), {}};
  out.tiles.resize(std::size_t(out.tile_rows * out.tile_cols));
  const auto column_edge = [&](std::int64_t tile) { return col0 + cols * tile / out.tile_cols; };
  const std::int64_t first_col = col0 / 32 * 32, end_col = col0 + cols;

  // A piece of work: about a quarter of a million values, at least one row of tiles.
  const std::int64_t grain = std::max<std::int64_t>(1, (1 << 18) / (rows / out.tile_rows * cols));
  const bool finished = parallel_for(
      out.tile_rows, grain,
      [&](std::int64_t first, std::int64_t last) {
        const auto strip = std::make_unique<Strip>();
        float values[piece];
        std::vector<TileSum> sums(std::size_t(out.tile_cols));
        for (std::int64_t tile_row = first; tile_row < last; ++tile_row) {
          if (feedback.stopped())
            return;
          std::fill(sums.begin(), sums.end(), TileSum());
          const std::int64_t row_begin = row0 + rows * tile_row / out.tile_rows;
          const std::int64_t row_end = row0 + rows * (tile_row + 1) / out.tile_rows;
          std::int64_t tile = 0;
          for (std::int64_t col = first_col; col < end_col; col += piece) {
            const std::int64_t end = std::min(col + piece, end_col);
            strip->clear(end - col);
            for (std::int64_t row = row_begin; row < row_end; ++row) {
              fill(row, col, end - col, values);
              strip->add(values, end - col);
            }
            for (std::int64_t at = std::max(col, col0); at < end;) {
              const std::int64_t stop = std::min(column_edge(tile + 1), end);
              sums[std::size_t(tile)].add(*strip, at - col, stop - col);
              at = stop;
              if (at == column_edge(tile + 1))
                ++tile;
            }
          }
          for (std::int64_t c = 0; c < out.tile_cols; ++c)
            out.tiles[std::size_t(tile_row * out.tile_cols + c)] = sums[std::size_t(c)].tile();
        }
      },
      &feedback);
  if (!finished || feedback.stopped())
    return cancelled_error();
  return out;
}

Result<MatrixView> readable_view(const Module& module) {
  if (module.weight.rows <= 0 || module.weight.cols <= 0)
    return Error{"bad-argument", "The module has no weight of its own", module.name};
  if (!module.weight.scheme.family)
    return Error{"unsupported",
                 "Values stored as " + module.weight.scheme.id + " cannot be decoded", module.name};
  return module.weight.view();
}

} // namespace

Result<HeatMap> heat_map(const Module& module, std::int64_t row0, std::int64_t col0,
                         std::int64_t rows, std::int64_t cols, std::int64_t size, Compute&,
                         Feedback& feedback) {
  TRY_ASSIGN(const WeightUse use, module.weight.use());
  TRY_ASSIGN(const MatrixView view, readable_view(module));
  return tiles_of(module, row0, col0, rows, cols, size, feedback,
                  [&](std::int64_t row, std::int64_t col, std::int64_t count, float* out) {
                    view.layout->decode(view, row, col, count, out);
                  });
}

Result<HeatMap> error_map(const Module& original, const Module& quantized, std::int64_t row0,
                          std::int64_t col0, std::int64_t rows, std::int64_t cols,
                          std::int64_t size, Compute&, Feedback& feedback) {
  TRY_ASSIGN(const WeightUse first, original.weight.use());
  TRY_ASSIGN(const WeightUse second, quantized.weight.use());
  TRY_ASSIGN(const MatrixView before, readable_view(original));
  TRY_ASSIGN(const MatrixView after, readable_view(quantized));
  if (before.rows != after.rows || before.cols != after.cols)
    return Error{"mismatch", "The two weights have different shapes", original.name};
  return tiles_of(original, row0, col0, rows, cols, size, feedback,
                  [&](std::int64_t row, std::int64_t col, std::int64_t count, float* out) {
                    float other[piece];
                    before.layout->decode(before, row, col, count, out);
                    after.layout->decode(after, row, col, count, other);
                    for (std::int64_t i = 0; i < count; ++i)
                      out[i] = std::abs(out[i] - other[i]);
                  });
}

} // namespace bitlathe
