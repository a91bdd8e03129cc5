// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/evaluate/figures_model.h"

#include "app/gui/format.h"
#include "app/gui/widgets/delegates.h"

#include <cmath>

namespace bitlathe::gui {
namespace {

const QString dash = QStringLiteral("\u2013");

} // namespace

QList<FigureRow> figureRows(const QList<FigureSource>& contenders, const CompareReport* report) {
  QList<FigureRow> out;
  std::vector<bool> used(report ? report->models.size() : 0);
  for (qsizetype i = 0; i < contenders.size(); ++i) {
    const FigureSource& from = contenders[i];
    FigureRow row;
    row.title = from.title;
    row.path = from.path;
    row.bytes = from.bytes;
    row.problem = from.problem;
    row.bitsPerWeight =
        from.parameters > 0 ? 8.0 * double(from.bytes) / double(from.parameters) : 0;
    if (report && i == 0 && report->reference_perplexity > 0) {
      row.measured = true;
      row.perplexity = report->reference_perplexity;
      row.perplexityError = report->reference_stderr;
      if (!report->models.empty())
        row.tokens = report->models.front().tokens;
      if (report->reference_seconds > 0)
        row.tokensPerSecond = double(row.tokens) / report->reference_seconds;
    }
    std::size_t at = 0; // candidates are told apart by their paths
    while (at < used.size() &&
           (used[at] || QString::fromStdString(report->models[at].path) != from.path))
      ++at;
    if (i > 0 && at < used.size()) {
      used[at] = true;
      const CompareResult& m = report->models[at];
      if (m.tokens > 0) {
        row.measured = true;
        row.perplexity = m.perplexity;
        row.perplexityError = m.perplexity_stderr;
        row.ratio = m.ppl_ratio;
        row.ratioError = ratio_error(m, *report);
        row.kl = m.kld_mean;
        row.klError = m.kld_stderr;
        row.klP99 = m.kld_p99;
        row.topAgreement = m.top1_agreement;
        row.tokens = m.tokens;
        row.tokensPerSecond = m.seconds > 0 ? double(m.tokens) / m.seconds : 0;
        row.verdict = judge(m, *report);
      }
    }
    out.push_back(row);
  }
  return out;
}

FiguresModel::FiguresModel(QObject* parent) : QAbstractTableModel(parent) {}

void FiguresModel::setRows(const QList<FigureRow>& rows) {
  const bool same =
      rows.size() == rows_.size() && std::equal(rows.begin(), rows.end(), rows_.begin(),
                                                [](const FigureRow& a, const FigureRow& b) {
                                                  return a.path == b.path && a.title == b.title;
                                                });
  if (!same) {
    beginResetModel();
    rows_ = rows;
    endResetModel();
    return;
  }
  rows_ = rows;
  if (!rows_.isEmpty())
    Q_EMIT dataChanged(index(0, 0), index(int(rows_.size()) - 1, column_count - 1));
}

int FiguresModel::rowCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : int(rows_.size());
}

int FiguresModel::columnCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : column_count;
}

QString FiguresModel::text(int at, int column) const {
  const FigureRow& row = rows_[at];
  switch (column) {
  case model:
    return row.title;
  case size:
    return formatBytes(row.bytes);
  case bits:
    return row.bitsPerWeight > 0 ? QString::number(row.bitsPerWeight, 'f', 2) : dash;
  case verdict:
    if (!row.problem.isEmpty())
      return row.problem;
    return at == 0        ? tr("the reference")
           : row.measured ? QString::fromStdString(row.verdict.text)
                          : tr("not measured yet");
  default:
    break;
  }
  if (!row.measured)
    return dash;
  switch (column) {
  case perplexity:
    return formatError(row.perplexity, row.perplexityError);
  case speed:
    return row.tokensPerSecond > 0 ? QString::number(row.tokensPerSecond, 'f', 0) : dash;
  default:
    break;
  }
  if (at == 0)
    return dash;
  switch (column) {
  case ratio:
    return QStringLiteral("\u00d7 ") + formatError(row.ratio, row.ratioError);
  case kl:
    return formatError(row.kl, row.klError);
  case kl_p99:
    return formatNumber(row.klP99, 3);
  case top1:
    return formatPercent(row.topAgreement, 2);
  default:
    return {};
  }
}

QVariant FiguresModel::number(int at, int column) const {
  const FigureRow& row = rows_[at];
  switch (column) {
  case model:
    return at;
  case size:
    return row.bytes;
  case bits:
    return row.bitsPerWeight;
  case perplexity:
    return row.perplexity;
  case ratio:
    return row.ratio;
  case kl:
    return row.kl;
  case kl_p99:
    return row.klP99;
  case top1:
    return row.topAgreement;
  case speed:
    return row.tokensPerSecond;
  default:
    return text(at, column);
  }
}

QVariant FiguresModel::data(const QModelIndex& at, int role) const {
  if (!checkIndex(at, CheckIndexOption::IndexIsValid))
    return {};
  const FigureRow& row = rows_[at.row()];
  switch (role) {
  case Qt::DisplayRole:
    return text(at.row(), at.column());
  case Qt::TextAlignmentRole:
    return at.column() == model || at.column() == verdict ? int(Qt::AlignLeft | Qt::AlignVCenter)
                                                          : int(Qt::AlignRight | Qt::AlignVCenter);
  case Qt::ToolTipRole:
    if (at.column() == model)
      return row.path;
    if (at.column() == verdict && !row.verdict.why.empty())
      return QString::fromStdString(row.verdict.why);
    return headerData(at.column(), Qt::Horizontal, Qt::ToolTipRole);
  case Qt::AccessibleTextRole:
    return QStringLiteral("%1, %2: %3")
        .arg(row.title, headerData(at.column(), Qt::Horizontal, Qt::DisplayRole).toString(),
             text(at.row(), at.column()));
  case sort_role:
    return number(at.row(), at.column());
  case standing_role:
    return int(row.verdict.standing);
  default:
    return {};
  }
}

QVariant FiguresModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal || section < 0 || section >= column_count)
    return {};
  struct Head {
    QString title, tip;
  };
  const Head heads[column_count] = {
      {tr("Model"), tr("The original first, then what is compared with it")},
      {tr("Size"), tr("All tensors of the model as they are stored")},
      {tr("Bits/weight"), tr("8 times the tensor bytes over the parameters, whole model")},
      {tr("Perplexity"), tr("How surprised the model is by the text: exp of the mean negative log "
                            "likelihood, with its "
                            "standard error. Lower is better")},
      {tr("vs original"),
       tr("Perplexity as a multiple of the original's, with the error of that ratio on the same "
          "tokens")},
      {tr("KL divergence"), tr("Mean distance of the predicted distributions from the original's, "
                               "in nats per token, with "
                               "its standard error. 0 is the same model")},
      {tr("KL p99"), tr("99 of 100 tokens have a KL divergence below this")},
      {tr("Top-1"), tr("Share of positions where the likeliest token is the original's")},
      {tr("tok/s"), tr("Tokens scored per second during this measurement")},
      {tr("Verdict"), tr("What the figures and their errors allow to be said")}};
  switch (role) {
  case Qt::DisplayRole:
    return heads[section].title;
  case Qt::ToolTipRole:
    return heads[section].tip;
  case Qt::TextAlignmentRole:
    return section == model || section == verdict ? int(Qt::AlignLeft | Qt::AlignVCenter)
                                                  : int(Qt::AlignRight | Qt::AlignVCenter);
  default:
    return {};
  }
}

} // namespace bitlathe::gui
