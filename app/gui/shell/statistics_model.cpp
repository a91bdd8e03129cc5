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
                          std::shared_ptr<const WeightStatistics> stored,
                          std::shared_ptr<const WeightStatistics> second) {
  beginResetModel();
  original_ = std::move(original);
  stored_ = std::move(stored);
  second_ = std::move(second);
  endResetModel();
}

int StatisticsModel::rowCount(const QModelIndex& parent) const {
  return parent.isValid() || !original_ ? 0 : int(rows.size());
}

int StatisticsModel::columnCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : 2 + (stored_ != nullptr) + (second_ != nullptr);
}

StatisticsModel::Side StatisticsModel::sideOf(int column) const {
  return column < 2 ? Side::original : column == 2 && stored_ ? Side::stored : Side::second;
}

QVariant StatisticsModel::data(const QModelIndex& index, int role) const {
  if (!index.isValid() || index.row() >= int(rows.size()))
    return {};
  const Row& row = rows[std::size_t(index.row())];
  const Side which = sideOf(index.column());
  const auto& side = which == Side::original ? original_
                     : which == Side::stored ? stored_
                                             : second_;
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
  if (section == 0)
    return {};
  const Side side = sideOf(section);
  if (role == Qt::DisplayRole)
    return side == Side::original ? tr("Original")
           : side == Side::stored ? tr("Stored")
                                  : tr("Second");
  if (role == Qt::ForegroundRole)
    return side == Side::original ? theme().original
           : side == Side::stored ? theme().quantized
                                  : theme().second;
  if (role == Qt::ToolTipRole)
    return side == Side::original ? tr("The opened checkpoint")
           : side == Side::stored ? tr("Decoded from the packed codes that get exported")
                                  : tr("The second checkpoint, opened beside it");
  return {};
}

} // namespace bitlathe::gui
