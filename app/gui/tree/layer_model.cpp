// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/tree/layer_model.h"

#include "app/gui/format.h"
#include "app/gui/inspect/second_errors.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/delegates.h"

#include <algorithm>
#include <cmath>
#include <QSet>
#include <QSize>

namespace bitlathe::gui {

namespace {

struct Heading {
  const char* title;
  const char* tooltip;
};

Heading heading(TreeColumn column) {
  switch (column) {
  case TreeColumn::name:
    return {"Layer", "Blocks of the model and the modules in them that own weights"};
  case TreeColumn::include:
    return {"Code", "Ticked: this module is quantized; unticked: it keeps its source type"};
  case TreeColumn::shape:
    return {"Shape", "Outputs × inputs of the weight matrix"};
  case TreeColumn::source:
    return {"Stored", "Number type in the opened checkpoint"};
  case TreeColumn::precision:
    return {"Precision", "Scheme that the plan gives: how the values will be stored"};
  case TreeColumn::method:
    return {"Method", "How the codes of the scheme are chosen"};
  case TreeColumn::reason:
    return {"Reason", "Why the plan treats this module so: default, rule, exclusion or fallback"};
  case TreeColumn::size:
    return {"Size", "Bytes in the opened checkpoint"};
  case TreeColumn::planned:
    return {"Planned", "Bytes that the plan predicts; the bar is the share of the source's bytes"};
  case TreeColumn::error:
    return {"Error", "Signal-to-noise ratio of what is stored against the source, in decibels; "
                     "a longer bar is a larger error"};
  case TreeColumn::second:
    return {"Δ SQNR", "Signal-to-noise ratio of the second checkpoint's weight against this one's, "
                      "in decibels; a longer bar is a larger difference. Filled for the layers "
                      "that were looked at, and for all on request (Ctrl+Shift+M)"};
  case TreeColumn::count_:
    break;
  }
  return {"", ""};
}

/// Length of the error bar: 60 dB is nothing to see, 0 dB is as much noise as signal.
double error_bar(double sqnr_db) { return std::clamp((60.0 - sqnr_db) / 60.0, 0.0, 1.0); }

QColor error_color(double sqnr_db) {
  return sqnr_db < 10 ? theme().error : sqnr_db < 16 ? theme().outlier : theme().quantized;
}

} // namespace

LayerModel::LayerModel(Workbench& workbench, QObject* parent)
    : QAbstractItemModel(parent), workbench_(workbench) {
  connect(&workbench, &Workbench::opened, this, &LayerModel::rebuild);
  connect(&workbench, &Workbench::planChanged, this, &LayerModel::refresh);
  connect(&workbench, &Workbench::resultsChanged, this, &LayerModel::refresh);
  connect(&workbench, &Workbench::moduleFinished, this, &LayerModel::refreshUpTo);
  connect(&workbench, &Workbench::quantizeStarted, this, [this] { results_shown_ = 0; });
  connect(&Theme::instance(), &Theme::changed, this, &LayerModel::refresh);
  connect(&SecondErrors::of(workbench), &SecondErrors::changed, this, &LayerModel::refreshSecond);
  rebuild();
}

void LayerModel::rebuild() {
  beginResetModel();
  checkpoint_ = workbench_.checkpoint();
  tops_.clear();
  by_name_.clear();
  const int count = checkpoint_ ? int(checkpoint_->modules.size()) : 0;
  by_name_.reserve(count);
  top_of_.clear();
  QHash<int, int> blocks; // layer -> top row
  for (int i = 0; i < count; ++i) {
    const Module& module = checkpoint_->modules[std::size_t(i)];
    by_name_.insert(QString::fromStdString(module.name), i);
    const bool in_block = grouped_ && module.layer >= 0;
    if (const auto block = in_block ? blocks.constFind(module.layer) : blocks.constEnd();
        block != blocks.constEnd()) {
      tops_[*block].modules.append(i);
      top_of_.append(*block);
      continue;
    }
    if (in_block)
      blocks.insert(module.layer, int(tops_.size()));
    top_of_.append(int(tops_.size()));
    tops_.append(Top{grouped_ ? module.layer : -1, {i}});
  }
  endResetModel();
}

void LayerModel::refresh() {
  if (checkpoint_ != workbench_.checkpoint()) {
    rebuild();
    return;
  }
  if (tops_.isEmpty())
    return;
  Q_EMIT dataChanged(index(0, 0), index(int(tops_.size()) - 1, columnCount() - 1));
  for (int row = 0; row < tops_.size(); ++row)
    if (tops_[row].layer >= 0) {
      const QModelIndex top = index(row, 0);
      Q_EMIT dataChanged(index(0, 0, top),
                         index(int(tops_[row].modules.size()) - 1, columnCount() - 1, top));
    }
}

void LayerModel::refreshUpTo(int result) {
  const int column = int(TreeColumn::error);
  for (; results_shown_ <= result && checkpoint_; ++results_shown_) {
    if (std::size_t(results_shown_) >= checkpoint_->modules.size())
      return;
    const QModelIndex row =
        indexOf(QString::fromStdString(checkpoint_->modules[std::size_t(results_shown_)].name));
    const QModelIndex cell = row.siblingAtColumn(column);
    Q_EMIT dataChanged(cell, cell);
    if (const QModelIndex block = row.parent().siblingAtColumn(column); block.isValid())
      Q_EMIT dataChanged(block, block);
  }
}

void LayerModel::refreshSecond(const QStringList& modules) {
  if (modules.isEmpty() || modules.size() > 64) {
    refresh();
    return;
  }
  for (const auto& name : modules)
    if (const QModelIndex cell = indexOf(name).siblingAtColumn(int(TreeColumn::second));
        cell.isValid()) {
      Q_EMIT dataChanged(cell, cell);
      if (const QModelIndex block = cell.parent().siblingAtColumn(int(TreeColumn::second));
          block.isValid())
        Q_EMIT dataChanged(block, block);
    }
}

QVariant LayerModel::secondData(const QList<int>& modules, int role) const {
  constexpr double unknown = 1000;
  const auto& errors = SecondErrors::of(workbench_);
  double worst = unknown;
  QString reason;
  for (const int i : modules) {
    const auto* error =
        errors.find(QString::fromStdString(checkpoint_->modules[std::size_t(i)].name));
    if (!error)
      continue;
    if (error->reason.isEmpty())
      worst = std::min(worst, error->sqnr_db);
    else if (modules.size() == 1)
      reason = error->reason;
  }
  if (role == sort_role)
    return worst;
  if (!reason.isEmpty())
    return role == Qt::DisplayRole   ? QVariant(QStringLiteral("–"))
           : role == Qt::ToolTipRole ? QVariant(reason)
                                     : QVariant();
  if (worst >= unknown)
    return {};
  constexpr double exact = 300; // no difference at all
  switch (role) {
  case Qt::DisplayRole:
    return worst >= exact ? tr("equal") : QString::number(worst, 'f', 1) + " dB";
  case bar_role:
    return error_bar(worst);
  case bar_color_role:
    return worst < 10 ? theme().error : worst < 16 ? theme().outlier : theme().second;
  case Qt::ToolTipRole:
    if (modules.size() > 1)
      return tr("Worst module of the block, as far as they were measured");
    return errorText(*errors.find(
        QString::fromStdString(checkpoint_->modules[std::size_t(modules.first())].name)));
  default:
    return {};
  }
}

void LayerModel::setGrouped(bool grouped) {
  if (grouped == grouped_)
    return;
  grouped_ = grouped;
  rebuild();
}

// Internal ids: 0 for top rows, 1 + top row for modules of a block.
QModelIndex LayerModel::index(int row, int column, const QModelIndex& parent) const {
  if (row < 0 || column < 0 || column >= columnCount() || row >= rowCount(parent))
    return {};
  return createIndex(row, column, parent.isValid() ? quintptr(parent.row()) + 1 : 0);
}

QModelIndex LayerModel::parent(const QModelIndex& child) const {
  if (!child.isValid() || child.internalId() == 0)
    return {};
  return createIndex(int(child.internalId()) - 1, 0, quintptr(0));
}

int LayerModel::rowCount(const QModelIndex& parent) const {
  if (!parent.isValid())
    return int(tops_.size());
  if (parent.internalId() != 0 || parent.column() != 0)
    return 0;
  const Top& top = tops_[parent.row()];
  return top.layer >= 0 ? int(top.modules.size()) : 0;
}

int LayerModel::columnCount(const QModelIndex&) const { return int(TreeColumn::count_); }

QList<int> LayerModel::moduleIndexes(const QModelIndex& index) const {
  if (!index.isValid())
    return {};
  if (index.internalId() == 0)
    return tops_[index.row()].modules;
  return {tops_[int(index.internalId()) - 1].modules[index.row()]};
}

QStringList LayerModel::modulesOf(const QModelIndex& index) const {
  QStringList names;
  for (const int i : moduleIndexes(index))
    names.append(QString::fromStdString(checkpoint_->modules[std::size_t(i)].name));
  return names;
}

QModelIndex LayerModel::indexOf(const QString& module) const {
  const int i = by_name_.value(module, -1);
  if (i < 0)
    return {};
  const int row = top_of_[i];
  if (tops_[row].layer < 0)
    return index(row, 0);
  const auto& modules = tops_[row].modules; // in model order
  const auto at = std::lower_bound(modules.begin(), modules.end(), i) - modules.begin();
  return index(int(at), 0, index(row, 0));
}

QStringList LayerModel::roles() const {
  QStringList roles;
  QSet<QString> seen;
  if (checkpoint_)
    for (const auto& module : checkpoint_->modules)
      if (const auto role = QString::fromStdString(module.role); !seen.contains(role)) {
        seen.insert(role);
        roles.append(role);
      }
  return roles;
}

const ModuleResult* LayerModel::result(int module) const {
  const auto& results = workbench_.moduleResults();
  // Results come in the order of the modules.
  if (std::size_t(module) >= results.size())
    return nullptr;
  const ModuleResult& found = results[std::size_t(module)];
  return found.name == checkpoint_->modules[std::size_t(module)].name ? &found : nullptr;
}

const PlannedModule* LayerModel::planned(int module) const {
  const Plan* plan = workbench_.plan();
  return plan && std::size_t(module) < plan->modules.size() ? &plan->modules[std::size_t(module)]
                                                            : nullptr;
}

QVariant LayerModel::data(const QModelIndex& index, int role) const {
  if (!index.isValid())
    return {};
  const auto column = TreeColumn(index.column());
  if (role == Qt::SizeHintRole) // rows with room for a chip
    return column == TreeColumn::name ? QSize(60, 21) : QVariant();
  if (role == Qt::TextAlignmentRole)
    return QVariant::fromValue<Qt::Alignment>(
        Qt::AlignVCenter | (column == TreeColumn::size || column == TreeColumn::planned ||
                                    column == TreeColumn::error || column == TreeColumn::second
                                ? Qt::AlignRight
                                : Qt::AlignLeft));
  if (index.internalId() == 0) {
    const Top& top = tops_[index.row()];
    return top.layer >= 0 ? groupData(top, column, role)
                          : moduleData(top.modules.first(), column, role);
  }
  return moduleData(tops_[int(index.internalId()) - 1].modules[index.row()], column, role);
}

QVariant LayerModel::nameData(int i, int role) const {
  const Module& module = checkpoint_->modules[std::size_t(i)];
  const QString full = QString::fromStdString(module.name);
  switch (role) {
  case Qt::DisplayRole: {
    if (!grouped_ || module.layer < 0)
      return full;
    const QString mark = '.' + QString::number(module.layer) + '.';
    const auto at = full.indexOf(mark);
    return at < 0 ? full : full.mid(at + mark.size());
  }
  case Qt::ToolTipRole:
    return tr("%1\n%2, %3")
        .arg(full, QString::fromStdString(module.role), formatShape(module.shape));
  default:
    return {};
  }
}

QVariant LayerModel::moduleData(int i, TreeColumn column, int role) const {
  const Module& module = checkpoint_->modules[std::size_t(i)];
  const PlannedModule* plan = planned(i);
  const ModuleResult* done = result(i);
  if (role == module_role)
    return QString::fromStdString(module.name);
  if (role == role_role)
    return QString::fromStdString(module.role);
  if (role == faded_role)
    return plan && !plan->quantize;
  if (role == Qt::FontRole && column >= TreeColumn::shape)
    return column == TreeColumn::reason ? smallFont() : numberFont();
  if (role == Qt::ForegroundRole && plan && !plan->quantize)
    return theme().muted;
  const bool shown = role == Qt::DisplayRole || role == Qt::EditRole;
  switch (column) {
  case TreeColumn::second:
    return secondData({i}, role);
  case TreeColumn::name:
    return role == sort_role ? QVariant(i) : nameData(i, role);
  case TreeColumn::include:
    if (role == Qt::CheckStateRole && plan)
      return plan->quantize ? Qt::Checked : Qt::Unchecked;
    if (role == sort_role)
      return plan && plan->quantize ? 1 : 0;
    if (role == Qt::ToolTipRole && plan)
      return plan->quantize ? tr("Quantized; untick to keep the source type")
                            : tr("Keeps its type (%1); tick to quantize")
                                  .arg(QString::fromStdString(plan->reason));
    break;
  case TreeColumn::shape:
    if (shown)
      return formatShape(module.shape);
    if (role == sort_role)
      return qint64(module.parameters());
    break;
  case TreeColumn::source:
    if (shown)
      return QString::fromStdString(module.dtype());
    if (role == bits_role || role == sort_role)
      return module.weight.scheme.bits;
    break;
  case TreeColumn::precision:
    if (!plan)
      break;
    if (shown)
      return QString::fromStdString(plan->scheme.id);
    if (role == bits_role || role == sort_role)
      return plan->scheme.bits;
    if (role == Qt::ToolTipRole)
      return tr("%1\n%2").arg(QString::fromStdString(plan->scheme.id),
                              QString::fromStdString(plan->reason));
    break;
  case TreeColumn::method:
    if (plan && (shown || role == sort_role))
      return QString::fromStdString(plan->method);
    break;
  case TreeColumn::reason:
    if (plan && (shown || role == sort_role || role == Qt::ToolTipRole))
      return QString::fromStdString(plan->reason);
    break;
  case TreeColumn::size:
    if (shown)
      return formatBytes(module.bytes());
    if (role == sort_role)
      return qulonglong(module.bytes());
    break;
  case TreeColumn::planned:
    if (!plan)
      break;
    if (shown)
      return formatBytes(plan->bytes_after);
    if (role == sort_role)
      return qulonglong(plan->bytes_after);
    if (role == bar_role)
      return plan->bytes_before ? double(plan->bytes_after) / double(plan->bytes_before) : -1.0;
    if (role == bar_color_role)
      return precisionColor(plan->scheme.bits);
    break;
  case TreeColumn::error:
    if (!done || !done->quantized) {
      if (role == sort_role)
        return 1000.0;
      break;
    }
    if (shown)
      return QString::number(done->sqnr_db, 'f', 1) + " dB";
    if (role == sort_role)
      return done->sqnr_db;
    if (role == bar_role)
      return error_bar(done->sqnr_db);
    if (role == bar_color_role)
      return error_color(done->sqnr_db);
    if (role == Qt::ToolTipRole)
      return tr("SQNR %1 dB, mean squared error %2, cosine %3, largest error %4")
          .arg(QString::number(done->sqnr_db, 'f', 2), formatNumber(done->mse),
               formatNumber(done->cosine, 6), formatNumber(double(done->max_abs_error)));
    break;
  case TreeColumn::count_:
    break;
  }
  return {};
}

QVariant LayerModel::groupData(const Top& top, TreeColumn column, int role) const {
  if (role == Qt::FontRole && column == TreeColumn::name) {
    QFont font;
    font.setWeight(QFont::DemiBold);
    return font;
  }
  if (role == Qt::FontRole && column >= TreeColumn::shape)
    return numberFont();
  if (role == Qt::ForegroundRole && column != TreeColumn::name)
    return theme().muted;
  if (column == TreeColumn::second)
    return secondData(top.modules, role);
  const bool shown = role == Qt::DisplayRole;
  quint64 before = 0, after = 0;
  int chosen = 0;
  double low = 64, high = 0, worst = 1000, first = 0;
  for (const int i : top.modules) {
    before += checkpoint_->modules[std::size_t(i)].bytes();
    if (const auto* plan = planned(i)) {
      after += plan->bytes_after;
      if (plan->quantize) {
        ++chosen;
        low = std::min(low, plan->scheme.bits);
        high = std::max(high, plan->scheme.bits);
      }
    }
    if (const auto* done = result(i); done && done->quantized)
      worst = std::min(worst, done->sqnr_db);
  }
  first = double(top.modules.first());
  switch (column) {
  case TreeColumn::name:
    if (shown)
      return tr("Block %1").arg(top.layer);
    if (role == sort_role)
      return first;
    if (role == Qt::ToolTipRole)
      return tr("Block %1: %n modules", nullptr, int(top.modules.size())).arg(top.layer);
    break;
  case TreeColumn::include:
    if (role == Qt::CheckStateRole)
      return chosen == 0                    ? Qt::Unchecked
             : chosen == top.modules.size() ? Qt::Checked
                                            : Qt::PartiallyChecked;
    if (role == sort_role)
      return chosen;
    break;
  case TreeColumn::precision:
    if (shown && chosen > 0)
      return low == high ? tr("%1 bit").arg(low) : tr("%1 to %2 bit").arg(low).arg(high);
    if (role == sort_role)
      return high;
    break;
  case TreeColumn::size:
    if (shown)
      return formatBytes(before);
    if (role == sort_role)
      return qulonglong(before);
    break;
  case TreeColumn::planned:
    if (shown && after > 0)
      return formatBytes(after);
    if (role == sort_role)
      return qulonglong(after);
    if (role == bar_role)
      return before && after ? double(after) / double(before) : -1.0;
    if (role == bar_color_role)
      return theme().original;
    break;
  case TreeColumn::error:
    if (role == sort_role)
      return worst;
    if (worst >= 1000)
      break;
    if (shown)
      return QString::number(worst, 'f', 1) + " dB";
    if (role == bar_role)
      return error_bar(worst);
    if (role == bar_color_role)
      return error_color(worst);
    if (role == Qt::ToolTipRole)
      return tr("Worst module of the block");
    break;
  default:
    if (role == sort_role)
      return first;
    break;
  }
  return {};
}

QVariant LayerModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal || section < 0 || section >= columnCount())
    return {};
  const Heading h = heading(TreeColumn(section));
  if (role == Qt::DisplayRole)
    return tr(h.title);
  if (role == Qt::ToolTipRole)
    return tr(h.tooltip);
  return {};
}

