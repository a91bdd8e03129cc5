// SPDX-License-Identifier: Apache-2.0
// The three products of a linear in training: forward, back to its input, back to its weight. On
// the CPU, or through Compute on a device.
#pragma once

#include "kernels/compute/compute.h"

#include <vector>

namespace bitlathe {

class LinearProducts {
 public:
  /// `compute` null or the CPU backend: kernels/nn/products.h.
  explicit LinearProducts(Compute* compute);

  /// y[tokens][rows] = x[tokens][cols] W^T, W being [rows][cols].
  Result<void> forward(const float* x, std::int64_t tokens, const float* w, std::int64_t rows,
                       std::int64_t cols, float* y, const Feedback* feedback);
  /// dx[tokens][cols] = (or, with `add`, +=) dy W.
  Result<void> to_input(const float* dy, std::int64_t tokens, const float* w, std::int64_t rows,
                        std::int64_t cols, float* dx, bool add, const Feedback* feedback);
  /// dw[rows][cols] += dy^T x.
  Result<void> to_weight(const float* dy, const float* x, std::int64_t tokens, std::int64_t rows,
                         std::int64_t cols, float* dw, const Feedback* feedback);

 private:
  /// y[m][n] = a[m][k] b[n][k]^T on the device.
  Result<void> on_device(const float* a, std::int64_t m, const float* b, std::int64_t n,
                         std::int64_t k, float* y, const Feedback* feedback);

  Compute* device_ = nullptr; ///< null: the CPU
  std::vector<float> turned_, turned_too_, result_;
};

} // namespace bitlathe
