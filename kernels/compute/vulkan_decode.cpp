// SPDX-License-Identifier: Apache-2.0
// Decoding and comparison of packed matrices on the device.
#include "kernels/compute/vulkan_compute.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace bitlathe {

namespace {

constexpr double decode_work = 15, errors_work = 75;

struct ErrorPartial { // shaders/error.comp
  float sums[4][2];
  std::uint32_t largest, unused[3];
};
static_assert(sizeof(ErrorPartial) == 48);

void add_partial(ErrorSums& e, const ErrorPartial& p, std::int64_t values) {
  const auto sum = [&p](int i) { return double(p.sums[i][0]) + double(p.sums[i][1]); };
  ErrorSums piece;
  piece.count = std::uint64_t(values);
  piece.sum_sq_error = sum(0);
  piece.sum_sq_ref = sum(1);
  piece.sum_sq_quant = sum(2);
  piece.sum_product = sum(3);
  piece.max_abs_error = std::bit_cast<float>(p.largest);
  e.add(piece);
}

/// Squares kept to the normal range of f32.
bool sums_hold(const ErrorSums& e) {
  const auto holds = [](double x) { return x == 0 || (std::isfinite(x) && x > 0x1p-80); };
  return holds(e.sum_sq_error) && holds(e.sum_sq_ref) && holds(e.sum_sq_quant) &&
         std::isfinite(e.sum_product) && std::isfinite(e.max_abs_error) &&
         (e.sum_sq_error > 0 || e.max_abs_error == 0);
}

} // namespace

Result<void> VulkanCompute::gpu_decode(const MatrixView& q, std::int64_t first_row,
                                       std::int64_t n_rows, std::span<float> out,
                                       const Feedback* feedback) {
  TRY_ASSIGN(const PackedFormat f, packed_format(q));
  const std::int64_t units = row_units(q.cols), row_bytes = q.cols * 4;
  TRY_ASSIGN(const std::int64_t rows_per_piece,
             piece_rows({f.code_bytes, f.scale_bytes, f.zero_bytes, units * 32},
                        decode_work * double(q.cols)));
  struct {
    std::uint32_t units, row_units, cols, row_words, group, groups, of_row;
  } push{0, std::uint32_t(units), std::uint32_t(q.cols), f.row_words, f.group, f.groups, f.of_row};
  const std::uint32_t constants[] = {f.layout, f.ftype, f.bits, f.zeros};
  return stream(
      n_rows, rows_per_piece, feedback,
      [&](std::int64_t first, std::int64_t count) -> Result<void> {
        push.units = std::uint32_t(count * units);
        TRY_ASSIGN(const auto in, packed(q, f, first_row + first, count));
        auto* to = reinterpret_cast<std::byte*>(out.data() + first * q.cols);
        TRY_ASSIGN(
            const GpuSlice decoded,
            gpu_->output(std::uint64_t(count * units) * 32, false, [=](const std::byte* from) {
              if (row_bytes == units * 32)
                copy_bytes(to, from, std::uint64_t(count * row_bytes));
              else
                for (std::int64_t r = 0; r < count; ++r)
                  std::memcpy(to + r * row_bytes, from + r * units * 32, std::size_t(row_bytes));
            }));
        const GpuSlice slices[] = {in[0], in[1], in[2], decoded};
        return gpu_->run({"decode", constants, slices, push_of(push), (push.units + 255ull) / 256,
                          decode_work * double(count * q.cols)});
      });
}

Result<void> VulkanCompute::decode(const MatrixView& q, std::int64_t first_row, std::int64_t n_rows,
                                   std::span<float> out, const Feedback* feedback) {
  const auto on_cpu = [&] { return cpu_->decode(q, first_row, n_rows, out, feedback); };
  if (first_row < 0 || n_rows <= 0 || first_row + n_rows > q.rows ||
      std::int64_t(out.size()) != n_rows * q.cols)
    return on_cpu();
  return on_device(
      "decoding", [&] { return gpu_decode(q, first_row, n_rows, out, feedback); }, on_cpu);
}

