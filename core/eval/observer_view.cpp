// SPDX-License-Identifier: Apache-2.0
#include "core/eval/observer_view.h"

#include "core/eval/weight_stats.h"
#include "core/observers/observer.h"
#include "kernels/quant/dither.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace bitlathe {

namespace {

/// Sums over one row, added up in the order of the rows.
struct RowSums {
  std::int64_t clipped = 0, zeros = 0;
  double error = 0, clipped_error = 0, step2 = 0, peak2 = 0;
};

std::string percent(double share) {
  char text[32];
  std::snprintf(text, sizeof text, share < 0.001 ? "%.3f %%" : "%.1f %%", 100 * share);
  return text;
}

/// Which assumption of the theory fails worst.
std::string remark_on(const ObserverView& view, const Scheme& scheme, double sigma) {
  if (scheme.family->id != "int")
    return "steps of floats grow with the values: the theory of even steps does not apply";
  if (view.theory_mse <= 0)
    return {};
  const double off = 10 * std::log10(std::max(view.mse, 1e-300) / view.theory_mse);
  if (std::fabs(off) < 0.3)
    return {};
  if (off > 0 && view.clipped_error > 0.1)
    return "clipping: " + percent(view.clipped) + " of the values lie outside and bring " +
           percent(view.clipped_error) + " of the error";
  if (view.zeros > 0.05)
    return percent(view.zeros) + " of the values are 0, which every grid holds exactly";
  if (view.step > sigma)
    return "too few levels: a step is " + std::to_string(std::lround(10 * view.step / sigma) / 10) +
           "." + std::to_string(std::lround(10 * view.step / sigma) % 10) +
           " standard deviations, so that errors are not spread evenly over it";
  return off < 0 ? "coarse or unevenly filled steps: most values lie near a code"
                 : "coarse or unevenly filled steps: values gather between codes";
}

Result<ObserverView> view_of(const Observer& observer, const FloatView& w, const Scheme& scheme,
                             std::span<const float> importance, Compute& compute,
                             Feedback& feedback) {
  const Json params = Json::object();
  TRY_ASSIGN(const MethodOutput output,
             find_method("rtn")->quantize({.weight = w,
                                           .scheme = scheme,
                                           .params = params,
                                           .observer = std::string(observer.id),
                                           .importance = importance,
                                           .compute = compute,
                                           .feedback = feedback,
                                           .where = "weight"}));
  const MatrixView q = output.tensor.view();
  const bool integers = q.layout->id == "int";
  const std::int64_t groups = q.groups(), half = integers ? std::int64_t(1) << (q.bits - 1) : 0;
  std::vector<RowSums> rows(static_cast<std::size_t>(w.rows));
  std::vector<float> lows(rows.size()), highs(rows.size());
  TRY(each_row_of(w, &feedback, [&](std::int64_t r, const float* values) {
    std::vector<float> decoded(static_cast<std::size_t>(w.cols));
    q.layout->decode(q, r, 0, w.cols, decoded.data());
    RowSums& sums = rows[std::size_t(r)];
    for (std::int64_t g = 0; g < groups; ++g) {
      const std::int64_t begin = g * q.group, end = std::min(w.cols, begin + q.group);
      // The ends of the codes: of floats of eight bits from the largest, of integers from the grid.
      float lo = 0, hi = 0, scale = 0;
      if (integers) {
        const std::int64_t at = q.per_tensor ? 0 : r * groups + g;
        scale = load_float(q.float_type, q.scales.data(), at);
        const std::int64_t zero = q.symmetric ? half : std::int64_t(q.zeros[std::size_t(at)]);
        lo = scale * float(-zero);
        hi = scale * float(2 * half - 1 - zero);
      } else {
        const std::int64_t at = q.per_tensor ? 0 : r / q.group_rows * groups + g;
        hi = load_float(q.float_type, q.scales.data(), at) *
             (scheme.id.rfind("f8_e4m3", 0) == 0 ? 448.0f : 57344.0f);
        lo = -hi;
      }
      lows[std::size_t(r)] = g == 0 ? lo : std::min(lows[std::size_t(r)], lo);
      highs[std::size_t(r)] = g == 0 ? hi : std::max(highs[std::size_t(r)], hi);
      const double reach = double(std::max(-lo, hi));
      sums.step2 += double(end - begin) * double(scale) * double(scale);
      sums.peak2 += double(end - begin) * reach * reach;
      for (std::int64_t c = begin; c < end; ++c) {
        const double d = double(values[c]) - double(decoded[std::size_t(c)]);
        sums.error += d * d;
        sums.zeros += values[c] == 0;
        if (values[c] < lo - scale / 2 || values[c] > hi + scale / 2) {
          ++sums.clipped;
          sums.clipped_error += d * d;
        }
      }
    }
  }));
  RowSums all;
  for (const RowSums& row : rows) {
    all.clipped += row.clipped;
    all.zeros += row.zeros;
    all.error += row.error;
    all.clipped_error += row.clipped_error;
    all.step2 += row.step2;
    all.peak2 += row.peak2;
  }
  TRY_ASSIGN(const ErrorSums error, compute.error(w, q, &feedback));
  TRY_ASSIGN(const Moments moments, compute.moments(w, &feedback));
  const auto count = double(std::max<std::uint64_t>(1, moments.count));
  const double power = moments.sum2 / count;
  ObserverView view;
  view.observer = observer.id;
  view.lo = *std::min_element(lows.begin(), lows.end());
  view.hi = *std::max_element(highs.begin(), highs.end());
  view.mse = error.mse();
  view.sqnr_db = error.sqnr_db();
  view.clipped = double(all.clipped) / count;
  view.zeros = double(all.zeros) / count;
  view.clipped_error = all.error > 0 ? all.clipped_error / all.error : 0;
  view.step = std::sqrt(all.step2 / count);
  if (integers) {
    view.theory_mse = all.step2 / count / 12;
    if (power > 0)
      view.theory_db = 20 * std::log10(2.0) * scheme.bits + 10 * std::log10(3.0) -
                       10 * std::log10(all.peak2 / count / power);
  }
  // The group that reaches farthest stands for the picture.
  std::size_t widest = 0;
  for (std::size_t r = 0; r < rows.size(); ++r)
    if (std::max(-lows[r], highs[r]) > std::max(-lows[widest], highs[widest]))
      widest = r;
  for (std::int64_t g = 0; g < groups; ++g) {
    auto codes = code_values(output.tensor, std::int64_t(widest), g);
    std::sort(codes.begin(), codes.end());
    if (!codes.empty() && (view.codes.empty() ||
                           codes.back() - codes.front() > view.codes.back() - view.codes.front()))
      view.codes = std::move(codes);
  }
  view.remark = remark_on(view, scheme, std::sqrt(power));
  return view;
}

} // namespace

Result<std::vector<ObserverView>> compare_observers(const FloatView& weight, const Scheme& scheme,
                                                    std::span<const float> importance,
                                                    Compute& compute, Feedback& feedback) {
  if (!scheme.quantized || (scheme.family->id != "int" && scheme.family->id != "f8"))
    return Error{"unsupported",
                 scheme.id + " has scales by a rule of its own; observers choose ranges of integer "
                             "schemes and 8-bit floats",
                 {}};
  std::vector<ObserverView> out;
  for (const Observer* observer : all_observers()) {
    const auto same = std::find_if(out.begin(), out.end(), [&](const ObserverView& v) {
      return !observer->range && !find_observer(v.observer)->range;
    });
    if (same != out.end()) { // the exact extremes, done already
      out.push_back(*same);
      out.back().observer = observer->id;
      continue;
    }
    TRY_ASSIGN(ObserverView view,
               view_of(*observer, weight, scheme, importance, compute, feedback));
    out.push_back(std::move(view));
  }
  return out;
}

} // namespace bitlathe
