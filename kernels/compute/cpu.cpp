// SPDX-License-Identifier: Apache-2.0
// The CPU backend: parallel loops over rows around the kernels of one instruction set.
#include "kernels/base/parallel.h"
#include "kernels/compute/compute.h"
#include "kernels/compute/cpu_matmul.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/kernels.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <unistd.h>
#include <utility>

namespace bitlathe {

namespace {

using cpu::Kernels;

/// Rows worth handing to a thread: about 64 Ki values.
std::int64_t row_grain(std::int64_t cols) {
  return std::max<std::int64_t>(1, 65536 / std::max<std::int64_t>(1, cols));
}

constexpr std::int64_t chunk = 4096; ///< values converted to f32 at a time; fits the first cache

/// Calls use(values, first column, count) over a row, in pieces of at most `chunk` values.
template <class Use> void for_row(const Kernels& k, const FloatView& w, std::int64_t row, Use use) {
  const auto size = std::int64_t(float_size(w.type));
  const std::byte* from = w.row(row);
  alignas(64) float values[chunk];
  for (std::int64_t col = 0; col < w.cols; col += chunk) {
    const std::int64_t n = std::min(chunk, w.cols - col);
    k.to_f32(int(w.type), from + col * size, n, values);
    use(values, col, n);
  }
}

double reduce(const double* lane) {
  double sum[cpu::lanes];
  std::copy_n(lane, cpu::lanes, sum);
  for (int half = cpu::lanes / 2; half > 0; half /= 2)
    for (int l = 0; l < half; ++l)
      sum[l] += sum[l + half];
  return sum[0];
}

Moments moments_of_row(const Kernels& k, const FloatView& w, std::int64_t row) {
  cpu::MomentState s{};
  std::fill_n(s.min, cpu::lanes, std::numeric_limits<float>::infinity());
  std::fill_n(s.max, cpu::lanes, -std::numeric_limits<float>::infinity());
  for_row(k, w, row, [&](const float* x, std::int64_t, std::int64_t n) { k.moments(x, n, &s); });
  Moments m;
  m.nan = s.nan;
  m.inf = s.inf;
  m.zeros = s.zeros;
  m.count = std::uint64_t(w.cols) - s.nan - s.inf;
  if (m.count > 0) {
    m.min = *std::min_element(s.min, s.min + cpu::lanes) + 0.0f; // never -0
    m.max = *std::max_element(s.max, s.max + cpu::lanes) + 0.0f;
    m.absmax = std::max(std::fabs(m.min), std::fabs(m.max));
  }
  m.sum = reduce(s.sum[0]);
  m.sum2 = reduce(s.sum[1]);
  m.sum3 = reduce(s.sum[2]);
  m.sum4 = reduce(s.sum[3]);
  return m;
}

ErrorSums errors_of_row(const Kernels& k, const FloatView& w, const MatrixView& q,
                        std::int64_t row) {
  cpu::ErrorState s{};
  alignas(64) float decoded[chunk];
  for_row(k, w, row, [&](const float* x, std::int64_t col, std::int64_t n) {
    q.layout->decode(q, row, col, n, decoded);
    k.errors(x, decoded, n, &s);
  });
  ErrorSums e;
  e.count = std::uint64_t(w.cols);
  e.sum_sq_error = reduce(s.error);
  e.sum_sq_ref = reduce(s.ref);
  e.sum_sq_quant = reduce(s.quant);
  e.sum_product = reduce(s.product);
  e.max_abs_error = *std::max_element(s.max_abs, s.max_abs + cpu::lanes);
  return e;
}

Error bad(std::string message) { return {"bad-argument", std::move(message), {}}; }

class CpuMatrix final : public LoadedMatrix {
 public:
  MatrixView view;
};

class CpuCompute final : public Compute {
 public:
  explicit CpuCompute(Isa isa) : k_(cpu_kernels(isa)) {
    info_.name = cpu_brand() + " (" + std::string(isa_name(isa)) + ")";
    info_.backend = "cpu";
    info_.type = "cpu";
    info_.memory_bytes = std::uint64_t(std::max(0L, sysconf(_SC_PHYS_PAGES))) *
                         std::uint64_t(std::max(0L, sysconf(_SC_PAGE_SIZE)));
    info_.is_default = true;
    info_.properties.emplace_back("instruction set", std::string(isa_name(isa)));
    std::string supported;
    for (const Isa i : supported_isas())
      supported += (supported.empty() ? "" : ", ") + std::string(isa_name(i));
    info_.properties.emplace_back("supported instruction sets", supported);
    info_.properties.emplace_back("threads", std::to_string(thread_count()));
  }

