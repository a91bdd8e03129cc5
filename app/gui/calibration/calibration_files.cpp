// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/calibration/calibration_files.h"

#include "app/gui/calibration/drawn_set.h"
#include "app/gui/format.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/delegates.h"

#include <algorithm>
#include <QDir>
#include <QFileInfo>

namespace bitlathe::gui {

CalibrationFiles::CalibrationFiles(Workbench& workbench, QObject* parent)
    : QAbstractTableModel(parent), workbench_(workbench) {
  connect(&workbench, &Workbench::recipeChanged, this, &CalibrationFiles::refresh);
  connect(&workbench, &Workbench::opened, this, &CalibrationFiles::refresh);
  connect(&DrawnSet::of(workbench), &DrawnSet::changed, this, [this] {
    if (rowCount() > 0)
      Q_EMIT dataChanged(index(0, 0), index(rowCount() - 1, column_count - 1));
  });
  refresh();
}

void CalibrationFiles::refresh() {
  const auto now = workbench_.calibrationFiles();
  const bool inherited = workbench_.recipe().calibration_files.empty();
  if (now == files_ && inherited == inherited_)
    return;
  const bool same_rows = now.size() == files_.size() && !files_.empty();
  if (!same_rows)
    beginResetModel();
  files_ = now;
  inherited_ = inherited;
  there_.clear();
  for (const CalibrationFile& file : files_)
    there_.push_back(QFileInfo(QString::fromStdString(file.path)).isFile());
  if (same_rows)
    Q_EMIT dataChanged(index(0, 0), index(rowCount() - 1, column_count - 1));
  else
    endResetModel();
}

bool CalibrationFiles::anyFields() const {
  return std::any_of(files_.begin(), files_.end(),
                     [this](const CalibrationFile& file) { return isLines(file); });
}

QStringList CalibrationFiles::missing() const {
  QStringList out;
  for (std::size_t i = 0; i < files_.size(); ++i)
    if (!there_[i])
      out << QString::fromStdString(files_[i].path);
  return out;
}

bool CalibrationFiles::isLines(const CalibrationFile& file) const {
  return file.path.ends_with(".jsonl") || file.path.ends_with(".ndjson") || !file.field.empty();
}

int CalibrationFiles::rowCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : int(files_.size());
}

int CalibrationFiles::columnCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : int(column_count);
}

QVariant CalibrationFiles::data(const QModelIndex& index, int role) const {
  if (!index.isValid() || index.row() >= rowCount())
    return {};
  const auto row = std::size_t(index.row());
  const CalibrationFile& file = files_[row];
  const QString name = QString::fromStdString(file.path);
  const auto set = DrawnSet::of(workbench_).set();
  const Coverage* coverage = set && row < set->files.size() && set->files[row].path == file.path
                                 ? &set->files[row]
                                 : nullptr;
  const bool shown = role == Qt::DisplayRole;
  if (role == Qt::TextAlignmentRole && index.column() >= weight)
    return QVariant::fromValue<Qt::Alignment>(Qt::AlignRight | Qt::AlignVCenter);
  if (role == Qt::ForegroundRole && index.column() == path && (!there_[row] || inherited_))
    return there_[row] ? theme().muted : theme().error;
  if (role == faded_role)
    return !coverage || coverage->windows == 0;
  switch (index.column()) {
  case path:
    if (shown)
      return QFileInfo(name).fileName();
    if (role == Qt::EditRole)
      return name;
    if (role == Qt::ToolTipRole)
      return !there_[row] ? tr("%1 is not there").arg(QDir::toNativeSeparators(name))
             : inherited_ ? tr("%1\nThe recipe names no text: this one is read instead. Add files, "
                               "or edit this row, to choose")
                                .arg(QDir::toNativeSeparators(name))
                          : QDir::toNativeSeparators(name);
    break;
  case part:
    if (shown && file.split.empty())
      return tr("all of it");
    if (shown)
      return file.split_seed == 0
                 ? QString::fromStdString(file.split)
                 : tr("%1, seed %2").arg(QString::fromStdString(file.split)).arg(file.split_seed);
    if (role == Qt::EditRole)
      return QString::fromStdString(file.split);
    if (role == Qt::ToolTipRole)
      return tr("Only one of three parts that never meet: calibration (six tenths), selection and "
                "evaluation (two tenths each)");
    break;
  case field:
    if (shown)
      return !isLines(file)       ? QStringLiteral("\u2013")
             : file.field.empty() ? tr("found by itself")
                                  : QString::fromStdString(file.field);
    if (role == Qt::EditRole)
      return QString::fromStdString(file.field);
    if (role == Qt::ToolTipRole)
      return isLines(file) ? tr("The key of a line that holds the text, or \"messages\" for chats, "
                                "which the model's template renders. By itself: the first of "
                                "text, prompt, messages")
                           : tr("Text is read whole; lines of JSON have fields");
    if (role == Qt::ForegroundRole && file.field.empty())
      return theme().muted;
    break;
  case weight:
    if (shown)
      return formatNumber(file.weight, 3);
    if (role == Qt::EditRole)
      return file.weight;
    if (role == Qt::ToolTipRole)
      return tr("Windows are shared out in proportion to the weights");
    break;
  case documents:
    if (shown)
      return coverage && coverage->windows > 0 ? formatGrouped(coverage->documents)
                                               : QStringLiteral("\u2013");
    if (role == Qt::ToolTipRole)
      return tr("Lines of a .jsonl file with text, stretches of a part, or 1 for a whole text");
    break;
  case tokens:
    if (shown)
      return !coverage                ? QStringLiteral("\u2013")
             : coverage->windows == 0 ? tr("not used")
                                      : tr("%1 of %2")
                                            .arg(formatGrouped(coverage->tokens_used),
                                                 formatGrouped(coverage->tokens_available));
    if (role == bar_role && coverage && coverage->tokens_available > 0)
      return double(coverage->tokens_used) / double(coverage->tokens_available);
    if (role == Qt::ToolTipRole && coverage)
      return tr("%n windows are drawn from this file", nullptr, int(coverage->windows));
    break;
  case vocabulary:
    if (shown)
      return coverage && coverage->windows > 0
                 ? formatPercent(double(coverage->vocabulary_seen) /
                                     double(std::max<std::int64_t>(set->vocabulary, 1)),
                                 1)
                 : QStringLiteral("\u2013");
    if (role == bar_role && coverage && coverage->windows > 0)
      return double(coverage->vocabulary_seen) / double(std::max<std::int64_t>(set->vocabulary, 1));
    if (role == Qt::ToolTipRole && coverage && coverage->windows > 0)
      return tr("%1 different tokens of the %2 that the model knows; the whole file has %3")
          .arg(formatGrouped(coverage->vocabulary_seen), formatGrouped(set->vocabulary),
               formatGrouped(coverage->vocabulary_available));
    break;
  default:
    break;
  }
  return {};
}

