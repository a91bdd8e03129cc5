// SPDX-License-Identifier: Apache-2.0
// Statistics on the device: moments, histogram, group ranges. Sums come back as one partial per
// piece of a row and are added up here in f64 in a fixed order.
#include "kernels/compute/vulkan_compute.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace bitlathe {

namespace {

// Estimated arithmetic per value, for the size of submissions.
constexpr double moments_work = 60, histogram_work = 12, ranges_work = 8;

/// Whole matrices do not care about rows: long equal rows keep every thread busy whatever the
/// shape.
std::vector<FloatView> flat_views(const FloatView& w, std::uint64_t max_range) {
  if (!w.row_order.empty())
    return {w};
  std::int64_t flat_cols = 8192;
  while (flat_cols > 64 && std::uint64_t(flat_cols) * 8 > max_range)
    flat_cols /= 2;
  const std::int64_t n = w.rows * w.cols, rows = n / flat_cols, rest = n % flat_cols;
  const auto bytes = std::size_t(rows * flat_cols) * float_size(w.type);
  std::vector<FloatView> out;
  if (rows > 0)
    out.push_back({w.type, rows, flat_cols, w.data.first(bytes)});
  if (rest > 0)
    out.push_back({w.type, 1, rest, w.data.subspan(bytes)});
  return out;
}

bool well_formed(const FloatView& w) {
  return w.rows > 0 && w.cols > 0 && w.cols < (std::int64_t(1) << 31) &&
         w.data.size() >= std::uint64_t(w.rows) * std::uint64_t(w.cols) * float_size(w.type);
}

struct MomentPartial { // shaders/moments.comp
  std::uint32_t min_key, max_key, nan_inf, zeros;
  float sums[4][2];
  std::uint32_t unused[4];
};
static_assert(sizeof(MomentPartial) == 64);

float key_value(std::uint32_t key) {
  return std::bit_cast<float>(key & 0x80000000u ? key & 0x7fffffffu : ~key);
}

void add_partial(Moments& m, const MomentPartial& p, std::int64_t values) {
  const std::uint64_t nan = p.nan_inf & 0xffff, inf = p.nan_inf >> 16;
  Moments piece;
  piece.nan = nan;
  piece.inf = inf;
  piece.zeros = p.zeros;
  piece.count = std::uint64_t(values) - nan - inf;
  if (piece.count > 0) {
    piece.min = key_value(p.min_key) + 0.0f; // never -0
    piece.max = key_value(p.max_key) + 0.0f;
    piece.absmax = std::max(std::fabs(piece.min), std::fabs(piece.max));
  }
  const auto sum = [&p](int i) { return double(p.sums[i][0]) + double(p.sums[i][1]); };
  piece.sum = sum(0);
  piece.sum2 = sum(1);
  piece.sum3 = sum(2);
  piece.sum4 = sum(3);
  m.add(piece);
}

/// Fourth powers of these keep to the normal range of f32, also summed over a piece.
bool sums_hold(const Moments& m) {
  return m.absmax == 0 || (m.absmax > 0x1p-24f && m.absmax < 0x1p+26f);
}

} // namespace

