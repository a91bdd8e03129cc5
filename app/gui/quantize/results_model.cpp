// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/quantize/results_model.h"

#include "app/gui/format.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/delegates.h"

#include <algorithm>
#include <cmath>

namespace bitlathe::gui {
namespace {

constexpr double exact_sqnr = 299.5; ///< the core caps at 300 where nothing changed
constexpr double full_bar_sqnr = 60; ///< a bar that is full says "as good as it looks"

} // namespace

ResultsModel::ResultsModel(QObject* parent) : QAbstractTableModel(parent) {}

void ResultsModel::clear() {
  beginResetModel();
  rows_.clear();
  rebuildIndex();
  endResetModel();
}

void ResultsModel::rebuildIndex() {
  index_.clear();
  taken_ = 0;
  stored_ = 0;
  largest_mse_ = largest_seconds_ = 0;
  largest_bytes_ = 0;
  for (int i = 0; i < rows_.size(); ++i) {
    index_.insert(rows_[i].name, i);
    largest_bytes_ = std::max(largest_bytes_, rows_[i].before);
  }
}

void ResultsModel::setPlan(const Plan& plan) {
  beginResetModel();
  rows_.clear();
  rows_.reserve(qsizetype(plan.modules.size()));
  for (const PlannedModule& module : plan.modules) {
    Row row;
    row.name = QString::fromStdString(module.name);
    row.role = QString::fromStdString(module.role);
    row.layer = module.layer;
    row.scheme = QString::fromStdString(module.scheme.id);
    row.method = QString::fromStdString(module.method);
    row.reason = QString::fromStdString(module.reason);
    row.bits = module.scheme.bits;
    row.before = module.bytes_before;
    row.after = module.bytes_after;
    row.state = module.quantize || module.convert ? RowState::waiting : RowState::kept;
    rows_.push_back(row);
  }
  rebuildIndex();
  endResetModel();
}

void ResultsModel::setResults(const std::vector<ModuleResult>& results, const Checkpoint* source) {
  beginResetModel();
  rows_.clear();
  rows_.reserve(qsizetype(results.size()));
  for (const ModuleResult& result : results) {
    Row row;
    row.name = QString::fromStdString(result.name);
    row.before = result.bytes;
    if (const Module* module = source ? source->find_module(result.name) : nullptr) {
      row.role = QString::fromStdString(module->role);
      row.layer = module->layer;
      row.before = module->bytes();
    }
    rows_.push_back(row);
  }
  rebuildIndex();
  for (std::size_t i = 0; i < results.size(); ++i)
    take(rows_[qsizetype(i)], results[i]);
  taken_ = results.size();
  endResetModel();
}

void ResultsModel::take(Row& row, const ModuleResult& result) {
  row.scheme = QString::fromStdString(result.scheme);
  row.method = QString::fromStdString(result.method);
  row.reason = QString::fromStdString(result.reason);
  if (const auto parsed = parse_scheme(result.scheme))
    row.bits = parsed->bits;
  row.after = result.bytes;
  row.mse = result.mse;
  row.sqnr = result.sqnr_db;
  row.cosine = result.cosine;
  row.worst = double(result.max_abs_error);
  row.seconds = result.seconds;
  row.output = result.output_error;
  row.state = result.quantized ? RowState::stored : RowState::kept;
  if (result.quantized)
    ++stored_;
  largest_mse_ = std::max(largest_mse_, row.mse);
  largest_seconds_ = std::max(largest_seconds_, row.seconds);
}

void ResultsModel::update(const std::vector<ModuleResult>& results) {
  if (results.size() < taken_) // a new run began
    taken_ = 0;
  int first = -1, last = -1;
  for (; taken_ < results.size(); ++taken_) {
    const int at = rowOf(QString::fromStdString(results[taken_].name));
    if (at < 0)
      continue;
    take(rows_[at], results[taken_]);
    first = first < 0 ? at : std::min(first, at);
    last = std::max(last, at);
  }
  if (first >= 0) // one signal for the batch
    Q_EMIT dataChanged(index(first, 0), index(last, column_count - 1));
}

int ResultsModel::rowCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : int(rows_.size());
}

int ResultsModel::columnCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : column_count;
}

QVariant ResultsModel::data(const QModelIndex& at, int role) const {
  if (!checkIndex(at, CheckIndexOption::IndexIsValid))
    return {};
  const Row& row = rows_[at.row()];
  switch (role) {
  case Qt::DisplayRole:
    return text(row, at.column());
  case Qt::ToolTipRole:
    return tip(row, at.column());
  case Qt::TextAlignmentRole:
    return at.column() <= method ? int(Qt::AlignLeft | Qt::AlignVCenter)
                                 : int(Qt::AlignRight | Qt::AlignVCenter);
  case Qt::AccessibleTextRole:
    return QStringLiteral("%1: %2").arg(
        headerData(at.column(), Qt::Horizontal, Qt::DisplayRole).toString(),
        text(row, at.column()).toString());
  case sort_role:
    return number(row, at.column());
  case bar_role:
    return bar(row, at.column());
  case bar_color_role:
    if (at.column() == bytes || at.column() == share)
      return precisionColor(row.bits);
    return at.column() == seconds ? theme().muted : theme().quantized;
  case bits_role:
    return at.column() == scheme ? QVariant(row.bits) : QVariant();
  case module_role:
    return row.name;
  case faded_role:
    return row.state != RowState::stored;
  case state_role:
    return int(row.state);
  default:
    return {};
  }
}

