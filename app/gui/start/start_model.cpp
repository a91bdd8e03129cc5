// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/start/start_model.h"

#include "app/gui/format.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/delegates.h"

#include <algorithm>
#include <QDateTime>
#include <QDir>
#include <QRegularExpression>

namespace bitlathe::gui {

namespace {

QString text(const std::string& utf8) { return QString::fromStdString(utf8); }

} // namespace

double bitsOfLabel(const QString& label) {
  static const QRegularExpression number(QStringLiteral("\\d+"));
  if (label.startsWith(QStringLiteral("TQ"), Qt::CaseInsensitive))
    return 2; // ternary: the digit is not a number of bits
  const auto match = number.match(label);
  if (!match.hasMatch())
    return -1;
  const int bits = match.captured().toInt();
  return bits >= 1 && bits <= 64 ? double(std::min(bits, 32)) : -1;
}

void StartModel::setModels(std::vector<LocatedModel> models) {
  beginResetModel();
  models_ = std::move(models);
  groups_.clear();
  std::string source;
  for (std::size_t i = 0; i < models_.size(); ++i) {
    if (groups_.isEmpty() || models_[i].source != source) {
      source = models_[i].source;
      const auto title = source_title(source);
      groups_.append({QString::fromUtf8(title.data(), qsizetype(title.size())), int(i), 0});
    }
    ++groups_.last().count;
  }
  endResetModel();
}

// Internal ids: 0 for sources, 1 + row of the source for models.
QModelIndex StartModel::index(int row, int column, const QModelIndex& parent) const {
  if (row < 0 || column < 0 || column >= columnCount() || row >= rowCount(parent))
    return {};
  return createIndex(row, column, parent.isValid() ? quintptr(parent.row()) + 1 : 0);
}

QModelIndex StartModel::parent(const QModelIndex& child) const {
  if (!child.isValid() || child.internalId() == 0)
    return {};
  return createIndex(int(child.internalId()) - 1, 0, quintptr(0));
}

int StartModel::rowCount(const QModelIndex& parent) const {
  if (!parent.isValid())
    return int(groups_.size());
  return parent.internalId() == 0 && parent.column() == 0 ? groups_[parent.row()].count : 0;
}

int StartModel::columnCount(const QModelIndex&) const { return int(StartColumn::count_); }

const LocatedModel* StartModel::modelAt(const QModelIndex& index) const {
  if (!index.isValid() || index.internalId() == 0)
    return nullptr;
  return &models_[std::size_t(groups_[int(index.internalId()) - 1].first + index.row())];
}

QVariant StartModel::data(const QModelIndex& index, int role) const {
  if (!index.isValid())
    return {};
  if (role == Qt::SizeHintRole && index.column() == 0)
    return QSize(60, 24);
  if (const auto* model = modelAt(index))
    return modelData(*model, StartColumn(index.column()), role);
  const Group& group = groups_[index.row()];
  if (role == Qt::DisplayRole && index.column() == 0)
    return tr("%1 (%2)").arg(group.title).arg(group.count);
  if (role == Qt::ForegroundRole)
    return theme().muted;
  if (role == sort_role)
    return index.row();
  return {};
}

QVariant StartModel::modelData(const LocatedModel& model, StartColumn column, int role) const {
  if (role == Qt::ToolTipRole)
    return model.problem.empty() ? QDir::toNativeSeparators(text(model.path.string()))
                                 : tr("%1\n%2").arg(text(model.problem), text(model.path.string()));
  if (role == Qt::ForegroundRole)
    return model.problem.empty() && column != StartColumn::where ? theme().text : theme().muted;
  if (role == faded_role)
    return !model.problem.empty();
  if (role == Qt::TextAlignmentRole)
    return QVariant::fromValue<Qt::Alignment>(
        Qt::AlignVCenter | (column == StartColumn::size ? Qt::AlignRight : Qt::AlignLeft));
  if (role == Qt::AccessibleTextRole && column == StartColumn::name)
    return tr("%1, %2, %3").arg(text(model.name), text(model.quant), formatBytes(model.bytes));
  const bool shown = role == Qt::DisplayRole, sorted = role == sort_role;
  switch (column) {
  case StartColumn::name:
    if (shown || sorted)
      return text(model.name);
    break;
  case StartColumn::format:
    if (shown || sorted)
      return text(model.format);
    break;
  case StartColumn::quant:
    if (shown || sorted)
      return text(model.quant);
    if (role == bits_role)
      return bitsOfLabel(text(model.quant));
    break;
  case StartColumn::size:
    if (shown)
      return model.bytes > 0 ? formatBytes(model.bytes) : QString();
    if (sorted)
      return qulonglong(model.bytes);
    if (role == Qt::FontRole)
      return numberFont();
    break;
  case StartColumn::modified:
    if (shown)
      return model.modified > 0 ? QDateTime::fromSecsSinceEpoch(model.modified)
                                      .toString(QStringLiteral("yyyy-MM-dd"))
                                : QString();
    if (sorted)
      return qlonglong(model.modified);
    if (role == Qt::FontRole)
      return numberFont();
    break;
  case StartColumn::where:
    if (shown || sorted)
      return model.problem.empty() ? QDir::toNativeSeparators(text(model.path.string()))
                                   : text(model.problem);
    if (role == Qt::FontRole)
      return smallFont();
    break;
  default:
    break;
  }
  return {};
}

QVariant StartModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal)
    return {};
  static constexpr const char* titles[] = {"Model", "Format", "Type", "Size", "Changed", "Where"};
  static constexpr const char* tips[] = {
      "Name of the model where it was found",
      "How the files are laid out",
      "Number type or quantization, as far as the files' headers tell",
      "Bytes of the weights",
      "When the files were last changed",
      "The path that is opened, or why it cannot be"};
  if (section < 0 || section >= int(StartColumn::count_))
    return {};
  return role == Qt::DisplayRole   ? tr(titles[section])
         : role == Qt::ToolTipRole ? tr(tips[section])
                                   : QVariant();
}

Qt::ItemFlags StartModel::flags(const QModelIndex& index) const {
  if (!index.isValid())
    return Qt::NoItemFlags;
  return modelAt(index) ? Qt::ItemIsEnabled | Qt::ItemIsSelectable | Qt::ItemNeverHasChildren
                        : Qt::ItemFlags(Qt::ItemIsEnabled);
}

void StartFilter::setSearch(const QString& text) {
  words_ = text.toLower().split(' ', Qt::SkipEmptyParts);
  invalidateFilter();
}

bool StartFilter::filterAcceptsRow(int row, const QModelIndex& parent) const {
  if (!parent.isValid())
    return words_.isEmpty(); // a source stays while one of its models does
  QString all = parent.data().toString();
  for (int column = 0; column < int(StartColumn::count_); ++column)
    all += ' ' + sourceModel()->index(row, column, parent).data().toString();
  all = all.toLower();
  return std::all_of(words_.begin(), words_.end(),
                     [&](const QString& word) { return all.contains(word); });
}

bool StartFilter::lessThan(const QModelIndex& left, const QModelIndex& right) const {
  const QVariant a = left.data(sort_role), b = right.data(sort_role);
  if (!left.parent().isValid()) // sources keep their order
    return sortOrder() == Qt::AscendingOrder ? left.row() < right.row() : left.row() > right.row();
  if (a.typeId() == QMetaType::QString)
    return QString::localeAwareCompare(a.toString(), b.toString()) < 0;
  return a.toDouble() < b.toDouble();
}

} // namespace bitlathe::gui
