// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/evaluate/variants_model.h"

#include "app/gui/format.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/delegates.h"

#include <QDateTime>
#include <QFont>
#include <QLocale>

namespace bitlathe::gui {
namespace {

const QString dash = QStringLiteral("\u2013");

QDateTime moment(const SessionVariant& variant) {
  return QDateTime::fromString(QString::fromStdString(variant.made), Qt::ISODate);
}

} // namespace

VariantsModel::VariantsModel(const Workbench& workbench, QObject* parent)
    : QAbstractTableModel(parent), workbench_(workbench) {
  refresh();
}

void VariantsModel::refresh() {
  const auto& now = workbench_.variants();
  const bool same = now.size() == shown_.size();
  if (!same)
    beginResetModel();
  shown_ = now;
  kept_.clear();
  for (int i = 0; i < int(shown_.size()); ++i)
    kept_.push_back(workbench_.variantKept(i));
  current_ = workbench_.currentVariant();
  on_ = workbench_.judgedOn().toStdString();
  if (!same)
    endResetModel();
  else if (!shown_.empty())
    Q_EMIT dataChanged(index(0, 0), index(int(shown_.size()) - 1, column_count - 1));
}

int VariantsModel::rowCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : int(shown_.size());
}

int VariantsModel::columnCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : column_count;
}

QString VariantsModel::text(const SessionVariant& variant, int row, int column) const {
  switch (column) {
  case title:
    return QString::fromStdString(variant.title);
  case size:
    return variant.bytes > 0 ? formatBytes(variant.bytes) : dash;
  case bits:
    return variant.bits_per_weight > 0 ? QString::number(variant.bits_per_weight, 'f', 2) : dash;
  case made: {
    const QDateTime at = moment(variant);
    const QDateTime local = at.toLocalTime();
    return !at.isValid() ? dash
           : local.date() == QDate::currentDate()
               ? local.toString(QStringLiteral("hh:mm"))
               : QLocale().toString(local, QStringLiteral("d MMM hh:mm"));
  }
  case result:
    return row == current_           ? tr("current")
           : kept_[std::size_t(row)] ? tr("kept")
           : variant.baseline        ? tr("baseline")
                                     : tr("cleaned up");
  default:
    break;
  }
  if (!variant.figures)
    return column == measured ? tr("not yet") : dash;
  const CompareResult& m = *variant.figures;
  switch (column) {
  case perplexity:
    return formatError(m.perplexity, m.perplexity_stderr);
  case kl:
    return formatError(m.kld_mean, m.kld_stderr);
  case top1:
    return formatPercent(m.top1_agreement, 2);
  case measured:
    return variant.judged_on == on_ ? tr("this text") : tr("another text");
  default:
    return {};
  }
}

QVariant VariantsModel::number(const SessionVariant& variant, int row, int column) const {
  switch (column) {
  case size:
    return quint64(variant.bytes);
  case bits:
    return variant.bits_per_weight;
  case perplexity:
    return variant.figures ? variant.figures->perplexity : 1e300;
  case kl:
    return variant.figures ? variant.figures->kld_mean : 1e300;
  case top1:
    return variant.figures ? variant.figures->top1_agreement : -1.0;
  case made:
    return moment(variant);
  default:
    return text(variant, row, column);
  }
}

QVariant VariantsModel::data(const QModelIndex& at, int role) const {
  if (!checkIndex(at, CheckIndexOption::IndexIsValid))
    return {};
  const SessionVariant& variant = shown_[std::size_t(at.row())];
  const bool words = at.column() == title || at.column() == measured || at.column() == made ||
                     at.column() == result;
  switch (role) {
  case Qt::DisplayRole:
    return text(variant, at.row(), at.column());
  case Qt::EditRole:
    return at.column() == title ? QVariant(QString::fromStdString(variant.title)) : QVariant();
  case Qt::TextAlignmentRole:
    return int((words ? Qt::AlignLeft : Qt::AlignRight) | Qt::AlignVCenter);
  case Qt::ForegroundRole:
    if (variant.baseline || (at.column() == result && !kept_[std::size_t(at.row())]))
      return theme().muted;
    return {};
  case Qt::FontRole:
    if (at.row() == current_ && at.column() == title) {
      QFont font = numberFont();
      font.setBold(true);
      return font;
    }
    return {};
  case Qt::ToolTipRole:
    if (at.column() == result)
      return variant.result.empty() ? tr("No result is kept: quantize its recipe again to get one")
                                    : QString::fromStdString(variant.result);
    if (at.column() == title || at.column() == made)
      return QStringLiteral("%1\n%2").arg(QString::fromStdString(variant.title),
                                          QLocale().toString(moment(variant).toLocalTime()));
    if (at.column() == measured && variant.figures)
      return tr("%1\nNoise floor: KL %2")
          .arg(QString::fromStdString(variant.judged_on), formatNumber(variant.noise_floor, 3));
    return headerData(at.column(), Qt::Horizontal, Qt::ToolTipRole);
  case Qt::AccessibleTextRole:
    return QStringLiteral("%1, %2: %3")
        .arg(QString::fromStdString(variant.title),
             headerData(at.column(), Qt::Horizontal, Qt::DisplayRole).toString(),
             text(variant, at.row(), at.column()));
  case sort_role:
    return number(variant, at.row(), at.column());
  default:
    return {};
  }
}

QVariant VariantsModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal || section < 0 || section >= column_count)
    return {};
  struct Head {
    QString title, tip;
  };
  const Head heads[column_count] = {
      {tr("Variant"), tr("A finished quantization of this session, named after its recipe")},
      {tr("Size"), tr("All tensors of the model as they are stored")},
      {tr("Bits/weight"), tr("8 times the tensor bytes over the parameters, whole model")},
      {tr("Perplexity"), tr("On the text named here, with its standard error. Lower is better")},
      {tr("KL divergence"), tr("Mean distance from the original's distributions, in nats per "
                               "token, with its standard error")},
      {tr("Top-1"), tr("Share of positions where the likeliest token is the original's")},
      {tr("Measured on"), tr("Figures of different texts cannot be compared")},
      {tr("Made"), tr("When it was quantized")},
      {tr("Result"), tr("Whether its tensors are kept on disk")}};
  switch (role) {
  case Qt::DisplayRole:
    return heads[section].title;
  case Qt::ToolTipRole:
    return heads[section].tip;
  case Qt::TextAlignmentRole:
    return section == title || section >= measured ? int(Qt::AlignLeft | Qt::AlignVCenter)
                                                   : int(Qt::AlignRight | Qt::AlignVCenter);
  default:
    return {};
  }
}

} // namespace bitlathe::gui
