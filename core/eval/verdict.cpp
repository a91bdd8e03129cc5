// SPDX-License-Identifier: Apache-2.0
#include "core/eval/verdict.h"

#include <cmath>
#include <cstdio>

namespace bitlathe {

namespace {

constexpr double sigmas = 2; ///< about 95 %
constexpr double close_ratio = 0.02, broken_ratio = 1.0;

template <class... Values> std::string printed(const char* format, Values... values) {
  char text[256];
  std::snprintf(text, sizeof text, format, values...);
  return text;
}

std::string percent(double value) {
  return printed(std::abs(value) < 0.01 ? "%.2f %%" : "%.1f %%", 100 * value);
}

} // namespace

double ratio_error(const CompareResult& model, const CompareReport& report) {
  if (model.ppl_ratio_stderr > 0)
    return model.ppl_ratio_stderr;
  if (!(model.perplexity > 0) || !(report.reference_perplexity > 0))
    return 0;
  return model.ppl_ratio * std::hypot(model.perplexity_stderr / model.perplexity,
                                      report.reference_stderr / report.reference_perplexity);
}

bool kl_within_noise(const CompareResult& model, const CompareReport& report) {
  return model.kld_mean - sigmas * model.kld_stderr <= report.noise_floor;
}

bool ppl_within_error(const CompareResult& model, const CompareReport& report) {
  return std::abs(model.ppl_ratio - 1) <= sigmas * ratio_error(model, report);
}

Verdict judge(const CompareResult& model, const CompareReport& report) {
  Verdict out;
  if (model.tokens <= 0)
    return out;
  const double change = model.ppl_ratio - 1;
  out.why = printed("KL divergence %.3g \xC2\xB1 %.2g against a noise floor of %.3g; perplexity "
                    "ratio %.5f \xC2\xB1 %.5f",
                    model.kld_mean, model.kld_stderr, report.noise_floor, model.ppl_ratio,
                    ratio_error(model, report));
  if (!std::isfinite(model.perplexity) || !std::isfinite(model.kld_mean)) {
    out.standing = Standing::broken;
    out.text = "broken: figures are not finite";
  } else if (kl_within_noise(model, report)) {
    out.standing = Standing::same;
    out.text = "not distinguishable from the original";
  } else if (ppl_within_error(model, report)) {
    out.standing = Standing::close;
    out.text = "perplexity not distinguishable";
  } else if (change < 0) {
    out.standing = Standing::better;
    out.text = percent(-change) + " lower perplexity on this text";
  } else {
    out.standing = change >= broken_ratio  ? Standing::broken
                   : change >= close_ratio ? Standing::worse
                                           : Standing::close;
    out.text = percent(change) + " higher perplexity";
  }
  return out;
}

} // namespace bitlathe