QVariant CalibrationFiles::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal || section < 0 || section >= column_count)
    return {};
  const struct {
    QString title, tip;
  } columns[] = {
      {tr("File"), tr("Text, or .jsonl with one document or chat a line")},
      {tr("Part"), tr("All of the file, or one of three parts that never meet")},
      {tr("Field"), tr("What holds the text of a line of JSON")},
      {tr("Weight"), tr("Share of the windows, in proportion")},
      {tr("Documents"), tr("How many documents the file or its part has")},
      {tr("Tokens"), tr("Tokens that are used, of those there are")},
      {tr("Vocabulary"), tr("Share of the model's vocabulary that occurs in what is used")}};
  if (role == Qt::DisplayRole)
    return columns[section].title;
  if (role == Qt::ToolTipRole)
    return columns[section].tip;
  if (role == Qt::TextAlignmentRole)
    return QVariant::fromValue<Qt::Alignment>((section >= weight ? Qt::AlignRight : Qt::AlignLeft) |
                                              Qt::AlignVCenter);
  return {};
}

Qt::ItemFlags CalibrationFiles::flags(const QModelIndex& index) const {
  if (!index.isValid())
    return Qt::NoItemFlags;
  Qt::ItemFlags flags = Qt::ItemIsEnabled | Qt::ItemIsSelectable | Qt::ItemNeverHasChildren;
  const int column = index.column();
  const bool editable = column == path || column == part || column == weight ||
                        (column == field && isLines(files_[std::size_t(index.row())]));
  return editable ? flags | Qt::ItemIsEditable : flags;
}

bool CalibrationFiles::setData(const QModelIndex& index, const QVariant& value, int role) {
  if (role != Qt::EditRole || !(flags(index) & Qt::ItemIsEditable))
    return false;
  auto files = files_;
  CalibrationFile& file = files[std::size_t(index.row())];
  const std::string text = value.toString().trimmed().toStdString();
  switch (index.column()) {
  case path:
    if (text.empty())
      return false;
    file.path = text;
    break;
  case part:
    if (!text.empty() && !is_split(text))
      return false;
    file.split = text;
    if (text.empty())
      file.split_seed = 0;
    break;
  case field:
    file.field = text;
    break;
  case weight: {
    bool ok = false;
    const double number = value.toDouble(&ok);
    if (!ok || !(number >= 0) || number > 1e6)
      return false;
    file.weight = number;
    break;
  }
  default:
    return false;
  }
  if (files == files_)
    return true;
  commit(std::move(files), tr("Calibration file %1").arg(QFileInfo(value.toString()).fileName()));
  return true;
}

void CalibrationFiles::commit(std::vector<CalibrationFile> files, const QString& what) {
  Recipe next = workbench_.recipe();
  next.calibration_files = std::move(files);
  workbench_.setRecipe(next, what);
}

void CalibrationFiles::add(const QStringList& paths) {
  auto files = workbench_.recipe().calibration_files; // what was read instead goes
  int added = 0;
  for (const QString& one : paths) {
    const std::string name = QFileInfo(one).absoluteFilePath().toStdString();
    if (std::any_of(files.begin(), files.end(),
                    [&](const CalibrationFile& file) { return file.path == name; }))
      continue;
    files.push_back({name, 1.0});
    ++added;
  }
  if (added > 0)
    commit(std::move(files), tr("Add %n calibration files", nullptr, added));
}

void CalibrationFiles::remove(QList<int> rows) {
  if (inherited_ || rows.isEmpty())
    return;
  std::sort(rows.begin(), rows.end(), std::greater<>());
  auto files = files_;
  for (const int row : rows)
    if (row >= 0 && row < int(files.size()))
      files.erase(files.begin() + row);
  commit(std::move(files), tr("Remove calibration files"));
}

} // namespace bitlathe::gui