Qt::ItemFlags LayerModel::flags(const QModelIndex& index) const {
  if (!index.isValid())
    return Qt::NoItemFlags;
  Qt::ItemFlags flags = Qt::ItemIsEnabled | Qt::ItemIsSelectable;
  const auto column = TreeColumn(index.column());
  if (workbench_.plan()) {
    if (column == TreeColumn::include)
      flags |= Qt::ItemIsUserCheckable;
    if (column == TreeColumn::precision || column == TreeColumn::method)
      flags |= Qt::ItemIsEditable;
  }
  if (index.internalId() != 0 || tops_[index.row()].layer < 0)
    flags |= Qt::ItemNeverHasChildren;
  return flags;
}

bool LayerModel::setData(const QModelIndex& index, const QVariant& value, int role) {
  QStringList modules = modulesOf(index);
  if (modules.isEmpty())
    return false;
  if (modules.size() == 1 && workbench_.selection().contains(modules.first()))
    modules = workbench_.selection();
  switch (TreeColumn(index.column())) {
  case TreeColumn::include:
    if (role != Qt::CheckStateRole)
      return false;
    workbench_.setExcluded(modules, value.toInt() == Qt::Unchecked);
    return true;
  case TreeColumn::precision:
  case TreeColumn::method: {
    const QString text = value.toString().trimmed();
    if (role != Qt::EditRole || text.isEmpty() || text == data(index, Qt::EditRole).toString())
      return false;
    const bool scheme = TreeColumn(index.column()) == TreeColumn::precision;
    workbench_.setModules(modules, scheme ? text : QString(), scheme ? QString() : text);
    return true;
  }
  default:
    return false;
  }
}

} // namespace bitlathe::gui