  const DeviceInfo& device() const override { return info_; }

  Result<Moments> moments(const FloatView& w, const Feedback* feedback) override {
    std::vector<Moments> rows(std::size_t(w.rows));
    TRY(row_moments(w, rows, feedback));
    Moments all;
    for (const Moments& m : rows)
      all.add(m);
    return all;
  }

  Result<void> row_moments(const FloatView& w, std::span<Moments> out,
                           const Feedback* feedback) override {
    return rows(w, feedback,
                [&](std::int64_t row) { out[std::size_t(row)] = moments_of_row(k_, w, row); });
  }

  Result<void> histogram(const FloatView& w, float lo, float hi, std::span<std::uint64_t> counts,
                         const Feedback* feedback) override {
    if (counts.empty() || counts.size() > (1u << 20))
      return bad("A histogram needs 1 to 1048576 bins");
    const auto bins = std::int32_t(counts.size());
    const float inv = float(bins) / (hi - lo);
    if (!(lo < hi) || !std::isfinite(inv) || inv == 0)
      return bad("A histogram needs two finite ends, the lower below the upper");
    // Counters of one piece are 32 bits wide: no piece may hold more values.
    constexpr std::int64_t most_values = std::int64_t(1) << 31;
    const std::int64_t most_rows =
        std::max<std::int64_t>(1, most_values / std::max<std::int64_t>(1, w.cols));
    if (w.cols > most_values)
      return bad("A histogram takes rows of at most 2147483648 values");
    const std::size_t stride = counts.size() + 1;
    std::mutex mutex;
    const bool done = parallel_for(
        w.rows, row_grain(w.cols),
        [&](std::int64_t begin, std::int64_t end) {
          std::vector<std::uint32_t> own(stride * cpu::histogram_copies);
          while (begin < end) {
            const std::int64_t until = std::min(end, begin + most_rows);
            for (; begin < until; ++begin)
              for_row(k_, w, begin, [&](const float* x, std::int64_t, std::int64_t n) {
                k_.histogram(x, n, lo, hi, inv, bins, own.data());
              });
            const std::lock_guard lock(mutex);
            for (std::size_t copy = 0; copy < cpu::histogram_copies; ++copy)
              for (std::size_t i = 0; i < counts.size(); ++i)
                counts[i] += std::exchange(own[copy * stride + i], 0);
          }
        },
        feedback);
    return finished(done);
  }

  Result<void> group_ranges(const FloatView& w, std::int64_t group, std::span<float> lo,
                            std::span<float> hi, const Feedback* feedback) override {
    if (group <= 0)
      return bad("A group needs at least one column");
    const std::int64_t groups = (w.cols + group - 1) / group;
    if (std::int64_t(lo.size()) != w.rows * groups || lo.size() != hi.size())
      return bad("The arrays for group ranges have the wrong length");
    return rows(w, feedback, [&](std::int64_t row) {
      float* l = lo.data() + row * groups;
      float* h = hi.data() + row * groups;
      for_groups(w, row, group,
                 [&](const float* x, std::int64_t g, std::int64_t in, std::int64_t n) {
                   float a, b;
                   k_.range(x, n, &a, &b);
                   // A NaN seen in an earlier piece of the group stays.
                   if (in == 0 || std::isnan(a)) {
                     l[g] = a;
                     h[g] = b;
                   } else if (!std::isnan(l[g])) {
                     l[g] = std::min(l[g], a);
                     h[g] = std::max(h[g], b);
                   }
                 });
    });
  }