Result<void> VulkanCompute::gpu_moments(const FloatView& w, std::span<Moments> out,
                                        const Feedback* feedback) {
  const std::int64_t units = row_units(w.cols);
  const std::uint32_t lanes = lanes_for(units / 2);
  const std::int64_t piece_units = lanes * 8;
  const std::int64_t pieces = (units + piece_units - 1) / piece_units;
  TRY_ASSIGN(const std::int64_t rows_per_piece,
             piece_rows({padded_row_bytes(w), pieces * std::int64_t(sizeof(MomentPartial))},
                        moments_work * double(w.cols)));
  struct {
    std::uint32_t items, pieces, cols, row_units, piece_units;
  } push{0, std::uint32_t(pieces), std::uint32_t(w.cols), std::uint32_t(units),
         std::uint32_t(piece_units)};
  const std::uint32_t constants[] = {std::uint32_t(w.type), lanes};
  TRY(stream(w.rows, rows_per_piece, feedback,
             [&](std::int64_t first, std::int64_t count) -> Result<void> {
               push.items = std::uint32_t(count * pieces);
               GpuSlice slices[2];
               TRY_ASSIGN(slices[0], values(w, first, count));
               TRY_ASSIGN(slices[1],
                          gpu_->output(push.items * sizeof(MomentPartial), false,
                                       [=, &w](const std::byte* from) {
                                         for (std::int64_t i = 0; i < count * pieces; ++i) {
                                           MomentPartial p;
                                           std::memcpy(&p, from + std::size_t(i) * sizeof p,
                                                       sizeof p);
                                           const std::int64_t begin = i % pieces * piece_units * 8;
                                           add_partial(out[std::size_t(first + i / pieces)], p,
                                                       std::min(piece_units * 8, w.cols - begin));
                                         }
                                       }));
               return gpu_->run({"moments", constants, slices, push_of(push),
                                 (push.items + 256 / lanes - 1) / (256 / lanes),
                                 moments_work * double(count * w.cols)});
             }));
  std::int64_t again = 0;
  for (std::int64_t r = 0; r < w.rows; ++r)
    if (!sums_hold(out[std::size_t(r)])) {
      ++again;
      TRY(cpu_->row_moments(w.slice(r, 1), out.subspan(std::size_t(r), 1), feedback));
    }
  if (again > 0)
    note("Some weights are too large or too small for 32-bit sums of their fourth powers; the "
         "moments of those rows were summed on the CPU");
  return {};
}

Result<Moments> VulkanCompute::moments(const FloatView& w, const Feedback* feedback) {
  if (!well_formed(w))
    return cpu_->moments(w, feedback);
  return on_device(
      "statistics",
      [&]() -> Result<Moments> {
        Moments all;
        for (const FloatView& flat : flat_views(w, gpu_->limits().max_range)) {
          std::vector<Moments> rows(std::size_t(flat.rows));
          TRY(gpu_moments(flat, rows, feedback));
          for (const Moments& m : rows)
            all.add(m);
        }
        return all;
      },
      [&] { return cpu_->moments(w, feedback); });
}

Result<void> VulkanCompute::row_moments(const FloatView& w, std::span<Moments> out,
                                        const Feedback* feedback) {
  if (!well_formed(w) || std::int64_t(out.size()) != w.rows)
    return cpu_->row_moments(w, out, feedback);
  return on_device(
      "statistics per row",
      [&]() -> Result<void> {
        std::fill(out.begin(), out.end(), Moments{});
        return gpu_moments(w, out, feedback);
      },
      [&] { return cpu_->row_moments(w, out, feedback); });
}

Result<void> VulkanCompute::gpu_histogram(const FloatView& w, float lo, float hi, float inv,
                                          std::span<std::uint64_t> counts,
                                          const Feedback* feedback) {
  const std::int64_t units = row_units(w.cols), bins = std::int64_t(counts.size());
  constexpr std::int64_t group_units = 256 * 8;
  TRY_ASSIGN(const std::int64_t rows_per_piece,
             piece_rows({padded_row_bytes(w)}, histogram_work * double(w.cols)));
  TRY(piece_rows({bins * 4}, 1)); // all bins must be bound at once
  std::uint32_t local_bins = 64;  // shared memory for as many bins as a small device has
  while (local_bins < bins && local_bins < 4096)
    local_bins *= 2;
  struct {
    std::uint32_t units, cols, row_units, group_units, bins;
    float lo, hi, inv;
  } push{0,
         std::uint32_t(w.cols),
         std::uint32_t(units),
         std::uint32_t(group_units),
         std::uint32_t(bins),
         lo,
         hi,
         inv};
  const std::uint32_t constants[] = {std::uint32_t(w.type), bins <= local_bins ? local_bins : 1};
  return stream(w.rows, rows_per_piece, feedback,
                [&](std::int64_t first, std::int64_t count) -> Result<void> {
                  push.units = std::uint32_t(count * units);
                  GpuSlice slices[2];
                  TRY_ASSIGN(slices[0], values(w, first, count));
                  TRY_ASSIGN(
                      slices[1],
                      gpu_->output(std::uint64_t(bins) * 4, true, [counts](const std::byte* from) {
                        for (std::size_t b = 0; b < counts.size(); ++b) {
                          std::uint32_t n;
                          std::memcpy(&n, from + b * 4, 4);
                          counts[b] += n;
                        }
                      }));
                  return gpu_->run({"histogram", constants, slices, push_of(push),
                                    std::uint64_t((push.units + group_units - 1) / group_units),
                                    histogram_work * double(count * w.cols)});
                });
}

