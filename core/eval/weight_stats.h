// SPDX-License-Identifier: Apache-2.0
// Statistics and pictures of weights, over whole tensors, for the original and for what is stored.
#pragma once

#include "core/model/checkpoint.h"
#include "kernels/compute/compute.h"
#include "kernels/values.h"

namespace bitlathe {

struct WeightStatistics {
  Moments moments;
  double outlier_fraction = 0; ///< share of values farther than 6 standard deviations from the mean
  std::vector<Moments> channels; ///< per output row, when asked for
};
/// Of a module's weight, decoded when packed.
Result<WeightStatistics> weight_statistics(const Module& module, Compute& compute, bool per_channel,
                                           Feedback& feedback);

struct Histogram {
  std::vector<double> edges; ///< counts.size() + 1
  std::vector<std::uint64_t> counts;
  std::uint64_t nan = 0, inf = 0, total = 0;
};
/// What one pass over a weight leaves for histograms of it.
struct WeightValues {
  ValueRange range;
  FloatType type = FloatType::f32;
  /// Of a 16-bit type on the CPU: how often each bit pattern occurs. Then any
  /// number of histograms follow without reading the weight again. Else empty.
  std::vector<std::uint64_t> patterns;
};
Result<WeightValues> weight_values(const Module& module, Compute& compute, Feedback& feedback);
Result<Histogram> weight_histogram(const Module& module, const WeightValues& values, int bins,
                                   Compute& compute, Feedback& feedback, float lo = 0,
                                   float hi = 0);
/// Exact, every value counted. Range: given, or the tensor's own minimum and maximum when lo >= hi.
Result<Histogram> weight_histogram(const Module& module, int bins, Compute& compute,
                                   Feedback& feedback, float lo = 0, float hi = 0);

/// The distinct decoded values of a packed weight inside one group (what its codes can express),
/// for code lines. `row` and `group` choose the group.
std::vector<float> code_values(const QTensor& tensor, std::int64_t row, std::int64_t group);

/// A min/max pyramid of a matrix: level 0 is at most `size` x `size` tiles over the whole matrix;
/// each tile has the minimum, the maximum and the mean of absolute values of what it covers.
struct HeatTile {
  float min = 0, max = 0, mean_abs = 0;
};
struct HeatMap {
  std::int64_t row0 = 0, col0 = 0, rows = 0, cols = 0; ///< region of the matrix
  std::int64_t tile_rows = 0, tile_cols = 0;           ///< tiles down and across
  std::vector<HeatTile> tiles;                         ///< row-major
};
/// The region [row0, row0+rows) x [col0, col0+cols) in at most size x size tiles (one value per
/// tile when the region is smaller).
Result<HeatMap> heat_map(const Module& module, std::int64_t row0, std::int64_t col0,
                         std::int64_t rows, std::int64_t cols, std::int64_t size, Compute& compute,
                         Feedback& feedback);

/// |original - quantized| the same way.
Result<HeatMap> error_map(const Module& original, const Module& quantized, std::int64_t row0,
                          std::int64_t col0, std::int64_t rows, std::int64_t cols,
                          std::int64_t size, Compute& compute, Feedback& feedback);

} // namespace bitlathe
