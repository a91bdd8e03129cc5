// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/evaluate/verdict.h"

#include <cmath>
#include <QCoreApplication>

namespace bitlathe::gui {
namespace {

constexpr double sigmas = 2; ///< about 95 %
constexpr double close_ratio = 0.02, broken_ratio = 1.0;

QString tr(const char* text) { return QCoreApplication::translate("Verdict", text); }

QString percent(double value) {
  return QString::number(100 * value, 'f', std::abs(value) < 0.01 ? 2 : 1);
}

} // namespace

double ratioError(const CompareResult& model, const CompareReport& report) {
  if (model.ppl_ratio_stderr > 0)
    return model.ppl_ratio_stderr;
  if (model.perplexity <= 0 || report.reference_perplexity <= 0)
    return 0;
  return model.ppl_ratio * std::hypot(model.perplexity_stderr / model.perplexity,
                                      report.reference_stderr / report.reference_perplexity);
}

bool klWithinNoise(const CompareResult& model, const CompareReport& report) {
  return model.kld_mean - sigmas * model.kld_stderr <= report.noise_floor;
}

bool pplWithinError(const CompareResult& model, const CompareReport& report) {
  return std::abs(model.ppl_ratio - 1) <= sigmas * ratioError(model, report);
}

Verdict judge(const CompareResult& model, const CompareReport& report) {
  Verdict out;
  if (model.tokens <= 0)
    return out;
  const double change = model.ppl_ratio - 1;
  out.why =
      tr("KL divergence %1 \u00b1 %2 against a noise floor of %3; perplexity ratio %4 \u00b1 %5")
          .arg(model.kld_mean, 0, 'g', 3)
          .arg(model.kld_stderr, 0, 'g', 2)
          .arg(report.noise_floor, 0, 'g', 3)
          .arg(model.ppl_ratio, 0, 'f', 5)
          .arg(ratioError(model, report), 0, 'f', 5);
  if (!std::isfinite(model.perplexity) || !std::isfinite(model.kld_mean)) {
    out.standing = Standing::broken;
    out.text = tr("broken: figures are not finite");
  } else if (klWithinNoise(model, report)) {
    out.standing = Standing::same;
    out.text = tr("not distinguishable from the original");
  } else if (pplWithinError(model, report)) {
    out.standing = Standing::close;
    out.text = tr("perplexity not distinguishable");
  } else if (change < 0) {
    out.standing = Standing::better;
    out.text = tr("%1 % lower perplexity on this text").arg(percent(-change));
  } else {
    out.standing = change >= broken_ratio  ? Standing::broken
                   : change >= close_ratio ? Standing::worse
                                           : Standing::close;
    out.text = tr("%1 % higher perplexity").arg(percent(change));
  }
  return out;
}

} // namespace bitlathe::gui
