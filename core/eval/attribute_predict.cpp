// SPDX-License-Identifier: Apache-2.0
// Predictions held against what was measured.
#include "core/eval/attribute_run.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace bitlathe {

namespace {

/// log(measured / raw) of what was measured, by role.
using Ratios = std::map<std::string, std::vector<double>>;

/// What to multiply a role's predictions with: the mean that least squares gives it, as far as the
/// scatter within roles lets one believe that it differs from the mean of all, and that mean as far
/// as it differs from 1.
class Fit {
 public:
  explicit Fit(const Ratios& ratios) {
    double sum = 0, count = 0;
    for (const auto& [role, values] : ratios) {
      sum += std::accumulate(values.begin(), values.end(), 0.0);
      count += double(values.size());
    }
    if (count == 0)
      return;
    const double all = sum / count;
    double within = 0, free = 0, between = 0, noise = 0, groups = 0;
    for (const auto& [role, values] : ratios) {
      if (values.empty())
        continue;
      const double n = double(values.size());
      const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
      for (const double value : values)
        within += (value - mean) * (value - mean);
      free += n - 1;
      between += (mean - all) * (mean - all);
      noise += 1 / n;
      groups += 1;
    }
    if (free < 1) // one of each role: scatter and differences between roles are the same thing
      within = between, free = std::max(1.0, groups - 1);
    const double scatter = within / free;
    const double spread =
        groups > 1 ? std::max(0.0, between / (groups - 1) - scatter * noise / groups) : 0;
    const double sure = count * all * all + scatter;
    all_ = sure > 0 ? all * (count * all * all) / sure : 0;
    for (const auto& [role, values] : ratios) {
      if (values.empty())
        continue;
      const double n = double(values.size());
      const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
      const double belief = spread > 0 ? spread / (spread + scatter / n) : 0;
      roles_[role] = all_ + belief * (mean - all_);
    }
  }
  double scale(const std::string& role) const {
    const auto it = roles_.find(role);
    return std::exp(it == roles_.end() ? all_ : it->second);
  }

 private:
  std::map<std::string, double> roles_;
  double all_ = 0;
};

/// Ranks from 0; equal values share the mean of theirs.
std::vector<double> ranks(const std::vector<double>& values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t(0));
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  std::vector<double> out(values.size());
  for (std::size_t i = 0; i < order.size();) {
    std::size_t end = i + 1;
    while (end < order.size() && values[order[end]] == values[order[i]])
      ++end;
    for (std::size_t j = i; j < end; ++j)
      out[order[j]] = double(i + end - 1) / 2;
    i = end;
  }
  return out;
}

double rank_correlation(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() < 3)
    return 0;
  const auto x = ranks(a), y = ranks(b);
  const double mean = double(a.size() - 1) / 2;
  double xx = 0, yy = 0, xy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    xx += (x[i] - mean) * (x[i] - mean);
    yy += (y[i] - mean) * (y[i] - mean);
    xy += (x[i] - mean) * (y[i] - mean);
  }
  return xx > 0 && yy > 0 ? xy / std::sqrt(xx * yy) : 0;
}

double quantile(std::vector<double> values, double q) {
  if (values.empty())
    return 0;
  std::sort(values.begin(), values.end());
  const double at = q * double(values.size() - 1);
  const auto low = std::size_t(at);
  const std::size_t high = std::min(low + 1, values.size() - 1);
  return values[low] + (values[high] - values[low]) * (at - double(low));
}

} // namespace

PredictionQuality fit_predictions(const std::vector<PredictedCase>& cases, double floor) {
  PredictionQuality out;
  Ratios ratios;
  struct Known {
    const PredictedCase* entry;
    double raw, measured;
  };
  std::vector<Known> known;
  for (const PredictedCase& entry : cases) {
    if (entry.predicted->samples > 0)
      out.samples = entry.predicted->samples;
    if (!*entry.predicted || !*entry.measured || !(entry.predicted->raw > 0) ||
        !(entry.measured->kld > std::max(floor, 0.0)))
      continue;
    known.push_back({&entry, entry.predicted->raw, entry.measured->kld});
    ratios[entry.role].push_back(std::log(entry.measured->kld / entry.predicted->raw));
  }
  std::vector<double> errors, raw_errors, held, raw, measured;
  for (const Known& one : known) {
    Ratios others = ratios;
    auto& own = others[one.entry->role];
    own.erase(std::find(own.begin(), own.end(), std::log(one.measured / one.raw)));
    const double predicted = one.raw * Fit(others).scale(one.entry->role);
    errors.push_back(std::abs(predicted - one.measured) / one.measured);
    raw_errors.push_back(std::abs(one.raw - one.measured) / one.measured);
    held.push_back(predicted);
    raw.push_back(one.raw);
    measured.push_back(one.measured);
  }
  const Fit fit(ratios);
  for (const PredictedCase& entry : cases) {
    if (!*entry.predicted)
      continue;
    const double scale = fit.scale(entry.role);
    const double relative =
        entry.predicted->raw > 0 ? entry.predicted->kld_stderr / entry.predicted->kld : 0;
    entry.predicted->kld = entry.predicted->raw * scale;
    entry.predicted->kld_stderr = relative * entry.predicted->kld;
    out.scales[entry.role] = scale;
  }
  out.measured = out.held_out = std::int64_t(known.size());
  out.median_error = quantile(errors, 0.5);
  out.p90_error = quantile(errors, 0.9);
  out.raw_median_error = quantile(raw_errors, 0.5);
  out.rank_correlation = rank_correlation(held, measured);
  out.raw_rank_correlation = rank_correlation(raw, measured);
  return out;
}

} // namespace bitlathe
