// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/plan/rule_model.h"

#include "app/gui/theme.h"
#include "app/gui/widgets/delegates.h"

#include <algorithm>

namespace bitlathe::gui {

RuleModel::RuleModel(Workbench& workbench, QObject* parent)
    : QAbstractTableModel(parent), workbench_(workbench) {
  connect(&workbench, &Workbench::recipeChanged, this, &RuleModel::refresh);
  connect(&workbench, &Workbench::opened, this, &RuleModel::refresh);
  refresh();
}

void RuleModel::refresh() {
  const Recipe& now = workbench_.recipe();
  const bool same_rows = now.rules.size() == recipe_.rules.size() &&
                         now.exclude.size() == recipe_.exclude.size() && rowCount() > 0;
  if (!same_rows)
    beginResetModel();
  recipe_ = now;
  match_counts_.clear();
  for (int row = 0; row < int(recipe_.rules.size() + recipe_.exclude.size()); ++row) {
    int count = 0;
    if (workbench_.checkpoint())
      for (const auto& module : workbench_.checkpoint()->modules) {
        const auto hit = pattern_matches(patternOf(row).toStdString(), module.name);
        if (!hit) {
          count = -1;
          break;
        }
        count += *hit;
      }
    match_counts_.append(count);
  }
  if (same_rows)
    Q_EMIT dataChanged(index(0, 0), index(rowCount() - 1, column_count - 1));
  else
    endResetModel();
}

bool RuleModel::isExclusion(int row) const { return row >= int(recipe_.rules.size()); }

QString RuleModel::patternOf(int row) const {
  const auto rules = int(recipe_.rules.size());
  return QString::fromStdString(row < rules ? recipe_.rules[std::size_t(row)].match
                                            : recipe_.exclude[std::size_t(row - rules)]);
}

int RuleModel::rowCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : int(recipe_.rules.size() + recipe_.exclude.size());
}

int RuleModel::columnCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : int(column_count);
}

QVariant RuleModel::data(const QModelIndex& index, int role) const {
  if (!index.isValid() || index.row() >= rowCount())
    return {};
  const bool excluded = isExclusion(index.row());
  const Rule rule = excluded ? Rule{} : recipe_.rules[std::size_t(index.row())];
  const int hits = match_counts_.value(index.row());
  const bool shown = role == Qt::DisplayRole || role == Qt::EditRole;
  if (role == Qt::ToolTipRole) {
    if (hits < 0)
      return tr("This pattern is malformed");
    if (hits == 0)
      return tr("This pattern matches no module of the model");
    return excluded ? tr("Matching modules keep their source type, whatever the rules say")
                    : tr("Rule %1; the last matching rule wins. Empty cells keep what an earlier "
                         "rule or the default said")
                          .arg(index.row() + 1);
  }
  switch (index.column()) {
  case pattern:
    if (shown)
      return patternOf(index.row());
    if (role == Qt::FontRole)
      return codeFont();
    break;
  case scheme:
    if (shown)
      return excluded ? (role == Qt::DisplayRole ? tr("excluded") : QString())
                      : QString::fromStdString(rule.scheme);
    if (role == bits_role && !rule.scheme.empty())
      if (const auto parsed = parse_scheme(rule.scheme))
        return parsed->bits;
    if (role == Qt::ForegroundRole && excluded)
      return theme().muted;
    break;
  case method:
    if (shown)
      return QString::fromStdString(rule.method);
    break;
  case matches:
    if (shown)
      return hits < 0 ? tr("malformed") : QString::number(hits);
    if (role == Qt::ForegroundRole)
      return hits < 0 ? theme().error : hits == 0 ? theme().warning : theme().muted;
    if (role == Qt::TextAlignmentRole)
      return QVariant::fromValue<Qt::Alignment>(Qt::AlignRight | Qt::AlignVCenter);
    break;
  default:
    break;
  }
  return {};
}

QVariant RuleModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal)
    return role == Qt::DisplayRole ? QVariant(section + 1) : QVariant();
  static const char* titles[] = {"Pattern", "Precision", "Method", "Matches"};
  static const char* tips[] = {
      "Glob on module names: * crosses dots, ? is one character; re: starts a regular expression",
      "Scheme for matching modules; empty keeps what came before",
      "Method for matching modules; empty keeps what came before",
      "How many modules of this model the pattern matches"};
  if (section < 0 || section >= column_count)
    return {};
  if (role == Qt::DisplayRole)
    return tr(titles[section]);
  if (role == Qt::ToolTipRole)
    return tr(tips[section]);
  return {};
}

Qt::ItemFlags RuleModel::flags(const QModelIndex& index) const {
  if (!index.isValid())
    return Qt::NoItemFlags;
  Qt::ItemFlags flags = Qt::ItemIsEnabled | Qt::ItemIsSelectable | Qt::ItemNeverHasChildren;
  const bool editable =
      index.column() == pattern ||
      ((index.column() == scheme || index.column() == method) && !isExclusion(index.row()));
  return editable ? flags | Qt::ItemIsEditable : flags;
}

bool RuleModel::setData(const QModelIndex& index, const QVariant& value, int role) {
  if (role != Qt::EditRole || !(flags(index) & Qt::ItemIsEditable))
    return false;
  const std::string text = value.toString().trimmed().toStdString();
  if (index.column() == pattern && text.empty())
    return false;
  Recipe next = recipe_;
  if (isExclusion(index.row())) {
    next.exclude[std::size_t(index.row()) - next.rules.size()] = text;
  } else {
    Rule& rule = next.rules[std::size_t(index.row())];
    if (index.column() == pattern) {
      rule.match = text;
    } else if (index.column() == scheme) {
      rule.scheme = text;
    } else if (rule.method != text) {
      rule.method = text;
      rule.params = Json::object();
    }
  }
  if (next == recipe_)
    return false;
  workbench_.setRecipe(next, tr("Edit rule %1").arg(index.row() + 1));
  return true;
}

void RuleModel::addRule(const QString& match) {
  Recipe next = recipe_;
  Rule rule;
  rule.match = match.toStdString();
  rule.scheme = next.default_scheme;
  next.rules.push_back(std::move(rule));
  workbench_.setRecipe(next, tr("Add a rule"));
}

void RuleModel::addExclusion(const QString& match) {
  Recipe next = recipe_;
  next.exclude.push_back(match.toStdString());
  workbench_.setRecipe(next, tr("Exclude %1").arg(match));
}

void RuleModel::remove(QList<int> table_rows) {
  std::sort(table_rows.begin(), table_rows.end(), std::greater<>());
  Recipe next = recipe_;
  for (const int row : table_rows) {
    if (row < 0 || row >= rowCount())
      continue;
    if (isExclusion(row))
      next.exclude.erase(next.exclude.begin() + (row - int(recipe_.rules.size())));
    else
      next.rules.erase(next.rules.begin() + row);
  }
  workbench_.setRecipe(next, table_rows.size() == 1 ? tr("Remove a rule") : tr("Remove rules"));
}

bool RuleModel::canMove(int row, int by) const {
  return row >= 0 && row < int(recipe_.rules.size()) && row + by >= 0 &&
         row + by < int(recipe_.rules.size());
}

void RuleModel::move(int row, int by) {
  if (!canMove(row, by))
    return;
  Recipe next = recipe_;
  std::swap(next.rules[std::size_t(row)], next.rules[std::size_t(row + by)]);
  workbench_.setRecipe(next, tr("Move a rule"));
}

} // namespace bitlathe::gui
