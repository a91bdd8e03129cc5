// SPDX-License-Identifier: Apache-2.0
// The one interface to arithmetic on tensors. Two backends implement it: the CPU (oneTBB, one
// source per kernel compiled for several instruction sets) and Vulkan. Codes are identical on both;
// float results agree within the tolerances written in tests.
//
// Every call is synchronous and may be made from one thread at a time per Compute object. All
// functions check feedback->stop where they can run long and return Error "cancelled".
#pragma once

#include "kernels/base/feedback.h"
#include "kernels/base/result.h"
#include "kernels/matrix.h"
#include "kernels/quant/int_grid.h"

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace bitlathe {

struct DeviceInfo {
  std::string name;    ///< "AMD EPYC 9654 (avx512vnni)", "NVIDIA H200"
  std::string backend; ///< "cpu" or "vulkan"
  std::string type;    ///< "cpu", "discrete", "integrated", "virtual", "other"
  std::uint64_t memory_bytes = 0;
  bool is_default = false;
  std::vector<std::pair<std::string, std::string>> properties; ///< limits and features, for people
};

/// Exact whole-matrix statistics, accumulated in f64 in a fixed order (per row, then over rows), so
/// that they do not depend on threads. NaN and infinities are counted and left out of everything
/// else.
struct Moments {
  std::uint64_t count = 0, nan = 0, inf = 0, zeros = 0;
  float min = 0, max = 0, absmax = 0;
  double sum = 0, sum2 = 0, sum3 = 0, sum4 = 0; ///< raw power sums

  double mean() const { return count ? sum / double(count) : 0; }
  double variance() const;
  double stddev() const;
  double kurtosis() const; ///< excess is kurtosis() - 3; 0 when the variance is 0
  void add(const Moments& other);
};

/// Sums over a pair (original w, quantized v) of matrices.
struct ErrorSums {
  std::uint64_t count = 0;
  double sum_sq_error = 0, sum_sq_ref = 0, sum_sq_quant = 0, sum_product = 0;
  float max_abs_error = 0;
  double mse() const { return count ? sum_sq_error / double(count) : 0; }
  double sqnr_db() const; ///< 10 log10(sum w^2 / sum (w - v)^2); capped at 300 when exact
  double cosine() const;
  void add(const ErrorSums& other);
};

/// How a matrix is to be coded on an integer grid (see int_grid.h and MatrixView, layout "int").
struct IntSpec {
  int bits = 4;
  std::int64_t group = 128; ///< columns per group; cols for per-channel and per-tensor
  bool symmetric = false;
  bool per_tensor = false;
  FloatType scale_type = FloatType::f16;
};

/// A packed weight matrix made ready for products on one backend (uploaded, or repacked).
class LoadedMatrix {
 public:
  virtual ~LoadedMatrix() = default;
  std::int64_t rows = 0, cols = 0;
  std::uint64_t bytes =
      0; ///< memory this object holds by itself (0 when it refers to the caller's)
};

class Compute {
 public:
  virtual ~Compute() = default;
  virtual const DeviceInfo& device() const = 0;
  /// Lines for people about things that went another way than asked (a lost device, a CPU redo).
  virtual std::vector<std::string> notes() const { return {}; }

  virtual Result<Moments> moments(const FloatView& w, const Feedback* feedback = nullptr) = 0;
  /// Per-row moments (row = output channel), same rules; out.size() == w.rows.
  virtual Result<void> row_moments(const FloatView& w, std::span<Moments> out,
                                   const Feedback* feedback = nullptr) = 0;
  /// counts[i] += number of values in [lo + i*width, lo + (i+1)*width); the last bin includes hi.
  /// Values outside [lo, hi], NaN and infinities are not counted. Bin index = clamp(floor((x - lo)
  /// * inv), ..) in f32 with inv = f32(bins / (hi - lo)), the same on every backend.
  virtual Result<void> histogram(const FloatView& w, float lo, float hi,
                                 std::span<std::uint64_t> counts,
                                 const Feedback* feedback = nullptr) = 0;
  /// Exact minimum and maximum of every group: [rows][ceil(cols/group)]. NaN in a group gives NaN.
  virtual Result<void> group_ranges(const FloatView& w, std::int64_t group, std::span<float> lo,
                                    std::span<float> hi, const Feedback* feedback = nullptr) = 0;
  /// Codes of all values on the given grids ([rows][groups], or one when per_tensor), as the
  /// bitstream of layout "int": codes.size() == rows * int_row_bytes(cols, bits).
  virtual Result<void> quantize_int(const FloatView& w, const IntSpec& spec,
                                    std::span<const IntGrid> grids, std::span<std::byte> codes,
                                    const Feedback* feedback = nullptr) = 0;
  /// For every group and every candidate k: sum of (optionally weighted by column) squared errors
  /// when coded on candidates[k][group]; f64 sums in column order. `column_weight` is empty or has
  /// cols entries. out[k * n_groups + g]. Used by clip search.
  virtual Result<void> int_errors(const FloatView& w, const IntSpec& spec,
                                  std::span<const std::vector<IntGrid>> candidates,
                                  std::span<const float> column_weight, std::span<double> out,
                                  const Feedback* feedback = nullptr) = 0;
  /// GGUF blocks from floats by the reference's rules (byte-identical); layout id "q8_0", "q4_0",
  /// "q4_1". `importance` is empty or has cols entries (imatrix).
  virtual Result<void> quantize_blocks(const FloatView& w, std::string_view layout,
                                       std::span<const float> importance,
                                       std::span<std::byte> blocks,
                                       const Feedback* feedback = nullptr) = 0;
  /// f32 values of rows [first_row, first_row + n_rows).
  virtual Result<void> decode(const MatrixView& q, std::int64_t first_row, std::int64_t n_rows,
                              std::span<float> out, const Feedback* feedback = nullptr) = 0;
  virtual Result<ErrorSums> error(const FloatView& w, const MatrixView& q,
                                  const Feedback* feedback = nullptr) = 0;
  /// Σ w², Σ v², Σ (w-v)² and so on per row, for per-channel pictures; out.size() == rows.
  virtual Result<void> row_errors(const FloatView& w, const MatrixView& q, std::span<ErrorSums> out,
                                  const Feedback* feedback = nullptr) = 0;

  /// Makes a matrix ready for matmul; `w` must outlive the result.
  virtual Result<std::unique_ptr<LoadedMatrix>> load(const MatrixView& w) = 0;
  /// y[m][rows] = x[m][cols] * W^T. f32 accumulation.
  virtual Result<void> matmul(const float* x, std::int64_t m, const LoadedMatrix& w, float* y) = 0;
  /// The same with x quantized per token to int8 first (symmetric, absmax / 127, s = 1 for a zero
  /// token) and exact int8 x integer-code products per group, zero points corrected by per-group
  /// sums of the activation codes taken once per token. Needs an "int" layout.
  /// With a static `scale` (not 0), x is coded as clamp(rne(x * f32(1 / scale)), -128, 127).
  virtual Result<void> matmul_int8(const float* x, std::int64_t m, const LoadedMatrix& w, float* y,
                                   float scale = 0) = 0;

  /// h[cols][cols] += x^T x of x[m][cols], lower triangle: f32 sums over chunks of 256 rows, added
  /// up in f64 in the order of the chunks. The CPU's figures are the same at any thread count.
  virtual Result<void> second_moments(const float* x, std::int64_t m, std::int64_t cols,
                                      std::span<double> h, const Feedback* feedback = nullptr);
};

/// Whether quantize_blocks makes blocks of a layout. All layouts can be decoded.
bool has_block_encoder(std::string_view layout);

/// Bytes of one row of codes in layout "int": whole 32-bit words.
constexpr std::int64_t int_row_bytes(std::int64_t cols, int bits) {
  return (cols * bits + 31) / 32 * 4;
}

/// The CPU backend; always works. Instruction set: best supported, or BITLATHE_ISA (error if
/// impossible).
Result<std::unique_ptr<Compute>> make_cpu_compute();
struct VulkanOptions {
  std::string device;           ///< index or part of a name; empty: BITLATHE_GPU, else the best
  std::uint64_t memory_cap = 0; ///< bytes, 0 = what the device offers
  bool force_staging = false;   ///< test switch: copy through staging even on unified memory
  std::uint64_t max_range = 0;  ///< test switch: pretend maxStorageBufferRange is this small
  bool plain = false;           ///< test switch: use no optional feature of the device
  std::string cache_dir;        ///< pipeline cache; empty: none
  std::uint64_t lose_after =
      0; ///< test switch: report device loss after this many submissions, 0 = never
};
/// Vulkan; on device loss every later call is done on the CPU, with a note. Error "no-device" if
/// none.
Result<std::unique_ptr<Compute>> make_vulkan_compute(const VulkanOptions& options = {});
/// "auto": Vulkan when a device that is not a CPU exists, else CPU. "cpu", "vulkan".
Result<std::unique_ptr<Compute>> make_compute(std::string_view backend,
                                              const VulkanOptions& options = {});
/// All devices, CPU first.
std::vector<DeviceInfo> list_devices();

} // namespace bitlathe