  Result<void> quantize_int(const FloatView& w, const IntSpec& spec, std::span<const IntGrid> grids,
                            std::span<std::byte> codes, const Feedback* feedback) override {
    TRY(check(spec));
    const std::int64_t groups = (w.cols + spec.group - 1) / spec.group;
    const std::int64_t stride = int_row_bytes(w.cols, spec.bits);
    if (std::int64_t(grids.size()) != (spec.per_tensor ? 1 : w.rows * groups))
      return bad("There must be one integer grid per group");
    if (std::int64_t(codes.size()) != w.rows * stride)
      return bad("The array for codes has the wrong length");
    const bool done = parallel_for(
        w.rows, row_grain(w.cols),
        [&](std::int64_t begin, std::int64_t end) {
          std::vector<std::uint8_t> row_codes(std::size_t(w.cols));
          for (std::int64_t row = begin; row < end; ++row) {
            for_groups(w, row, spec.group,
                       [&](const float* x, std::int64_t g, std::int64_t in, std::int64_t n) {
                         const IntGrid& grid =
                             grids[spec.per_tensor ? 0 : std::size_t(row * groups + g)];
                         k_.encode(x, n, grid.inverse, grid.zero, spec.bits,
                                   row_codes.data() + g * spec.group + in);
                       });
            k_.pack(row_codes.data(), w.cols, spec.bits,
                    reinterpret_cast<std::uint8_t*>(codes.data()) + row * stride);
          }
        },
        feedback);
    return finished(done);
  }

  Result<void> int_errors(const FloatView& w, const IntSpec& spec,
                          std::span<const std::vector<IntGrid>> candidates,
                          std::span<const float> column_weight, std::span<double> out,
                          const Feedback* feedback) override {
    TRY(check(spec));
    const std::int64_t groups = (w.cols + spec.group - 1) / spec.group;
    const auto count = std::int64_t(candidates.size());
    const std::int64_t n_groups = spec.per_tensor ? 1 : w.rows * groups;
    for (const auto& grids : candidates)
      if (std::int64_t(grids.size()) != n_groups)
        return bad("There must be one integer grid per group in every candidate");
    if (std::int64_t(out.size()) != count * n_groups)
      return bad("The array for errors has the wrong length");
    if (!column_weight.empty() && std::int64_t(column_weight.size()) != w.cols)
      return bad("There must be one column weight per column");
    const std::int64_t padded = (count + cpu::lanes - 1) / cpu::lanes * cpu::lanes;
    // Per tensor: one result for all rows, so rows go to partial sums first.
    std::vector<double> partial(spec.per_tensor ? std::size_t(w.rows * count) : 0);
    const bool done = parallel_for(
        w.rows, row_grain(w.cols * std::max<std::int64_t>(1, count)),
        [&](std::int64_t begin, std::int64_t end) {
          std::vector<float> scale(std::size_t(padded), 1.0f), inverse(scale), row_x;
          std::vector<std::int32_t> zero(static_cast<std::size_t>(padded));
          std::vector<double> sums(static_cast<std::size_t>(padded));
          row_x.resize(std::size_t(w.cols));
          for (std::int64_t row = begin; row < end; ++row) {
            for_row(k_, w, row, [&](const float* x, std::int64_t col, std::int64_t n) {
              std::copy_n(x, n, row_x.data() + col);
            });
            // Per tensor the grid does not change along the row: one group is enough.
            const std::int64_t group = spec.per_tensor ? w.cols : spec.group;
            for (std::int64_t col = 0, g = 0; col < w.cols; col += group, ++g) {
              const std::int64_t n = std::min(group, w.cols - col);
              const std::int64_t index = spec.per_tensor ? 0 : row * groups + g;
              for (std::int64_t c = 0; c < count; ++c) {
                const IntGrid& grid = candidates[std::size_t(c)][std::size_t(index)];
                scale[std::size_t(c)] = grid.scale;
                inverse[std::size_t(c)] = grid.inverse;
                zero[std::size_t(c)] = grid.zero;
              }
              k_.grid_errors(
                  row_x.data() + col, column_weight.empty() ? nullptr : column_weight.data() + col,
                  n, scale.data(), inverse.data(), zero.data(), spec.bits, padded, sums.data());
              for (std::int64_t c = 0; c < count; ++c) {
                if (spec.per_tensor)
                  partial[std::size_t(row * count + c)] = sums[std::size_t(c)];
                else
                  out[std::size_t(c * n_groups + index)] = sums[std::size_t(c)];
              }
            }
          }
        },
        feedback);
    TRY(finished(done));
    if (spec.per_tensor)
      for (std::int64_t c = 0; c < count; ++c) {
        double sum = 0;
        for (std::int64_t row = 0; row < w.rows; ++row)
          sum += partial[std::size_t(row * count + c)];
        out[std::size_t(c)] = sum;
      }
    return {};
  }

