// SPDX-License-Identifier: Apache-2.0
// Clip search: for every group, the range is shrunk in steps and the one whose grid gives the least
// squared error is kept (as GPTQ's "mse" option and AWQ's clip search do). With calibration
// statistics the squared error of each column is weighted by its mean squared activation. Ties go
// to the larger range.
#include "core/methods/int_pack.h"

#include <algorithm>

namespace bitlathe {

extern const Method method_mse;

namespace {

constexpr MethodParam params[] = {
    {"steps", "Number of ranges tried below the full one.", 40, 1, 1000, true},
    {"shrink", "How far the smallest range tried is shrunk, as a share of the full one.", 0.6, 0.01,
     0.95},
};

std::string declines(const Scheme& scheme) {
  if (!scheme.quantized)
    return scheme.id + " has no codes to choose";
  if (scheme.family->id != "int")
    return scheme.id + " blocks have their own scale rule; use rtn";
  return {};
}

Result<MethodOutput> quantize(const MethodInput& input) {
  const FloatView& w = input.weight;
  IntGrids grids;
  grids.spec = int_spec(input.scheme, w.cols);
  std::vector<float> lo, hi;
  TRY(exact_ranges(input, grids.spec, lo, hi));
  const auto steps = std::int64_t(method_param(method_mse, input.params, "steps"));
  const auto deepest = float(method_param(method_mse, input.params, "shrink"));

  const auto groups =
      grids.spec.per_tensor ? 1 : (w.cols + grids.spec.group - 1) / grids.spec.group;
  // Candidate grids of one piece of rows stay under about 16 MiB.
  const std::int64_t rows_per_piece =
      grids.spec.per_tensor
          ? w.rows
          : std::max<std::int64_t>(1, (1 << 20) / std::max<std::int64_t>(1, groups * (steps + 1)));
  grids.grids.resize(lo.size());
  for (std::int64_t row = 0; row < w.rows; row += rows_per_piece) {
    const std::int64_t rows = std::min(rows_per_piece, w.rows - row);
    const auto first = std::size_t(grids.spec.per_tensor ? 0 : row * groups);
    const auto count = std::size_t(grids.spec.per_tensor ? 1 : rows * groups);
    std::vector<std::vector<IntGrid>> candidates(std::size_t(steps + 1),
                                                 std::vector<IntGrid>(count));
    std::vector<bool> clamped(count * candidates.size());
    for (std::size_t k = 0; k < candidates.size(); ++k) {
      const float shrink = 1.0f - deepest * float(k) / float(steps);
      for (std::size_t g = 0; g < count; ++g) {
        bool hit = false;
        candidates[k][g] =
            make_int_grid(lo[first + g] * shrink, hi[first + g] * shrink, grids.spec.bits,
                          grids.spec.symmetric, grids.spec.scale_type, &hit);
        clamped[k * count + g] = hit;
      }
    }
    std::vector<double> errors(candidates.size() * count);
    TRY(input.compute.int_errors(w.slice(row, rows), grids.spec, candidates, input.importance,
                                 errors, &input.feedback));
    for (std::size_t g = 0; g < count; ++g) {
      std::size_t best = 0;
      for (std::size_t k = 1; k < candidates.size(); ++k)
        if (errors[k * count + g] < errors[best * count + g])
          best = k;
      grids.grids[first + g] = candidates[best][g];
      grids.clamped += clamped[best * count + g];
    }
  }
  return pack_int(input, grids);
}

} // namespace

const Method method_mse{
    "mse",
    "MSE clip search",
    "Shrinks each group's range to where the squared error is least, then rounds to nearest.",
    params,
    true,
    declines,
    quantize};

} // namespace bitlathe
