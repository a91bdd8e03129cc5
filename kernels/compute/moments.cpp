// SPDX-License-Identifier: Apache-2.0
#include "kernels/compute/compute.h"

#include <algorithm>
#include <cmath>

namespace bitlathe {

double Moments::variance() const {
  if (count == 0)
    return 0;
  const double m = mean();
  return std::max(0.0, sum2 / double(count) - m * m);
}

double Moments::stddev() const { return std::sqrt(variance()); }

double Moments::kurtosis() const {
  const double v = variance();
  // Raw power sums lose about 1e-16 * mean^2 to cancellation: below that the variance is noise.
  if (count == 0 || v <= 1e-14 * mean() * mean())
    return 0;
  const double n = double(count), m = mean();
  const double fourth = sum4 / n - 4 * m * sum3 / n + 6 * m * m * sum2 / n - 3 * m * m * m * m;
  return std::max(0.0, fourth) / (v * v);
}

void Moments::add(const Moments& other) {
  if (other.count > 0) {
    min = count ? std::min(min, other.min) : other.min;
    max = count ? std::max(max, other.max) : other.max;
    absmax = std::max(absmax, other.absmax);
  }
  count += other.count;
  nan += other.nan;
  inf += other.inf;
  zeros += other.zeros;
  sum += other.sum;
  sum2 += other.sum2;
  sum3 += other.sum3;
  sum4 += other.sum4;
}

double ErrorSums::sqnr_db() const {
  if (sum_sq_error <= 0)
    return 300;
  if (sum_sq_ref <= 0)
    return -300;
  return std::clamp(10 * std::log10(sum_sq_ref / sum_sq_error), -300.0, 300.0);
}

double ErrorSums::cosine() const {
  if (sum_sq_ref <= 0 || sum_sq_quant <= 0)
    return sum_sq_ref <= 0 && sum_sq_quant <= 0 ? 1 : 0;
  return std::clamp(sum_product / std::sqrt(sum_sq_ref * sum_sq_quant), -1.0, 1.0);
}

void ErrorSums::add(const ErrorSums& other) {
  count += other.count;
  sum_sq_error += other.sum_sq_error;
  sum_sq_ref += other.sum_sq_ref;
  sum_sq_quant += other.sum_sq_quant;
  sum_product += other.sum_product;
  max_abs_error = std::max(max_abs_error, other.max_abs_error);
}

} // namespace bitlathe
