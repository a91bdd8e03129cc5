// SPDX-License-Identifier: Apache-2.0
#include "core/engine/activity.h"

#include <algorithm>
#include <cstdio>

namespace bitlathe {

namespace {

std::string percent(double share) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2g %%", 100 * share);
  return text;
}

std::string plural(std::uint64_t n, const std::string& what) {
  return std::to_string(n) + " " + what + (n == 1 ? "" : "s");
}

/// "a, b and 3 more", those with the most of it first.
template <class Measure>
std::string worst(const std::vector<ModuleActivity>& modules, Measure measure) {
  constexpr std::size_t shown = 4;
  std::vector<const ModuleActivity*> hit;
  for (const ModuleActivity& module : modules)
    if (measure(module) > 0)
      hit.push_back(&module);
  std::stable_sort(hit.begin(), hit.end(),
                   [&](const auto* a, const auto* b) { return measure(*a) > measure(*b); });
  std::string out;
  for (std::size_t i = 0; i < std::min(shown, hit.size()); ++i)
    out += (i ? ", " : "") + hit[i]->module;
  if (hit.size() > shown)
    out += " and " + std::to_string(hit.size() - shown) + " more";
  return out;
}

} // namespace

std::vector<std::string> EngineActivity::notes() const {
  std::vector<std::string> out;
  ActivationCounts sum;
  std::uint64_t with_threshold = 0;
  double most_outliers = 0;
  for (const ModuleActivity& module : modules) {
    const ActivationCounts& counts = module.counts;
    sum.nan += counts.nan;
    sum.inf += counts.inf;
    sum.broken_tokens += counts.broken_tokens;
    sum.static_values += counts.static_values;
    sum.clipped += counts.clipped;
    sum.columns += counts.columns;
    sum.outlier_columns += counts.outlier_columns;
    sum.f16_overflow += counts.f16_overflow;
    with_threshold += counts.columns > 0;
    most_outliers = std::max(most_outliers, module.outlier_share());
  }
  if (with_threshold > 0)
    out.push_back("LLM.int8(): " + percent(double(sum.outlier_columns) / double(sum.columns)) +
                  " of the input columns of " + plural(with_threshold, "linear") + " stayed f16" +
                  (sum.outlier_columns == 0
                       ? std::string()
                       : "; most " + percent(most_outliers) + ": " +
                             worst(modules, [](const auto& m) { return m.outlier_share(); })));
  if (sum.f16_overflow > 0)
    out.push_back(plural(sum.f16_overflow, "value") +
                  " of outlier columns lay beyond f16 and became its largest: " +
                  worst(modules, [](const auto& m) { return double(m.counts.f16_overflow); }));
  if (sum.clipped > 0)
    out.push_back(std::to_string(sum.clipped) + " of " + std::to_string(sum.static_values) +
                  " activations lay beyond the calibrated range and were clipped: " +
                  worst(modules, [](const auto& m) { return double(m.counts.clipped); }));
  if (sum.broken_tokens > 0)
    out.push_back("Inputs held " + std::to_string(sum.nan) + " NaN and " + std::to_string(sum.inf) +
                  " infinite values: " +
                  worst(modules, [](const auto& m) { return double(m.counts.broken_tokens); }));
  KvCounts kv;
  for (const KvCounts& layer : layers) {
    kv.rows += 2 * layer.rows;
    kv.broken += layer.broken;
    kv.clipped += layer.clipped;
  }
  if (kv.clipped > 0)
    out.push_back(std::to_string(kv.clipped) + " of " + std::to_string(kv.rows) +
                  " keys and values of heads lay beyond what the cache can store and were clipped");
  if (kv.broken > 0)
    out.push_back(std::to_string(kv.broken) + " of " + std::to_string(kv.rows) +
                  " keys and values of heads held NaN or infinite values");
  return out;
}

} // namespace bitlathe
