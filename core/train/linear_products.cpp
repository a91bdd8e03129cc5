// SPDX-License-Identifier: Apache-2.0
#include "core/train/linear_products.h"

#include "kernels/base/parallel.h"
#include "kernels/nn/nn.h"
#include "kernels/nn/products.h"

#include <algorithm>

namespace bitlathe {

namespace {

/// out[cols][rows] of in[rows][cols].
void turn(const float* in, std::int64_t rows, std::int64_t cols, std::vector<float>& out) {
  out.resize(std::size_t(rows * cols));
  constexpr std::int64_t piece = 64; // both sides stay in cache
  parallel_for((cols + piece - 1) / piece, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r0 = 0; r0 < rows; r0 += piece)
      for (std::int64_t c = begin * piece; c < std::min(cols, end * piece); ++c)
        for (std::int64_t r = r0; r < std::min(rows, r0 + piece); ++r)
          out[std::size_t(c * rows + r)] = in[r * cols + c];
  });
}

Result<void> unless_stopped(bool done) { return done ? Result<void>() : cancelled_error(); }

} // namespace

LinearProducts::LinearProducts(Compute* compute)
    : device_(compute && compute->device().backend != "cpu" ? compute : nullptr) {}

Result<void> LinearProducts::forward(const float* x, std::int64_t tokens, const float* w,
                                     std::int64_t rows, std::int64_t cols, float* y,
                                     const Feedback* feedback) {
  if (device_)
    return on_device(x, tokens, w, rows, cols, y, feedback);
  const PackedOperand packed({w, cols, true}, cols, rows);
  return unless_stopped(product({x, cols}, tokens, packed, y, rows, false, feedback));
}

Result<void> LinearProducts::to_input(const float* dy, std::int64_t tokens, const float* w,
                                      std::int64_t rows, std::int64_t cols, float* dx, bool add_to,
                                      const Feedback* feedback) {
  if (!device_) {
    const PackedOperand packed({w, cols}, rows, cols);
    return unless_stopped(product({dy, rows}, tokens, packed, dx, cols, add_to, feedback));
  }
  turn(w, rows, cols, turned_);
  if (!add_to)
    return on_device(dy, tokens, turned_.data(), cols, rows, dx, feedback);
  result_.resize(std::size_t(tokens * cols));
  TRY(on_device(dy, tokens, turned_.data(), cols, rows, result_.data(), feedback));
  add(result_.data(), dx, tokens * cols, dx);
  return {};
}

Result<void> LinearProducts::to_weight(const float* dy, const float* x, std::int64_t tokens,
                                       std::int64_t rows, std::int64_t cols, float* dw,
                                       const Feedback* feedback) {
  if (!device_) {
    const PackedOperand packed({x, cols}, tokens, cols);
    return unless_stopped(product({dy, rows, true}, rows, packed, dw, cols, true, feedback));
  }
  turn(dy, tokens, rows, turned_);
  turn(x, tokens, cols, turned_too_);
  result_.resize(std::size_t(rows * cols));
  TRY(on_device(turned_.data(), rows, turned_too_.data(), cols, tokens, result_.data(), feedback));
  add(result_.data(), dw, rows * cols, dw);
  return {};
}

Result<void> LinearProducts::on_device(const float* a, std::int64_t m, const float* b,
                                       std::int64_t n, std::int64_t k, float* y,
                                       const Feedback* feedback) {
  if (feedback && feedback->stopped())
    return cancelled_error();
  MatrixView view;
  view.layout = find_layout("float");
  view.rows = n;
  view.cols = k;
  view.codes = std::as_bytes(std::span(b, std::size_t(n * k)));
  TRY_ASSIGN(const auto loaded, device_->load(view));
  return device_->matmul(a, m, *loaded, y);
}

} // namespace bitlathe
