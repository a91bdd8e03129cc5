// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/shell/statistics_model.h"

#include "app/gui/format.h"
#include "app/gui/theme.h"

#include <array>

namespace bitlathe::gui {

namespace {

struct Row {
  const char *title, *meaning;
  QString (*value)(const WeightStatistics&);
};

constexpr std::array<Row, 12> rows{{
    {"Values", "How many values were counted: all of the tensor",
     [](const WeightStatistics& s) { return formatGrouped(std::int64_t(s.moments.count)); }},
    {"Minimum", "Smallest value",
     [](const WeightStatistics& s) { return formatNumber(double(s.moments.min)); }},
    {"Maximum", "Largest value",
     [](const WeightStatistics& s) { return formatNumber(double(s.moments.max)); }},
    {"Largest |w|", "Largest absolute value: what a symmetric scale must cover",
     [](const WeightStatistics& s) { return formatNumber(double(s.moments.absmax)); }},
    {"Mean", "Average of all values",
     [](const WeightStatistics& s) { return formatNumber(s.moments.mean()); }},
    {"Std deviation", "Typical distance from the mean",
     [](const WeightStatistics& s) { return formatNumber(s.moments.stddev()); }},
    {"Range / std",
     "Largest absolute value in standard deviations: large means that a few "
     "outliers stretch the scale for everyone",
     [](const WeightStatistics& s) {
       const double deviation = s.moments.stddev();
       return deviation > 0 ? formatNumber(double(s.moments.absmax) / deviation, 3)
                            : QStringLiteral("–");
     }},
    {"Kurtosis", "Weight of the tails; a normal distribution has 3",
     [](const WeightStatistics& s) { return formatNumber(s.moments.kurtosis(), 3); }},
    {"Outliers", "Share of values farther than 6 standard deviations from the mean",
     [](const WeightStatistics& s) { return formatPercent(s.outlier_fraction, 3); }},
    {"Zeros", "Values that are exactly zero",
     [](const WeightStatistics& s) { return formatGrouped(std::int64_t(s.moments.zeros)); }},
    {"NaN", "Values that are not numbers; any here makes the module unusable",
     [](const WeightStatistics& s) { return formatGrouped(std::int64_t(s.moments.nan)); }},
    {"Infinite", "Values beyond the number type; any here makes the module unusable",
     [](const WeightStatistics& s) { return formatGrouped(std::int64_t(s.moments.inf)); }},
}};

} // namespace

void StatisticsModel::set(std::shared_ptr<const WeightStatistics> original,
                          std::shared_ptr<const WeightStatistics> stored) {
  beginResetModel();
  original_ = std::move(original);
  stored_ = std::move(stored);
  endResetModel();
}

int StatisticsModel::rowCount(const QModelIndex& parent) const {
  return parent.isValid() || !original_ ? 0 : int(rows.size());
}

int StatisticsModel::columnCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : stored_ ? 3 : 2;
}

QVariant StatisticsModel::data(const QModelIndex& index, int role) const {
  if (!index.isValid() || index.row() >= int(rows.size()))
    return {};
  const Row& row = rows[std::size_t(index.row())];
  const auto& side = index.column() == 2 ? stored_ : original_;
  switch (role) {
  case Qt::DisplayRole:
    return index.column() == 0 ? tr(row.title) : side ? row.value(*side) : QString();
  case Qt::ToolTipRole:
    return tr(row.meaning);
  case Qt::TextAlignmentRole:
    return QVariant::fromValue<Qt::Alignment>(
        Qt::AlignVCenter | (index.column() == 0 ? Qt::AlignLeft : Qt::AlignRight));
  case Qt::FontRole:
    return index.column() == 0 ? smallFont() : numberFont();
  case Qt::ForegroundRole:
    return index.column() == 0 ? theme().muted : theme().text;
  default:
    return {};
  }
}

QVariant StatisticsModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal)
    return {};
  if (role == Qt::DisplayRole)
    return section == 0 ? QString() : section == 1 ? tr("Original") : tr("Stored");
  if (role == Qt::ForegroundRole)
    return section == 2 ? theme().quantized : theme().original;
  if (role == Qt::ToolTipRole)
    return section == 0   ? QString()
           : section == 1 ? tr("The opened checkpoint")
                          : tr("Decoded from the packed codes that get exported");
  return {};
}

} // namespace bitlathe::gui
