// SPDX-License-Identifier: Apache-2.0
// Coding on the device: integer grids, clip-search errors, GGUF blocks.
#include "kernels/compute/vulkan_compute.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace bitlathe {

namespace {

constexpr double code_work = 20, block_work = 40;
/// 64-bit arithmetic runs at 1/32 of the rate or less on consumer devices.
constexpr double error_work = 150;

bool well_formed(const FloatView& w) {
  return w.rows > 0 && w.cols > 0 && w.cols < (std::int64_t(1) << 31) &&
         w.data.size() >= std::uint64_t(w.rows) * std::uint64_t(w.cols) * float_size(w.type);
}

} // namespace

Result<void> VulkanCompute::quantize_int(const FloatView& w, const IntSpec& spec,
                                         std::span<const IntGrid> grids, std::span<std::byte> codes,
                                         const Feedback* feedback) {
  const auto on_cpu = [&] { return cpu_->quantize_int(w, spec, grids, codes, feedback); };
  if (!well_formed(w) || spec.group <= 0 || spec.bits < 2 || spec.bits > 8)
    return on_cpu();
  const std::int64_t group = std::min(spec.group, w.cols), groups = (w.cols + group - 1) / group;
  const std::int64_t grids_per_row = spec.per_tensor ? 0 : groups;
  const std::int64_t stride = int_row_bytes(w.cols, spec.bits);
  if (std::int64_t(grids.size()) != (spec.per_tensor ? 1 : w.rows * groups) ||
      std::int64_t(codes.size()) != w.rows * stride)
    return on_cpu();
  const auto on_gpu = [&]() -> Result<void> {
    const std::int64_t row_blocks = (w.cols + 31) / 32;
    TRY_ASSIGN(
        const std::int64_t rows_per_piece,
        piece_rows({padded_row_bytes(w), stride, grids_per_row * 8}, code_work * double(w.cols)));
    struct {
      std::uint32_t blocks, row_blocks, cols, row_units, row_words, group, groups;
    } push{0,
           std::uint32_t(row_blocks),
           std::uint32_t(w.cols),
           std::uint32_t(row_units(w.cols)),
           std::uint32_t(stride / 4),
           std::uint32_t(group),
           std::uint32_t(grids_per_row)};
    const std::uint32_t constants[] = {std::uint32_t(w.type), std::uint32_t(spec.bits)};
    return stream(
        w.rows, rows_per_piece, feedback,
        [&](std::int64_t first, std::int64_t count) -> Result<void> {
          push.blocks = std::uint32_t(count * row_blocks);
          const std::int64_t n_grids = spec.per_tensor ? 1 : count * groups;
          GpuSlice slices[3];
          TRY_ASSIGN(slices[0], values(w, first, count));
          TRY_ASSIGN(slices[1], gpu_->input(std::uint64_t(n_grids) * 8, [&](std::byte* to) {
            for (std::int64_t i = 0; i < n_grids; ++i) {
              const IntGrid& grid = grids[std::size_t(first * grids_per_row + i)];
              std::memcpy(to + i * 8, &grid.inverse, 4);
              std::memcpy(to + i * 8 + 4, &grid.zero, 4);
            }
          }));
          std::byte* to = codes.data() + first * stride;
          const auto bytes = std::uint64_t(count * stride);
          TRY_ASSIGN(slices[2], gpu_->output(bytes, false, [to, bytes](const std::byte* from) {
            copy_bytes(to, from, bytes);
          }));
          return gpu_->run({"quantize_int", constants, slices, push_of(push),
                            (push.blocks + 63ull) / 64, code_work * double(count * w.cols)});
        });
  };
  return on_device("integer coding", on_gpu, on_cpu);
}