Result<void> VulkanCompute::gpu_errors(const FloatView& w, const MatrixView& q,
                                       std::span<ErrorSums> out, const Feedback* feedback) {
  TRY_ASSIGN(const PackedFormat f, packed_format(q));
  const std::int64_t units = row_units(q.cols);
  const std::uint32_t lanes = lanes_for(units / 2);
  const std::int64_t piece_units = lanes * 8;
  const std::int64_t pieces = (units + piece_units - 1) / piece_units;
  TRY_ASSIGN(const std::int64_t rows_per_piece,
             piece_rows({padded_row_bytes(w), f.code_bytes, f.scale_bytes, f.zero_bytes,
                         pieces * std::int64_t(sizeof(ErrorPartial))},
                        errors_work * double(q.cols)));
  struct {
    std::uint32_t items, pieces, row_units, piece_units, cols, row_words, group, groups, of_row;
  } push{0,
         std::uint32_t(pieces),
         std::uint32_t(units),
         std::uint32_t(piece_units),
         std::uint32_t(q.cols),
         f.row_words,
         f.group,
         f.groups,
         f.of_row};
  const std::uint32_t constants[] = {
      std::uint32_t(w.type), lanes, f.layout, f.ftype, f.bits, f.zeros};
  TRY(stream(w.rows, rows_per_piece, feedback,
             [&](std::int64_t first, std::int64_t count) -> Result<void> {
               push.items = std::uint32_t(count * pieces);
               TRY_ASSIGN(const GpuSlice in, values(w, first, count));
               TRY_ASSIGN(const auto coded, packed(q, f, first, count));
               const auto consume = [=, &w](const std::byte* from) {
                 for (std::int64_t i = 0; i < count * pieces; ++i) {
                   ErrorPartial p;
                   std::memcpy(&p, from + std::size_t(i) * sizeof p, sizeof p);
                   const std::int64_t begin = i % pieces * piece_units * 8;
                   add_partial(out[std::size_t(first + i / pieces)], p,
                               std::min(piece_units * 8, w.cols - begin));
                 }
               };
               TRY_ASSIGN(const GpuSlice partials,
                          gpu_->output(push.items * sizeof(ErrorPartial), false, consume));
               const GpuSlice slices[] = {in, coded[0], coded[1], coded[2], partials};
               return gpu_->run({"error", constants, slices, push_of(push),
                                 (push.items + 256 / lanes - 1) / (256 / lanes),
                                 errors_work * double(count * q.cols)});
             }));
  std::int64_t again = 0;
  std::vector<float> v;
  for (std::int64_t r = 0; r < w.rows; ++r)
    if (!sums_hold(out[std::size_t(r)])) {
      ++again;
      // One row of the packed matrix, as a float matrix of its decoded values.
      v.resize(std::size_t(q.cols));
      q.layout->decode(q, r, 0, q.cols, v.data());
      MatrixView row;
      row.layout = find_layout("float");
      row.rows = 1;
      row.cols = q.cols;
      row.codes = std::as_bytes(std::span(v));
      TRY(cpu_->row_errors(w.slice(r, 1), row, out.subspan(std::size_t(r), 1), feedback));
    }
  if (again > 0)
    note("Some errors are too large or too small for 32-bit sums of their squares; those rows were "
         "summed on the CPU");
  return {};
}

Result<void> VulkanCompute::row_errors(const FloatView& w, const MatrixView& q,
                                       std::span<ErrorSums> out, const Feedback* feedback) {
  const auto on_cpu = [&] { return cpu_->row_errors(w, q, out, feedback); };
  if (w.rows != q.rows || w.cols != q.cols || std::int64_t(out.size()) != w.rows)
    return on_cpu();
  return on_device(
      "errors",
      [&] {
        std::fill(out.begin(), out.end(), ErrorSums{});
        return gpu_errors(w, q, out, feedback);
      },
      on_cpu);
}

Result<ErrorSums> VulkanCompute::error(const FloatView& w, const MatrixView& q,
                                       const Feedback* feedback) {
  std::vector<ErrorSums> rows(std::size_t(std::max<std::int64_t>(w.rows, 0)));
  TRY(row_errors(w, q, rows, feedback));
  ErrorSums all;
  for (const ErrorSums& e : rows)
    all.add(e);
  return all;
}

} // namespace bitlathe