Result<void> VulkanCompute::histogram(const FloatView& w, float lo, float hi,
                                      std::span<std::uint64_t> counts, const Feedback* feedback) {
  const float inv = float(counts.size()) / (hi - lo);
  if (!well_formed(w) || counts.empty() || counts.size() > (1u << 20) || !(lo < hi) ||
      !std::isnormal(inv) || !std::isfinite(hi - lo))
    return cpu_->histogram(w, lo, hi, counts, feedback);
  return on_device(
      "histogram",
      [&]() -> Result<void> {
        std::vector<std::uint64_t> own(counts.size()); // a failure halfway must not count twice
        for (const FloatView& flat : flat_views(w, gpu_->limits().max_range))
          TRY(gpu_histogram(flat, lo, hi, inv, own, feedback));
        for (std::size_t b = 0; b < counts.size(); ++b)
          counts[b] += own[b];
        return {};
      },
      [&] { return cpu_->histogram(w, lo, hi, counts, feedback); });
}

Result<void> VulkanCompute::group_ranges(const FloatView& w, std::int64_t group,
                                         std::span<float> lo, std::span<float> hi,
                                         const Feedback* feedback) {
  const auto on_cpu = [&] { return cpu_->group_ranges(w, group, lo, hi, feedback); };
  if (!well_formed(w) || group <= 0)
    return on_cpu();
  const std::int64_t width = std::min(group, w.cols), groups = (w.cols + width - 1) / width;
  if (std::int64_t(lo.size()) != w.rows * groups || lo.size() != hi.size())
    return on_cpu();
  const auto on_gpu = [&]() -> Result<void> {
    const std::uint32_t lanes = lanes_for(row_units(width) / 2);
    TRY_ASSIGN(const std::int64_t rows_per_piece,
               piece_rows({padded_row_bytes(w), groups * 8}, ranges_work * double(w.cols)));
    struct {
      std::uint32_t items, groups, group, cols, row_units;
    } push{0, std::uint32_t(groups), std::uint32_t(width), std::uint32_t(w.cols),
           std::uint32_t(row_units(w.cols))};
    const std::uint32_t constants[] = {std::uint32_t(w.type), lanes};
    return stream(
        w.rows, rows_per_piece, feedback,
        [&](std::int64_t first, std::int64_t count) -> Result<void> {
          push.items = std::uint32_t(count * groups);
          GpuSlice slices[2];
          TRY_ASSIGN(slices[0], values(w, first, count));
          TRY_ASSIGN(slices[1], gpu_->output(push.items * 8ull, false, [=](const std::byte* from) {
            for (std::int64_t i = 0; i < count * groups; ++i) {
              std::memcpy(&lo[std::size_t(first * groups + i)], from + i * 8, 4);
              std::memcpy(&hi[std::size_t(first * groups + i)], from + i * 8 + 4, 4);
            }
          }));
          return gpu_->run({"group_ranges", constants, slices, push_of(push),
                            (push.items + 256 / lanes - 1) / (256 / lanes),
                            ranges_work * double(count * w.cols)});
        });
  };
  return on_device("group ranges", on_gpu, on_cpu);
}

} // namespace bitlathe