  Result<void> quantize_blocks(const FloatView& w, std::string_view layout,
                               std::span<const float> importance, std::span<std::byte> blocks,
                               const Feedback* feedback) override {
    const Layout* type = find_layout(layout);
    if (!type || !has_block_encoder(layout))
      return Error{"unsupported", "There is no block encoder for " + std::string(layout), {}};
    if (w.cols % type->block != 0)
      return bad("Rows of " + std::to_string(w.cols) + " columns do not divide into " +
                 std::string(layout) + " blocks of " + std::to_string(type->block));
    if (!importance.empty() && std::int64_t(importance.size()) != w.cols)
      return bad("There must be one importance per column");
    const std::int64_t stride = w.cols / type->block * type->block_bytes;
    if (std::int64_t(blocks.size()) != w.rows * stride)
      return bad("The array for blocks has the wrong length");
    const auto encode = type->kernels(k_).encode;
    const bool weighted = !importance.empty();
    const bool done = parallel_for(
        w.rows, row_grain(w.cols),
        [&](std::int64_t begin, std::int64_t end) {
          std::vector<float> values(weighted ? std::size_t(w.cols) : 0);
          for (std::int64_t row = begin; row < end; ++row) {
            auto* out = reinterpret_cast<std::uint8_t*>(blocks.data()) + row * stride;
            for_row(k_, w, row, [&](const float* x, std::int64_t col, std::int64_t n) {
              if (weighted)
                std::copy_n(x, n, values.data() + col);
              else
                encode(x, nullptr, n / type->block, out + col / type->block * type->block_bytes);
            });
            if (weighted)
              encode(values.data(), importance.data(), w.cols / type->block, out);
          }
        },
        feedback);
    return finished(done);
  }

  Result<void> decode(const MatrixView& q, std::int64_t first_row, std::int64_t n_rows,
                      std::span<float> out, const Feedback* feedback) override {
    if (first_row < 0 || n_rows < 0 || first_row + n_rows > q.rows)
      return bad("The rows to decode lie outside the matrix");
    if (std::int64_t(out.size()) != n_rows * q.cols)
      return bad("The array for decoded values has the wrong length");
    const bool done = parallel_for(
        n_rows, row_grain(q.cols),
        [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t r = begin; r < end; ++r)
            q.layout->decode(q, first_row + r, 0, q.cols, out.data() + r * q.cols);
        },
        feedback);
    return finished(done);
  }

