// SPDX-License-Identifier: Apache-2.0
// Products on the device: weights stay there from load() on; activations and results travel.
#include "kernels/compute/vulkan_compute.h"

#include "kernels/base/parallel.h"
#include "kernels/compute/cpu_matmul.h"
#include "kernels/compute/vulkan_blocks.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace bitlathe {

namespace {

/// Activations of one piece of tokens.
constexpr std::uint64_t max_x_bytes = 64 << 20;

std::uint64_t aligned(std::uint64_t n) {
  return (n + gpu_alignment - 1) / gpu_alignment * gpu_alignment;
}

/// Waits for the device before memory of this scope goes back to its arena.
struct Settle {
  Gpu& gpu;
  ~Settle() { gpu.abandon(); }
};

struct MatmulPush { // of gemm and matmul_int8
  std::uint32_t tokens, first_row, out_rows, units, cols, row_words, group, groups, of_row;
};
struct GemvPush {
  std::uint32_t first_row, out_rows, units, cols, row_words, group, groups, of_row;
};

/// Scatters results [tokens][count] to columns [first, first + count) of y.
std::function<void(const std::byte*)> scatter(float* y, std::int64_t rows, std::int64_t first,
                                              std::int64_t count, std::int64_t tokens) {
  return [=](const std::byte* from) {
    for (std::int64_t t = 0; t < tokens; ++t)
      std::memcpy(y + t * rows + first, from + t * count * 4, std::size_t(count) * 4);
  };
}

} // namespace

Result<void> VulkanCompute::gpu_load(const MatrixView& w, VulkanMatrix& to) {
  const IntegerForm* form = integer_form(w);
  if (form) {
    to.format = integer_format(w, *form);
  } else {
    TRY_ASSIGN(const PackedFormat stored, packed_format(w));
    to.format = resident_format(w, stored);
  }
  const PackedFormat& f = to.format;
  const bool blocks = w.layout->block > 0;
  const std::uint64_t range =
      gpu_->limits().max_range - std::min(gpu_->limits().max_range / 2, 2 * gpu_alignment);
  std::int64_t per_part = w.rows;
  for (const std::int64_t bytes : {f.code_bytes, f.scale_bytes, f.zero_bytes}) {
    if (std::uint64_t(bytes) > range)
      return Error{"unsupported", "One row is longer than the GPU can bind at once", {}};
    if (bytes > 0)
      per_part = std::min(per_part, std::int64_t(range) / bytes);
  }
  TRY(gpu_->begin());
  for (std::int64_t first = 0; first < w.rows; first += per_part) {
    VulkanMatrix::Part part;
    part.first = first;
    part.count = std::min(per_part, w.rows - first);
    const PackedBytes bytes = packed_bytes(f, part.count);
    TRY_ASSIGN(part.codes, gpu_->weights(bytes.codes));
    TRY_ASSIGN(part.scales, gpu_->weights(bytes.scales));
    TRY_ASSIGN(part.zeros, gpu_->weights(bytes.zeros));
    to.bytes += part.codes.slice().size + part.scales.slice().size + part.zeros.slice().size;
    std::vector<std::byte> codes, scales, zeros; // of repacked blocks
    if (blocks) {
      codes.resize(bytes.codes);
      scales.resize(bytes.scales);
      zeros.resize(bytes.zeros);
      if (form)
        fill_integer_form(w, *form, first, part.count, codes.data(), scales.data(), zeros.data());
      else
        fill_resident_blocks(w, first, part.count, codes.data(), scales.data(), zeros.data());
    } else {
      scales.resize(bytes.scales);
      zeros.resize(bytes.zeros);
      fill_scales(scales.data(), w, f, first, part.count);
      fill_zeros(zeros.data(), w, f, first, part.count);
    }
    const auto from = [](const std::vector<std::byte>& v) {
      return [&v](std::uint64_t at, std::span<std::byte> piece) {
        copy_bytes(piece.data(), v.data() + at, piece.size());
      };
    };
    TRY(gpu_->upload(part.scales.slice(), bytes.scales, from(scales)));
    TRY(gpu_->upload(part.zeros.slice(), bytes.zeros, from(zeros)));
    if (blocks)
      TRY(gpu_->upload(part.codes.slice(), bytes.codes, from(codes)));
    else // whole rows at a time, as float rows are padded on the way
      TRY(gpu_->upload_rows(part.codes.slice(), part.count, f.code_bytes,
                            [&](std::int64_t row, std::int64_t count, std::byte* at) {
                              fill_codes(at, w, first + row, count);
                            }));
    to.parts.push_back(std::move(part));
  }
  return gpu_->finish();
}

