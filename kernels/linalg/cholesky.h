// SPDX-License-Identifier: Apache-2.0
// Dense factorizations in double precision: blocked, parallel, the same numbers at any thread count
// and on every instruction set. Matrices are square, row-major.
#pragma once

#include "kernels/base/feedback.h"

#include <cstdint>
#include <span>

namespace bitlathe {

/// w[rows][n] -= e[rows][k] u[k][n], with the distances between rows; nothing may overlap `w`.
void subtract_product(double* w, std::int64_t w_stride, const double* e, std::int64_t e_stride,
                      const double* u, std::int64_t u_stride, std::int64_t rows, std::int64_t k,
                      std::int64_t n);

enum class Factored { done, not_positive_definite, cancelled };

/// A = L L^T; reads the lower triangle and leaves L there, the upper one is cleared. A pivot that
/// is not positive (or NaN) ends it, with `a` partly overwritten.
Factored cholesky(std::span<double> a, std::int64_t n, const Feedback* feedback = nullptr);

/// The inverse of a lower triangular matrix, in `out` (cleared above the diagonal). False when
/// cancelled.
bool invert_lower(std::span<const double> l, std::int64_t n, std::span<double> out,
                  const Feedback* feedback = nullptr);

/// The upper triangular U with A^-1 = U^T U, as GPTQ needs it, for a symmetric A given by its lower
/// triangle: the Cholesky factor of A read backwards, inverted and read backwards again, which
/// never forms A^-1.
Factored inverse_factor(std::span<const double> a, std::int64_t n, std::span<double> u,
                        const Feedback* feedback = nullptr);

} // namespace bitlathe
