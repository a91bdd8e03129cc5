// SPDX-License-Identifier: Apache-2.0
// Predictions held against what was measured.
#include "core/eval/attribute_run.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace bitlathe {

namespace {

/// log(measured) - log(raw) per role, by least squares: the mean of what the role's members say,
/// drawn towards that of all where they are few.
class Fit {
 public:
  void add(const std::string& role, double log_ratio) {
    Sum& own = roles_[role];
    own.sum += log_ratio;
    ++own.count;
    all_.sum += log_ratio;
    ++all_.count;
  }
  void take(const std::string& role, double log_ratio) {
    Sum& own = roles_[role];
    own.sum -= log_ratio;
    --own.count;
    all_.sum -= log_ratio;
    --all_.count;
  }
  double scale(const std::string& role) const {
    if (all_.count == 0)
      return 1;
    const double all = all_.sum / double(all_.count);
    const auto it = roles_.find(role);
    const Sum own = it == roles_.end() ? Sum() : it->second;
    return std::exp((own.sum + all) / double(own.count + 1));
  }

 private:
  struct Sum {
    double sum = 0;
    std::int64_t count = 0;
  };
  std::map<std::string, Sum> roles_;
  Sum all_;
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
  Fit fit;
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
    fit.add(entry.role, std::log(entry.measured->kld / entry.predicted->raw));
  }
  std::vector<double> errors, raw_errors, held, raw, measured;
  for (const Known& one : known) {
    const double ratio = std::log(one.measured / one.raw);
    fit.take(one.entry->role, ratio);
    const double predicted = one.raw * fit.scale(one.entry->role);
    fit.add(one.entry->role, ratio);
    errors.push_back(std::abs(predicted - one.measured) / one.measured);
    raw_errors.push_back(std::abs(one.raw - one.measured) / one.measured);
    held.push_back(predicted);
    raw.push_back(one.raw);
    measured.push_back(one.measured);
  }
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
