// SPDX-License-Identifier: Apache-2.0
// Products of f32 matrices in any orientation, for training: forward, and back to inputs and
// weights. Sums run along k in order, so results do not depend on threads; vector code fuses
// multiply and add.
#pragma once

#include "kernels/base/feedback.h"
#include "kernels/compute/cpu_scratch.h"

#include <cstdint>

namespace bitlathe {

/// Element (i, j) is data[i * stride + j], or data[j * stride + i] when transposed.
struct Operand {
  const float* data = nullptr;
  std::int64_t stride = 0;
  bool transposed = false;
};

/// B[k][n] as the kernels want it.
class PackedOperand {
 public:
  PackedOperand(const Operand& b, std::int64_t k, std::int64_t n);

  std::int64_t k() const { return k_; }
  std::int64_t n() const { return n_; }
  std::int64_t panel_columns() const { return tokens_; }
  std::int64_t panels() const { return (n_ + tokens_ - 1) / tokens_; }
  const float* panel(std::int64_t index) const { return data_.data() + index * k_ * tokens_; }

 private:
  std::int64_t k_, n_, tokens_;
  Scratch<float> data_;
};

/// A part of a product.
struct ProductRange {
  std::int64_t first_k = 0, k = 0;          ///< of both operands' k
  std::int64_t first_panel = 0, panels = 0; ///< columns of B
};

/// C[m][columns of the panels] = (or, with `add`, +=) A[m][k] B on the calling thread. Element
/// (i, j) of C is c[i * stride + j], j = 0 being the first column of B; `a` starts at first_k.
void product_part(const Operand& a, std::int64_t m, const PackedOperand& b,
                  const ProductRange& range, float* c, std::int64_t stride, bool add);

/// C[m][n] = (or +=) A[m][k] B[k][n] on all threads. False when stopped.
bool product(const Operand& a, std::int64_t m, const PackedOperand& b, float* c,
             std::int64_t stride, bool add, const Feedback* feedback = nullptr);

} // namespace bitlathe
