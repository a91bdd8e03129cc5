// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/inspect/set_differences.h"

#include "app/gui/format.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/delegates.h"

#include <cmath>

namespace bitlathe::gui {

void SetDifferences::set(const std::map<QString, ActivationDifference>& differences) {
  beginResetModel();
  rows_.assign(differences.begin(), differences.end());
  endResetModel();
}

int SetDifferences::rowOf(const QString& name) const {
  for (std::size_t i = 0; i < rows_.size(); ++i)
    if (rows_[i].first == name)
      return int(i);
  return -1;
}

int SetDifferences::rowCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : int(rows_.size());
}

int SetDifferences::columnCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : int(column_count);
}

QVariant SetDifferences::data(const QModelIndex& index, int role) const {
  if (!index.isValid() || index.row() >= rowCount())
    return {};
  const auto& [name, d] = rows_[std::size_t(index.row())];
  if (role == module_role)
    return name;
  if (role == Qt::TextAlignmentRole && index.column() != module)
    return QVariant::fromValue<Qt::Alignment>(Qt::AlignRight | Qt::AlignVCenter);
  const auto figure = [&](double value, const QString& text) {
    return role == sort_role         ? QVariant(value)
           : role == Qt::DisplayRole ? QVariant(text)
                                     : QVariant();
  };
  switch (index.column()) {
  case module:
    if (role == Qt::DisplayRole || role == sort_role || role == Qt::ToolTipRole)
      return name;
    return {};
  case apart:
    if (role == bar_role)
      return d.histogram_distance;
    if (role == bar_color_role)
      return theme().second;
    return figure(d.histogram_distance, formatPercent(d.histogram_distance, 1));
  case moved:
    return figure(d.transport_distance, formatNumber(d.transport_distance, 3));
  case ratio:
    if (role == Qt::ToolTipRole)
      return SetDifferences::tr("Least in channel %1, largest in channel %2")
          .arg(d.ratio_min_channel)
          .arg(d.ratio_max_channel);
    return figure(std::max(d.ratio_max, d.ratio_min > 0 ? 1 / d.ratio_min : INFINITY),
                  QStringLiteral("%1 \u2026 %2 \u2026 %3")
                      .arg(formatNumber(d.ratio_min, 2), formatNumber(d.ratio_median, 3),
                           formatNumber(d.ratio_max, 3)));
  case over_twice:
    return figure(double(d.channels_over_twice),
                  SetDifferences::tr("%1 of %2").arg(d.channels_over_twice).arg(d.channels));
  case absmax:
    return figure(d.absmax[0], formatNumber(d.absmax[0], 3));
  case second_absmax:
    return figure(d.absmax[1], formatNumber(d.absmax[1], 3));
  case mean_square:
    return figure(d.mean_square[1] / d.mean_square[0],
                  formatNumber(d.mean_square[1] / d.mean_square[0], 3));
  case rank:
    return figure(d.rank_correlation, formatNumber(d.rank_correlation, 4));
  default:
    return {};
  }
}

QVariant SetDifferences::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal || section < 0 || section >= column_count)
    return {};
  const struct {
    QString title, tip;
  } columns[] = {
      {tr("Layer"), tr("Whose inputs are compared")},
      {tr("Apart"), tr("Share of the values that lie in other bins of a histogram")},
      {tr("Moved"), tr("How far values must move to turn one distribution into the other, in "
                       "standard deviations of the first")},
      {tr("Channel ratio"), tr("Of the channels' largest magnitudes, second set over first: "
                               "smallest, median, largest")},
      {tr("Over 2\u00d7"), tr("Channels whose largest magnitudes differ by more than a factor 2")},
      {tr("Absmax"), tr("Largest magnitude in the first set")},
      {tr("Second"), tr("Largest magnitude in the second set")},
      {tr("Mean square"), tr("Mean squares, second over first")},
      {tr("Rank"), tr("Rank correlation of the channels' importance: 1 when both sets order them "
                      "alike")}};
  if (role == Qt::DisplayRole)
    return columns[section].title;
  if (role == Qt::ToolTipRole)
    return columns[section].tip;
  if (role == Qt::TextAlignmentRole)
    return QVariant::fromValue<Qt::Alignment>((section == module ? Qt::AlignLeft : Qt::AlignRight) |
                                              Qt::AlignVCenter);
  return {};
}

QString differenceText(const ActivationDifference& d) {
  return SetDifferences::tr(
             "%1 apart \u00b7 moved %2 \u03c3 \u00b7 %3 of %4 over 2\u00d7 \u00b7 max %5 "
             "\u2192 %6")
      .arg(formatPercent(d.histogram_distance, 1), formatNumber(d.transport_distance, 2))
      .arg(d.channels_over_twice)
      .arg(d.channels)
      .arg(formatNumber(d.absmax[0], 3), formatNumber(d.absmax[1], 3));
}

} // namespace bitlathe::gui