QVariant ResultsModel::text(const Row& row, int column) const {
  const bool stored = row.state == RowState::stored;
  const QString none = stored ? QString() : QStringLiteral("\u2013");
  switch (column) {
  case name:
    return row.name;
  case scheme:
    return row.scheme;
  case method:
    return row.state == RowState::kept ? tr("kept") : row.method;
  case bytes:
    return formatBytes(row.after);
  case share:
    return row.before ? formatPercent(double(row.after) / double(row.before)) : QString();
  case sqnr:
    if (!stored)
      return none;
    return row.sqnr >= exact_sqnr ? tr("exact") : QString::number(row.sqnr, 'f', 2);
  case output:
    return stored && row.output >= 0 ? formatNumber(100 * row.output, 3) : none;
  case mse:
    return stored ? formatNumber(row.mse, 3) : none;
  case cosine:
    return stored ? QString::number(row.cosine, 'f', 6) : none;
  case worst:
    return stored ? formatNumber(row.worst, 3) : none;
  case seconds:
    return stored ? QString::number(row.seconds, 'f', row.seconds < 10 ? 3 : 1) : none;
  default:
    return {};
  }
}

QVariant ResultsModel::number(const Row& row, int column) const {
  const bool stored = row.state == RowState::stored;
  switch (column) {
  case name: // natural order: layer, then as in the model
    return rowOf(row.name);
  case scheme:
    return row.bits;
  case method:
    return text(row, column);
  case bytes:
    return row.after;
  case share:
    return row.before ? double(row.after) / double(row.before) : 1.0;
  case sqnr:
    return stored ? row.sqnr : 1e3;
  case output:
    return stored ? row.output : -2.0;
  case mse:
    return stored ? row.mse : -1.0;
  case cosine:
    return stored ? row.cosine : 2.0;
  case worst:
    return stored ? row.worst : -1.0;
  case seconds:
    return stored ? row.seconds : -1.0;
  default:
    return {};
  }
}

QVariant ResultsModel::bar(const Row& row, int column) const {
  switch (column) {
  case bytes:
    return largest_bytes_ ? QVariant(double(row.after) / double(largest_bytes_)) : QVariant();
  case share:
    return row.before ? QVariant(double(row.after) / double(row.before)) : QVariant();
  default:
    break;
  }
  if (row.state != RowState::stored)
    return {};
  switch (column) {
  case sqnr:
    return std::clamp(row.sqnr / full_bar_sqnr, 0.0, 1.0);
  case mse:
    return largest_mse_ > 0 ? QVariant(row.mse / largest_mse_) : QVariant();
  case seconds:
    return largest_seconds_ > 0 ? QVariant(row.seconds / largest_seconds_) : QVariant();
  default:
    return {};
  }
}

QString ResultsModel::tip(const Row& row, int column) const {
  switch (column) {
  case method:
  case scheme:
  case name:
    return row.reason.isEmpty() ? row.name : tr("%1\nWhy: %2").arg(row.name, row.reason);
  case bytes:
    return row.state == RowState::waiting
               ? tr("%L1 bytes are foreseen, %L2 bytes now").arg(row.after).arg(row.before)
               : tr("%L1 bytes stored, %L2 bytes before").arg(row.after).arg(row.before);
  default:
    return headerData(column, Qt::Horizontal, Qt::ToolTipRole).toString();
  }
}

QVariant ResultsModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal || section < 0 || section >= column_count)
    return {};
  struct Head {
    QString title, tip;
  };
  const Head heads[column_count] = {
      {tr("Module"), tr("A named part of the model that owns weights")},
      {tr("Scheme"), tr("How the values are stored: element type, granularity, symmetry")},
      {tr("Method"), tr("How the codes were chosen; \"kept\" means the source's own values")},
      {tr("Bytes"), tr("Codes, scales and zero points of this module")},
      {tr("of source"), tr("Stored bytes as a share of the source's bytes")},
      {tr("SQNR dB"), tr("Signal to quantization noise: 10 log10 of squared weights over squared "
                         "errors. Higher is "
                         "better; 6 dB is about one bit")},
      {tr("Output %"), tr("Share of the module's output that is lost on the calibration text: "
                          "100 ||(W-W')X||\u00b2 / ||WX||\u00b2. What methods that calibrate make "
                          "small, at the price of the figures of the weights")},
      {tr("MSE"), tr("Mean squared error of the stored values against the source's")},
      {tr("Cosine"), tr("Cosine of the angle between stored and source weights; 1 is the same "
                        "direction")},
      {tr("Worst"), tr("Largest absolute error of one weight")},
      {tr("Seconds"), tr("Time this module took, error measurement included")}};
  switch (role) {
  case Qt::DisplayRole:
    return heads[section].title;
  case Qt::ToolTipRole:
    return heads[section].tip;
  case Qt::TextAlignmentRole:
    return section <= method ? int(Qt::AlignLeft | Qt::AlignVCenter)
                             : int(Qt::AlignRight | Qt::AlignVCenter);
  default:
    return {};
  }
}

} // namespace bitlathe::gui
