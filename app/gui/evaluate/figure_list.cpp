// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/evaluate/figure_list.h"

#include "app/gui/format.h"
#include "app/gui/theme.h"

#include <cmath>

namespace bitlathe::gui {
namespace {

/// Figures that older sessions do not have are NaN.
QString number(double value) {
  return std::isnan(value) ? QStringLiteral("\u2013") : formatNumber(value, 4);
}
QString withError(double value, double error) {
  return std::isnan(value)   ? QStringLiteral("\u2013")
         : std::isnan(error) ? formatNumber(value, 4)
                             : formatError(value, error);
}
QString percent(double value) {
  return std::isnan(value) ? QStringLiteral("\u2013") : formatPercent(value, 2);
}
QString points(double value) { // of a probability, with its sign
  if (std::isnan(value))
    return QStringLiteral("\u2013");
  QString text = QString::number(100 * value, 'f', 3);
  return (value > 0 ? QStringLiteral("+") + text : text.replace('-', QChar(0x2212))) +
         QStringLiteral(" %");
}

} // namespace

void FigureListModel::set(const CompareReport* report, const QList<Candidate>& candidates) {
  beginResetModel();
  titles_.clear();
  rows_.clear();
  if (report && !candidates.isEmpty()) {
    for (const Candidate& one : candidates)
      titles_.append(one.title);
    const auto row = [&](const QString& name, const QString& tip, auto text) {
      Row made{name, tip, {}};
      for (const Candidate& one : candidates)
        made.values.append(text(*one.figures));
      rows_.append(made);
    };
    using M = CompareResult;
    row(tr("Perplexity"), tr("exp of the mean negative log likelihood, with its standard error"),
        [](const M& m) { return withError(m.perplexity, m.perplexity_stderr); });
    row(tr("\u2026 as a multiple"),
        tr("Of the original's, with the error of the ratio on the same tokens"),
        [](const M& m) { return withError(m.ppl_ratio, m.ppl_ratio_stderr); });
    row(tr("KL(original \u2016 model)"),
        tr("Mean over the tokens, in nats: what the model misses of what the original holds for "
           "likely"),
        [](const M& m) { return withError(m.kld_mean, m.kld_stderr); });
    row(tr("KL(model \u2016 original)"),
        tr("The other direction: what the model holds for likely and the original does not"),
        [](const M& m) { return withError(m.kld_reverse_mean, m.kld_reverse_stderr); });
    row(tr("KL median"), tr("Half of the tokens are below this"),
        [](const M& m) { return number(m.kld_median); });
    row(tr("KL p90"), tr("90 of 100 tokens are below this"),
        [](const M& m) { return number(m.kld_p90); });
    row(tr("KL p99"), tr("99 of 100 tokens are below this"),
        [](const M& m) { return number(m.kld_p99); });
    row(tr("KL largest"), tr("Of a single token"), [](const M& m) { return number(m.kld_max); });
    row(tr("Same first choice"), tr("Share of tokens where the likeliest token is the same"),
        [](const M& m) { return percent(m.top1_agreement); });
    row(tr("Same top five"),
        tr("Mean share of the original's five likeliest tokens that are the model's too"),
        [](const M& m) { return percent(m.top5_agreement); });
    row(tr("Probability drift"),
        tr("Mean change of the probability of the text's own token; below zero the model believes "
           "the text less"),
        [](const M& m) { return points(m.drift_mean); });
    row(tr("\u2026 root mean square"),
        tr("Size of that change whatever its sign: single tokens move by this much"),
        [](const M& m) { return percent(m.drift_rms); });
    row(tr("Tokens scored"), tr("The second half of every window"),
        [](const M& m) { return formatGrouped(m.tokens); });
    row(tr("Noise floor"),
        tr("KL divergence of the original against itself with weights rounded to 16 bits"),
        [report](const M&) { return number(report->noise_floor); });
  }
  endResetModel();
}

int FigureListModel::rowCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : int(rows_.size());
}

int FigureListModel::columnCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : 1 + int(titles_.size());
}

QVariant FigureListModel::data(const QModelIndex& at, int role) const {
  if (!checkIndex(at, CheckIndexOption::IndexIsValid))
    return {};
  const Row& row = rows_[at.row()];
  switch (role) {
  case Qt::DisplayRole:
    return at.column() == 0 ? row.name : row.values.value(at.column() - 1);
  case Qt::ToolTipRole:
    return row.tip;
  case Qt::TextAlignmentRole:
    return int((at.column() == 0 ? Qt::AlignLeft : Qt::AlignRight) | Qt::AlignVCenter);
  case Qt::ForegroundRole:
    return at.column() == 0 ? QVariant(theme().muted) : QVariant();
  case Qt::AccessibleTextRole:
    return at.column() == 0 ? row.name
                            : QStringLiteral("%1, %2: %3")
                                  .arg(titles_.value(at.column() - 1), row.name,
                                       row.values.value(at.column() - 1));
  default:
    return {};
  }
}

QVariant FigureListModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal)
    return {};
  if (role == Qt::DisplayRole)
    return section == 0 ? tr("Figure") : titles_.value(section - 1);
  if (role == Qt::TextAlignmentRole)
    return int((section == 0 ? Qt::AlignLeft : Qt::AlignRight) | Qt::AlignVCenter);
  return {};
}

} // namespace bitlathe::gui
