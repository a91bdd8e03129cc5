// SPDX-License-Identifier: Apache-2.0
#include "core/observers/observer.h"

#include "kernels/base/parallel.h"
#include "kernels/num/float8.h"
#include "kernels/quant/int_grid.h"
#include "kernels/quant/stored_scale.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace bitlathe {

const Observer* find_observer(std::string_view id) {
  for (const Observer* observer : all_observers())
    if (observer->id == id)
      return observer;
  return nullptr;
}

namespace {

template <class Code>
double summed_error(const Observed& observed, std::size_t begin, std::size_t end, Code code) {
  const auto& each = observed.weights.empty() ? observed.counts : observed.weights;
  double sum = 0;
  for (std::size_t i = begin; i < end; ++i) {
    const double d = double(observed.values[i]) - double(code(observed.values[i]));
    sum += each.empty() ? d * d : each[i] * d * d;
  }
  return sum;
}

double piece_error(const Observed& observed, std::size_t begin, std::size_t end, const Range& range,
                   const ObserverContext& context) {
  using Element = ObserverContext::Element;
  if (context.element == Element::integer) {
    const IntGrid grid =
        make_int_grid(range.lo, range.hi, context.bits, context.symmetric, context.scale_type);
    return summed_error(observed, begin, end, [&](float value) {
      return decode_int(encode_int(value, grid, context.bits), grid);
    });
  }
  const bool e4m3 = context.element == Element::f8_e4m3;
  const float absmax = std::max(std::fabs(range.lo), std::fabs(range.hi));
  const float scale = stored_scale(absmax / (e4m3 ? 448.0f : 57344.0f), context.scale_type);
  return summed_error(observed, begin, end, [&](float value) {
    return e4m3 ? f8_e4m3_to_f32(f32_to_f8_e4m3(value / scale)) * scale
                : f8_e5m2_to_f32(f32_to_f8_e5m2(value / scale)) * scale;
  });
}

} // namespace

double coding_error(const Observed& observed, const Range& range, const ObserverContext& context) {
  constexpr std::size_t piece = 1 << 16;
  const std::size_t n = observed.values.size();
  if (n <= piece)
    return piece_error(observed, 0, n, range, context);
  std::vector<double> sums((n + piece - 1) / piece);
  parallel_for(std::int64_t(sums.size()), 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = std::size_t(begin); i < std::size_t(end); ++i)
      sums[i] = piece_error(observed, i * piece, std::min(n, (i + 1) * piece), range, context);
  });
  double sum = 0; // in the order of the pieces, whatever thread made them
  for (const double part : sums)
    sum += part;
  return sum;
}

} // namespace bitlathe