  Result<ErrorSums> error(const FloatView& w, const MatrixView& q,
                          const Feedback* feedback) override {
    std::vector<ErrorSums> rows_out(std::size_t(w.rows));
    TRY(row_errors(w, q, rows_out, feedback));
    ErrorSums all;
    for (const ErrorSums& e : rows_out)
      all.add(e);
    return all;
  }

  Result<void> row_errors(const FloatView& w, const MatrixView& q, std::span<ErrorSums> out,
                          const Feedback* feedback) override {
    if (w.rows != q.rows || w.cols != q.cols || std::int64_t(out.size()) != w.rows)
      return bad("The matrices to compare differ in shape");
    return rows(w, feedback,
                [&](std::int64_t row) { out[std::size_t(row)] = errors_of_row(k_, w, q, row); });
  }

  Result<std::unique_ptr<LoadedMatrix>> load(const MatrixView& w) override {
    auto matrix = std::make_unique<CpuMatrix>();
    matrix->rows = w.rows;
    matrix->cols = w.cols;
    matrix->view = w;
    return std::unique_ptr<LoadedMatrix>(std::move(matrix));
  }

  Result<void> matmul(const float* x, std::int64_t m, const LoadedMatrix& loaded,
                      float* y) override {
    cpu_matmul(k_, static_cast<const CpuMatrix&>(loaded).view, x, m, y);
    return {};
  }

  Result<void> matmul_int8(const float* x, std::int64_t m, const LoadedMatrix& loaded, float* y,
                           float scale) override {
    const MatrixView& w = static_cast<const CpuMatrix&>(loaded).view;
    if (w.layout->id != "int")
      return Error{"unsupported",
                   "Products with int8 activations need integer codes, not layout " +
                       std::string(w.layout->id),
                   {}};
    cpu_matmul_int8(k_, w, x, m, y, scale);
    return {};
  }

 private:
  static Result<void> finished(bool done) {
    if (!done)
      return cancelled_error();
    return {};
  }

  static Result<void> check(const IntSpec& spec) {
    if (spec.bits < 2 || spec.bits > 8)
      return bad("Integer codes have 2 to 8 bits, not " + std::to_string(spec.bits));
    if (spec.group <= 0)
      return bad("A group needs at least one column");
    return {};
  }

  template <class Row> Result<void> rows(const FloatView& w, const Feedback* feedback, Row row) {
    return finished(parallel_for(
        w.rows, row_grain(w.cols),
        [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t r = begin; r < end; ++r)
            row(r);
        },
        feedback));
  }

  /// Calls use(values, group, column within the group, count) over a row.
  template <class Use>
  void for_groups(const FloatView& w, std::int64_t row, std::int64_t group, Use use) const {
    for_row(k_, w, row, [&](const float* x, std::int64_t col, std::int64_t n) {
      for (std::int64_t i = 0; i < n;) {
        const std::int64_t g = (col + i) / group, in = (col + i) % group;
        const std::int64_t count = std::min(n - i, group - in);
        use(x + i, g, in, count);
        i += count;
      }
    });
  }

  const Kernels& k_;
  DeviceInfo info_;
};

} // namespace

bool has_block_encoder(std::string_view layout) {
  const Layout* type = find_layout(layout);
  return type && type->kernels && type->kernels(cpu_kernels(Isa::scalar)).encode;
}

Result<std::unique_ptr<Compute>> make_cpu_compute(Isa isa) {
  const auto supported = supported_isas();
  if (std::find(supported.begin(), supported.end(), isa) == supported.end())
    return Error{"not-available", "This processor does not have " + std::string(isa_name(isa)), {}};
  return std::unique_ptr<Compute>(std::make_unique<CpuCompute>(isa));
}

Result<std::unique_ptr<Compute>> make_cpu_compute() {
  TRY(check_environment());
  TRY_ASSIGN(const Isa isa, isa_from_environment());
  return make_cpu_compute(isa);
}

} // namespace bitlathe