Result<std::unique_ptr<LoadedMatrix>> VulkanCompute::load(const MatrixView& w) {
  auto matrix = std::make_unique<VulkanMatrix>();
  matrix->rows = w.rows;
  matrix->cols = w.cols;
  matrix->view = w;
  matrix->gpu = gpu_;
  if (!gpu_->lost()) {
    if (auto loaded = gpu_load(w, *matrix); !loaded) {
      gpu_->abandon();
      matrix->parts.clear();
      matrix->bytes = 0;
      if (loaded.error().code == "out-of-memory")
        return std::move(loaded.error());
      note_fallback("loading a matrix", loaded.error());
    }
  }
  return std::unique_ptr<LoadedMatrix>(std::move(matrix));
}

Result<const LoadedMatrix*> VulkanCompute::cpu_twin(const VulkanMatrix& w) {
  if (!w.on_cpu) {
    TRY_ASSIGN(w.on_cpu, cpu_->load(w.view));
  }
  return static_cast<const LoadedMatrix*>(w.on_cpu.get());
}

Result<void> VulkanCompute::gpu_matmul(const float* x, std::int64_t m, const VulkanMatrix& w,
                                       float* y) {
  const PackedFormat& f = w.format;
  const GpuLimits& limits = gpu_->limits();
  const std::int64_t units = row_units(w.cols), x_row = units * 32;
  const std::uint64_t range = limits.max_range - std::min(limits.max_range / 2, 2 * gpu_alignment);
  const auto most = [&](std::uint64_t bytes) { return std::int64_t(std::min(range, bytes)); };
  if (x_row > most(max_x_bytes))
    return Error{"unsupported", "One row is longer than the GPU can bind at once", {}};
  // Results of 64 rows at least must fit one binding too.
  const std::int64_t step =
      std::max<std::int64_t>(1, std::min({m, most(max_x_bytes) / x_row, most(max_x_bytes) / 256}));
  for (std::int64_t t0 = 0; t0 < m; t0 += step) {
    const std::int64_t tokens = std::min(step, m - t0);
    TRY_ASSIGN(const GpuBuffer x_buffer, gpu_->scratch_buffer(std::uint64_t(tokens * x_row)));
    const Settle settle{*gpu_};
    TRY(gpu_->begin());
    const FloatView x_view{FloatType::f32, tokens, w.cols,
                           std::as_bytes(std::span(x + t0 * w.cols, std::size_t(tokens * w.cols)))};
    TRY(gpu_->upload_rows(x_buffer.slice(), tokens, x_row,
                          [&](std::int64_t row, std::int64_t count, std::byte* to) {
                            fill_rows(to, x_view, row, count);
                          }));
    const GpuSlice x_slice = x_buffer.slice().part(0, std::uint64_t(tokens * x_row));
    const double row_work = 2.0 * double(tokens) * double(w.cols);
    for (const auto& part : w.parts) {
      const PackedBytes bytes = packed_bytes(f, part.count);
      const auto slice = [](const GpuBuffer& b, std::uint64_t n) {
        return b.slice().part(0, std::min(b.slice().size, aligned(n + 16)));
      };
      std::int64_t at_once =
          std::min({part.count, most(max_x_bytes) / (tokens * 4),
                    std::max<std::int64_t>(64, std::int64_t(limits.work_per_submission / row_work) /
                                                   64 * 64)});
      for (std::int64_t r = 0; r < part.count; r += at_once) {
        const std::int64_t rows = std::min(at_once, part.count - r);
        if (gpu_->recorded_work() + row_work * double(rows) > limits.work_per_submission &&
            gpu_->recorded_work() > 0) {
          TRY(gpu_->submit());
          TRY(gpu_->begin());
        }
        TRY_ASSIGN(const GpuSlice out,
                   gpu_->output(std::uint64_t(tokens * rows) * 4, false,
                                scatter(y + t0 * w.rows, w.rows, part.first + r, rows, tokens)));
        const GpuSlice slices[] = {slice(part.codes, bytes.codes), slice(part.scales, bytes.scales),
                                   slice(part.zeros, bytes.zeros), x_slice, out};
        const auto u = [](std::int64_t n) { return std::uint32_t(n); };
        const bool first_use = r == 0 && &part == &w.parts.front();
        if (tokens == 1) {
          // Enough threads to hide the latency of memory, but each with some columns to add.
          const std::uint32_t lanes = lanes_for(std::clamp<std::int64_t>(
              (std::int64_t(1) << 20) / rows, 1, std::max<std::int64_t>(1, units / 2)));
          const GemvPush push{u(r),        u(rows), u(units), u(w.cols),
                              f.row_words, f.group, f.groups, f.of_row};
          const std::uint32_t constants[] = {f.layout, f.ftype, f.bits, f.zeros, lanes};
          const std::int64_t per_group = 256 / lanes * 4;
          TRY(gpu_->run({"gemv", constants, slices, push_of(push),
                         std::uint64_t((rows + per_group - 1) / per_group), row_work * double(rows),
                         !first_use}));
        } else {
          const MatmulPush push{u(tokens),   u(r),    u(rows),  u(units), u(w.cols),
                                f.row_words, f.group, f.groups, f.of_row};
          const std::uint32_t constants[] = {f.layout, f.ftype, f.bits, f.zeros};
          TRY(gpu_->run({"gemm", constants, slices, push_of(push),
                         std::uint64_t((tokens + 63) / 64 * ((rows + 63) / 64)),
                         row_work * double(rows), !first_use}));
        }
      }
    }
    TRY(gpu_->finish());
  }
  return {};
}