Result<void> VulkanCompute::int_errors(const FloatView& w, const IntSpec& spec,
                                       std::span<const std::vector<IntGrid>> candidates,
                                       std::span<const float> column_weight, std::span<double> out,
                                       const Feedback* feedback) {
  const auto on_cpu = [&] {
    return cpu_->int_errors(w, spec, candidates, column_weight, out, feedback);
  };
  if (!well_formed(w) || spec.group <= 0 || spec.bits < 2 || spec.bits > 8 || candidates.empty())
    return on_cpu();
  const std::int64_t group = spec.per_tensor ? w.cols : std::min(spec.group, w.cols);
  const std::int64_t groups = (w.cols + group - 1) / group, k = std::int64_t(candidates.size());
  const std::int64_t n_groups = spec.per_tensor ? 1 : w.rows * groups;
  bool fits = std::int64_t(out.size()) == k * n_groups &&
              (column_weight.empty() || std::int64_t(column_weight.size()) == w.cols);
  for (const auto& grids : candidates)
    fits &= std::int64_t(grids.size()) == n_groups;
  if (!fits)
    return on_cpu();
  const auto on_gpu = [&]() -> Result<void> {
    if (!gpu_->limits().float64)
      return Error{"unsupported",
                   "This device has no 64-bit floats, which the search needs to choose as the CPU "
                   "does",
                   {}};
    const std::int64_t sums_per_row = groups * k;
    const std::int64_t grids_per_row = spec.per_tensor ? 0 : sums_per_row;
    const double row_work = error_work * double(w.cols) * double(k);
    TRY_ASSIGN(const std::int64_t rows_per_piece,
               piece_rows({padded_row_bytes(w), grids_per_row * 16, sums_per_row * 8}, row_work));
    TRY(piece_rows({w.cols * 4, k * 16}, 1));
    struct {
      std::uint32_t items, groups, candidates, cols, row_units, group, one_grid;
    } push{0,
           std::uint32_t(groups),
           std::uint32_t(k),
           std::uint32_t(w.cols),
           std::uint32_t(row_units(w.cols)),
           std::uint32_t(group),
           spec.per_tensor ? 1u : 0u};
    const std::uint32_t constants[] = {std::uint32_t(w.type), std::uint32_t(spec.bits),
                                       column_weight.empty() ? 0u : 1u};
    // Per tensor: sums of rows first, added up in row order as the CPU does.
    std::vector<double> totals(spec.per_tensor ? std::size_t(k) : 0);
    TRY(stream(
        w.rows, rows_per_piece, feedback,
        [&](std::int64_t first, std::int64_t count) -> Result<void> {
          push.items = std::uint32_t(count * sums_per_row);
          const std::int64_t here = spec.per_tensor ? 1 : count * groups;
          GpuSlice slices[4];
          TRY_ASSIGN(slices[0], values(w, first, count));
          TRY_ASSIGN(slices[1], gpu_->input(std::uint64_t(here * k) * 16, [&](std::byte* to) {
            for (std::int64_t g = 0; g < here; ++g)
              for (std::int64_t c = 0; c < k; ++c, to += 16) {
                const IntGrid& grid =
                    candidates[std::size_t(c)]
                              [std::size_t(spec.per_tensor ? 0 : first * groups + g)];
                std::memcpy(to, &grid.scale, 4);
                std::memcpy(to + 4, &grid.inverse, 4);
                std::memcpy(to + 8, &grid.zero, 4);
              }
          }));
          const std::uint64_t weight_bytes = std::max<std::uint64_t>(column_weight.size_bytes(), 4);
          TRY_ASSIGN(slices[2], gpu_->input(weight_bytes, [&](std::byte* to) {
            if (!column_weight.empty())
              std::memcpy(to, column_weight.data(), column_weight.size_bytes());
          }));
          const auto consume = [&, first, count](const std::byte* from) {
            for (std::int64_t i = 0; i < count * sums_per_row; ++i) {
              double sum;
              std::memcpy(&sum, from + i * 8, 8);
              if (spec.per_tensor)
                totals[std::size_t(i % k)] += sum;
              else
                out[std::size_t(i % k * n_groups + first * groups + i / k)] = sum;
            }
          };
          TRY_ASSIGN(slices[3],
                     gpu_->output(std::uint64_t(count * sums_per_row) * 8, false, consume));
          return gpu_->run({"int_errors", constants, slices, push_of(push),
                            (push.items + 63ull) / 64, row_work * double(count)});
        }));
    std::copy(totals.begin(), totals.end(), out.begin());
    return {};
  };
  return on_device("clip search", on_gpu, on_cpu);
}

Result<void> VulkanCompute::quantize_blocks(const FloatView& w, std::string_view layout,
                                            std::span<const float> importance,
                                            std::span<std::byte> blocks, const Feedback* feedback) {
  const auto on_cpu = [&] {
    return cpu_->quantize_blocks(w, layout, importance, blocks, feedback);
  };
  if (has_block_encoder(layout) && layout != "q8_0" && layout != "q4_0" && layout != "q4_1") {
    note("On the CPU instead of the GPU: " + std::string(layout) +
         " blocks, which have no GPU kernel");
    return on_cpu();
  }
  const std::uint32_t format = layout == "q8_0" ? 0 : layout == "q4_0" ? 1 : 2;
  const std::int64_t bytes = format == 0 ? 34 : format == 1 ? 18 : 20, in_row = w.cols / 32;
  if (!well_formed(w) || w.cols % 32 != 0 ||
      std::int64_t(blocks.size()) != w.rows * in_row * bytes || (format == 2 && layout != "q4_1") ||
      (!importance.empty() && std::int64_t(importance.size()) != w.cols))
    return on_cpu();
  const auto on_gpu = [&]() -> Result<void> {
    if (format != 0 && !importance.empty())
      return Error{"unsupported",
                   "The weighted search of " + std::string(layout) + " blocks has no GPU kernel",
                   {}};
    const double row_work = block_work * double(w.cols);
    TRY_ASSIGN(const std::int64_t rows_per_piece,
               piece_rows({padded_row_bytes(w), in_row * bytes}, row_work));
    struct {
      std::uint32_t blocks, words;
    } push{};
    const std::uint32_t constants[] = {std::uint32_t(w.type), format};
    return stream(w.rows, rows_per_piece, feedback,
                  [&](std::int64_t first, std::int64_t count) -> Result<void> {
                    const std::int64_t size = count * in_row * bytes;
                    push.blocks = std::uint32_t(count * in_row);
                    push.words = std::uint32_t((size + 3) / 4);
                    GpuSlice slices[2];
                    TRY_ASSIGN(slices[0], values(w, first, count));
                    std::byte* to = blocks.data() + first * in_row * bytes;
                    TRY_ASSIGN(slices[1], gpu_->output(push.words * 4ull, false,
                                                       [to, size](const std::byte* from) {
                                                         copy_bytes(to, from, std::uint64_t(size));
                                                       }));
                    return gpu_->run({"quantize_blocks", constants, slices, push_of(push),
                                      (push.blocks + 63ull) / 64, row_work * double(count)});
                  });
  };
  return on_device(std::string(layout) + " blocks", on_gpu, on_cpu);
}

} // namespace bitlathe
