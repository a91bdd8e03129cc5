// SPDX-License-Identifier: GPL-3.0-or-later
// What the Vulkan tests share: matrices, packing by the CPU backend, tolerances, both backends.
#pragma once

#include "kernels/compute/compute.h"
#include "tests/support.h"

#include <QtTest>

#include <algorithm>
#include <cstring>
#include <limits>

namespace bitlathe::test {

struct Floats {
  FloatType type;
  std::int64_t rows, cols;
  std::vector<std::byte> bytes;
  FloatView view() const { return {type, rows, cols, bytes}; }
};

inline Floats floats_of(FloatType type, std::int64_t rows, std::int64_t cols,
                        std::vector<float> values) {
  Floats out{type, rows, cols, std::vector<std::byte>(values.size() * float_size(type))};
  for (std::size_t i = 0; i < values.size(); ++i)
    store_float(type, out.bytes.data(), std::int64_t(i), values[i]);
  return out;
}

/// Weights with a few outliers, zeros, and one row of zeros.
inline Floats weights(FloatType type, std::int64_t rows, std::int64_t cols,
                      std::uint32_t seed = 1) {
  auto v = test::normal_noise(std::size_t(rows * cols), seed, 0.05f);
  for (std::size_t i = 0; i < v.size(); i += 97)
    v[i] *= 20;
  for (std::size_t i = 5; i < v.size(); i += 61)
    v[i] = i % 2 ? 0.0f : -0.0f;
  for (std::int64_t c = 0; rows > 2 && c < cols; ++c)
    v[std::size_t(2 * cols + c)] = 0;
  return floats_of(type, rows, cols, std::move(v));
}

struct Packed {
  IntSpec spec;
  std::vector<IntGrid> grids;
  std::vector<std::byte> codes, scales, zeros;
  MatrixView view;
};

/// Codes by the CPU backend.
inline Packed pack(Compute& cpu, const Floats& w, IntSpec spec) {
  Packed p;
  const std::int64_t groups = (w.cols + spec.group - 1) / spec.group;
  std::vector<float> lo(std::size_t(w.rows * groups)), hi(lo);
  if (!cpu.group_ranges(w.view(), spec.group, lo, hi))
    qFatal("group_ranges");
  if (spec.per_tensor) {
    lo = {*std::min_element(lo.begin(), lo.end())};
    hi = {*std::max_element(hi.begin(), hi.end())};
  }
  p.spec = spec;
  for (std::size_t i = 0; i < lo.size(); ++i)
    p.grids.push_back(make_int_grid(lo[i], hi[i], spec.bits, spec.symmetric, spec.scale_type));
  p.codes.resize(std::size_t(w.rows * int_row_bytes(w.cols, spec.bits)));
  if (!cpu.quantize_int(w.view(), spec, p.grids, p.codes))
    qFatal("quantize_int");
  p.scales.resize(p.grids.size() * float_size(spec.scale_type));
  for (std::size_t i = 0; i < p.grids.size(); ++i) {
    store_float(spec.scale_type, p.scales.data(), std::int64_t(i), p.grids[i].scale);
    if (!spec.symmetric)
      p.zeros.push_back(std::byte(p.grids[i].zero));
  }
  MatrixView& v = p.view;
  v.layout = find_layout("int");
  v.rows = w.rows;
  v.cols = w.cols;
  v.bits = spec.bits;
  v.group = spec.group;
  v.symmetric = spec.symmetric;
  v.per_tensor = spec.per_tensor;
  v.float_type = spec.scale_type;
  v.codes = p.codes;
  v.scales = p.scales;
  v.zeros = p.zeros;
  return p;
}

inline MatrixView float_matrix(const Floats& w) {
  MatrixView v;
  v.layout = find_layout("float");
  v.rows = w.rows;
  v.cols = w.cols;
  v.float_type = w.type;
  v.codes = w.bytes;
  return v;
}

inline std::int64_t block_bytes(const std::string& layout) {
  return layout == "q8_0" ? 34 : layout == "q4_0" ? 18 : 20;
}

inline std::vector<std::byte> blocks_of(Compute& on, const Floats& w, const std::string& layout) {
  std::vector<std::byte> out(std::size_t(w.rows * w.cols / 32 * block_bytes(layout)));
  const auto r = on.quantize_blocks(w.view(), layout, {}, out);
  if (!r)
    qFatal("%s", r.error().text().c_str());
  return out;
}

inline MatrixView block_matrix(const Floats& w, const std::string& layout,
                               const std::vector<std::byte>& blocks) {
  MatrixView v;
  v.layout = find_layout(layout);
  v.rows = w.rows;
  v.cols = w.cols;
  v.codes = blocks;
  return v;
}

/// Sums of f32 powers and products: each term is rounded once or twice to 24 bits, the sum itself
/// is carried in two floats. `scale` is the sum of the magnitudes of the terms.
inline bool sum_close(double got, double want, double scale) {
  return std::fabs(got - want) <= 4e-7 * scale + 1e-300;
}

/// y by the device against f64 sums: f32 accumulation of n products, in any order.
inline bool product_close(std::span<const float> got, std::span<const float> want,
                          std::span<const double> magnitude, std::int64_t n) {
  for (std::size_t i = 0; i < got.size(); ++i)
    if (!(std::fabs(double(got[i]) - want[i]) <=
          2e-7 * std::sqrt(double(n)) * magnitude[i] + 1e-12)) {
      qWarning("product %zu: %.9g, not %.9g (magnitude %g)", i, double(got[i]), double(want[i]),
               magnitude[i]);
      return false;
    }
  return true;
}

class GpuTest : public QObject {
 protected:
  std::unique_ptr<Compute> cpu_, gpu_;

  void start() {
    auto cpu = make_cpu_compute();
    QVERIFY(cpu.ok());
    cpu_ = std::move(*cpu);
    auto gpu = make_vulkan_compute();
    if (!gpu && gpu.error().code == "no-device")
      QSKIP(("no Vulkan device: " + gpu.error().text()).c_str());
    QVERIFY2(gpu.ok(), gpu.ok() ? "" : gpu.error().text().c_str());
    qInfo("Vulkan device: %s", (*gpu)->device().name.c_str());
    for (const auto& [key, value] : (*gpu)->device().properties)
      qInfo("  %s: %s", key.c_str(), value.c_str());
  }
  void open(const VulkanOptions& options) {
    auto made = make_vulkan_compute(options);
    if (!made)
      qFatal("%s", made.error().text().c_str());
    gpu_ = std::move(*made);
  }
  void expect_no_notes() {
    for (const auto& n : gpu_->notes())
      if (n.rfind("BITLATHE_GPU", 0) != 0)
        QFAIL(n.c_str());
  }
  std::string all_notes() const {
    std::string out;
    for (const auto& n : gpu_->notes())
      out += n + "\n";
    return out;
  }
};

} // namespace bitlathe::test