Result<void> VulkanCompute::gpu_matmul_int8(const float* x, std::int64_t m, const VulkanMatrix& w,
                                            float* y, float static_scale) {
  const PackedFormat& f = w.format;
  const GpuLimits& limits = gpu_->limits();
  if (f.groups > 1 && f.group % 8 != 0)
    return Error{"unsupported",
                 "Groups of " + std::to_string(f.group) + " columns are not multiples of 8",
                 {}};
  if (f.group > (1u << 16)) // sums of products would pass 32 bits
    return Error{"unsupported", "Groups have more than 65536 columns", {}};
  const std::int64_t units = row_units(w.cols), x_row = units * 8, groups = f.groups;
  const std::uint64_t range = limits.max_range - std::min(limits.max_range / 2, 2 * gpu_alignment);
  const auto most = [&](std::uint64_t bytes) { return std::int64_t(std::min(range, bytes)); };
  const std::int64_t token_bytes = std::max({x_row, groups * 4, std::int64_t(256)});
  if (token_bytes > most(max_x_bytes))
    return Error{"unsupported", "One row is longer than the GPU can bind at once", {}};
  const std::int64_t step = std::min(m, std::max<std::int64_t>(1, most(max_x_bytes) / token_bytes));
  for (std::int64_t t0 = 0; t0 < m; t0 += step) {
    const std::int64_t tokens = std::min(step, m - t0);
    // Activations are coded here: their scale needs a division, and int8 is a quarter to send.
    const std::uint64_t code_bytes = std::uint64_t(tokens * x_row), sum_at = aligned(code_bytes),
                        sum_bytes = std::uint64_t(tokens * groups) * 4,
                        scale_at = sum_at + aligned(sum_bytes),
                        scale_bytes = std::uint64_t(tokens) * 4;
    std::vector<std::byte> coded(scale_at + scale_bytes);
    auto* codes = reinterpret_cast<std::int8_t*>(coded.data());
    auto* sums = reinterpret_cast<std::int32_t*>(coded.data() + sum_at);
    auto* scales = reinterpret_cast<float*>(coded.data() + scale_at);
    parallel_for(
        tokens, std::max<std::int64_t>(1, 65536 / w.cols),
        [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t t = begin; t < end; ++t) {
            const float* v = x + (t0 + t) * w.cols;
            float absmax = 0;
            for (std::int64_t i = 0; i < w.cols; ++i)
              absmax = std::max(absmax, std::fabs(v[i]));
            const float s = static_scale != 0 ? static_scale : absmax > 0 ? absmax / 127.0f : 1.0f;
            scales[t] = s;
            encode_int8(v, w.cols, s, codes + t * x_row);
            for (std::int64_t i = 0; i < w.cols; ++i)
              sums[t * groups + (groups > 1 ? i / f.group : 0)] += codes[t * x_row + i];
          }
        });
    TRY_ASSIGN(const GpuBuffer buffer, gpu_->scratch_buffer(coded.size()));
    const Settle settle{*gpu_};
    TRY(gpu_->begin());
    TRY(gpu_->upload(buffer.slice(), coded.size(), [&](std::uint64_t at, std::span<std::byte> to) {
      copy_bytes(to.data(), coded.data() + at, to.size());
    }));
    const GpuSlice x_codes = buffer.slice().part(0, code_bytes),
                   x_sums = buffer.slice().part(sum_at, sum_bytes),
                   x_scales = buffer.slice().part(scale_at, scale_bytes);
    const double row_work = 2.0 * double(tokens) * double(w.cols);
    for (const auto& part : w.parts) {
      const PackedBytes bytes = packed_bytes(f, part.count);
      const auto slice = [](const GpuBuffer& b, std::uint64_t n) {
        return b.slice().part(0, std::min(b.slice().size, aligned(n + 16)));
      };
      const std::int64_t at_once =
          std::min({part.count, most(max_x_bytes) / (tokens * 4),
                    std::max<std::int64_t>(64, std::int64_t(limits.work_per_submission / row_work) /
                                                   64 * 64)});
      for (std::int64_t r = 0; r < part.count; r += at_once) {
        const std::int64_t rows = std::min(at_once, part.count - r);
        if (gpu_->recorded_work() + row_work * double(rows) > limits.work_per_submission &&
            gpu_->recorded_work() > 0) {
          TRY(gpu_->submit());
          TRY(gpu_->begin());
        }
        TRY_ASSIGN(const GpuSlice out,
                   gpu_->output(std::uint64_t(tokens * rows) * 4, false,
                                scatter(y + t0 * w.rows, w.rows, part.first + r, rows, tokens)));
        const GpuSlice slices[] = {slice(part.codes, bytes.codes),
                                   slice(part.scales, bytes.scales),
                                   slice(part.zeros, bytes.zeros),
                                   x_codes,
                                   x_sums,
                                   x_scales,
                                   out};
        const auto u = [](std::int64_t n) { return std::uint32_t(n); };
        const MatmulPush push{u(tokens),   u(r),    u(rows),  u(units), u(w.cols),
                              f.row_words, f.group, f.groups, f.of_row};
        const std::uint32_t tile = tokens <= 16 ? 4 : 64;
        const std::uint32_t constants[] = {f.ftype, f.bits, f.zeros, tile};
        TRY(gpu_->run({limits.packed_dot ? "matmul_int8_dot" : "matmul_int8", constants, slices,
                       push_of(push),
                       std::uint64_t((tokens + tile - 1) / tile * ((rows + 63) / 64)),
                       row_work * double(rows), r > 0 || &part != &w.parts.front()}));
      }
    }
    TRY(gpu_->finish());
  }
  return {};
}

