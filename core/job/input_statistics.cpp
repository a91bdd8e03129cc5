// SPDX-License-Identifier: Apache-2.0
#include "core/job/input_statistics.h"

#include "kernels/base/parallel.h"

#include <algorithm>
#include <cmath>

namespace bitlathe {

std::string_view input_of(std::string_view part) {
  if (part == "q" || part == "k" || part == "v" || part == "qkv")
    return "attention";
  if (part == "gate" || part == "up" || part == "gate_up")
    return "mlp";
  return part;
}

void InputCollector::want(std::string_view part, std::int64_t cols) {
  Found& found = found_[input_of(part)];
  if (found.statistics)
    return;
  found.statistics = std::make_shared<InputStatistics>();
  found.statistics->cols = cols;
  found.statistics->moments.resize(std::size_t(cols * cols));
  found.statistics->absmax.resize(std::size_t(cols));
  found.statistics->abs_sum.resize(std::size_t(cols));
}

void InputCollector::add(const Module& module, const float* x, std::int64_t tokens) {
  const auto it = found_.find(input_of(module.part));
  if (it == found_.end() || !outcome_)
    return;
  if (!it->second.first)
    it->second.first = &module;
  if (it->second.first != &module)
    return;
  ++it->second.samples;
  InputStatistics& s = *it->second.statistics;
  const std::int64_t cols = s.cols;
  assert(module.weight.cols == cols);
  parallel_for(cols, std::max<std::int64_t>(16, 32768 / std::max<std::int64_t>(1, tokens)),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t t = 0; t < tokens; ++t)
                   for (std::int64_t c = begin; c < end; ++c) {
                     const float value = std::fabs(x[t * cols + c]);
                     float& most = s.absmax[std::size_t(c)];
                     most = value > most ? value : most;
                     s.abs_sum[std::size_t(c)] += double(value);
                   }
               });
  for (const double sum : s.abs_sum)
    if (!std::isfinite(sum)) {
      outcome_ = Error{"bad-file",
                       "The input of the module became NaN or infinite in calibration sample " +
                           std::to_string(it->second.samples) + "; the weights may be damaged",
                       module.name};
      return;
    }
  outcome_ = compute_.second_moments(x, tokens, cols, s.moments, &feedback_);
  s.tokens += tokens;
}

std::shared_ptr<InputStatistics> InputCollector::take(std::string_view part) const {
  const auto it = found_.find(input_of(part));
  return it == found_.end() ? nullptr : it->second.statistics;
}

} // namespace bitlathe