namespace {

Error foreign_matrix() { return {"bad-argument", "This matrix was loaded by another backend", {}}; }

} // namespace

Result<void> VulkanCompute::matmul(const float* x, std::int64_t m, const LoadedMatrix& loaded,
                                   float* y) {
  const auto* w = dynamic_cast<const VulkanMatrix*>(&loaded);
  if (!w)
    return foreign_matrix();
  const auto on_cpu = [&]() -> Result<void> {
    TRY_ASSIGN(const LoadedMatrix* twin, cpu_twin(*w));
    return cpu_->matmul(x, m, *twin, y);
  };
  if (w->parts.empty() || m <= 0)
    return on_cpu();
  return on_device(
      "a matrix product", [&] { return gpu_matmul(x, m, *w, y); }, on_cpu);
}

Result<void> VulkanCompute::matmul_int8(const float* x, std::int64_t m, const LoadedMatrix& loaded,
                                        float* y, float scale) {
  const auto* w = dynamic_cast<const VulkanMatrix*>(&loaded);
  if (!w)
    return foreign_matrix();
  const auto on_cpu = [&]() -> Result<void> {
    TRY_ASSIGN(const LoadedMatrix* twin, cpu_twin(*w));
    return cpu_->matmul_int8(x, m, *twin, y, scale);
  };
  if (w->parts.empty() || m <= 0 || w->view.layout->id != "int")
    return on_cpu();
  return on_device(
      "an integer matrix product", [&] { return gpu_matmul_int8(x, m, *w, y, scale); }, on_cpu);
}

} // namespace bitlathe
