// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/export/formats_model.h"

#include <algorithm>

namespace bitlathe::gui {
namespace {

QString toQt(std::string_view text) {
  return QString::fromUtf8(text.data(), qsizetype(text.size()));
}

} // namespace

QString formatStateText(const FormatRow& row) {
  switch (row.state) {
  case FormatState::unknown:
    return FormatsModel::tr("not examined");
  case FormatState::fits:
    return FormatsModel::tr("holds every module");
  case FormatState::warned:
    return row.warnings == 1 ? FormatsModel::tr("1 warning")
                             : FormatsModel::tr("%1 warnings").arg(row.warnings);
  case FormatState::refuses: {
    const bool modules =
        std::all_of(row.findings.begin(), row.findings.end(), [](const Finding& finding) {
          return finding.level != Finding::Level::refuse || !finding.module.empty();
        });
    if (!modules)
      return FormatsModel::tr("cannot hold this model");
    return row.refusals == 1 ? FormatsModel::tr("cannot hold 1 module")
                             : FormatsModel::tr("cannot hold %1 modules").arg(row.refusals);
  }
  }
  return {};
}

QList<FindingGroup> groupFindings(const std::vector<Finding>& findings) {
  QList<FindingGroup> out;
  for (const Finding& finding : findings) {
    const QString message = QString::fromStdString(finding.message);
    auto group = std::find_if(out.begin(), out.end(), [&](const FindingGroup& g) {
      return g.level == finding.level && g.message == message;
    });
    if (group == out.end()) {
      out.push_back({finding.level, message, {}});
      group = out.end() - 1;
    }
    if (!finding.module.empty())
      group->modules << QString::fromStdString(finding.module);
  }
  return out;
}

FormatsModel::FormatsModel(QObject* parent) : QAbstractListModel(parent) {
  for (const Exporter* exporter : all_exporters()) {
    FormatRow row;
    row.id = toQt(exporter->id);
    row.title = toQt(exporter->title);
    row.summary = toQt(exporter->summary);
    row.loaders = toQt(exporter->loaders);
    rows_.push_back(row);
  }
}

void FormatsModel::examine(const Checkpoint* model, const std::vector<ExportModule>& modules) {
  const auto exporters = all_exporters();
  for (qsizetype i = 0; i < rows_.size(); ++i) {
    FormatRow& row = rows_[i];
    row.findings.clear();
    row.refusals = row.warnings = 0;
    row.state = FormatState::unknown;
    if (!model)
      continue;
    row.findings = exporters[std::size_t(i)]->examine(*model, modules);
    std::stable_sort(row.findings.begin(), row.findings.end(),
                     [](const Finding& a, const Finding& b) { return a.level > b.level; });
    for (const Finding& finding : row.findings) {
      row.refusals += finding.level == Finding::Level::refuse;
      row.warnings += finding.level == Finding::Level::warning;
    }
    row.state = row.refusals   ? FormatState::refuses
                : row.warnings ? FormatState::warned
                               : FormatState::fits;
  }
  if (!rows_.isEmpty())
    Q_EMIT dataChanged(index(0), index(int(rows_.size()) - 1));
}

int FormatsModel::rowOf(const QString& id) const {
  for (int i = 0; i < rows_.size(); ++i)
    if (rows_[i].id == id)
      return i;
  return -1;
}

int FormatsModel::rowCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : int(rows_.size());
}

QVariant FormatsModel::data(const QModelIndex& at, int role) const {
  if (!checkIndex(at, CheckIndexOption::IndexIsValid))
    return {};
  const FormatRow& row = rows_[at.row()];
  switch (role) {
  case Qt::DisplayRole:
    return row.title;
  case Qt::ToolTipRole:
    return row.summary;
  case Qt::AccessibleTextRole:
    return QStringLiteral("%1, %2").arg(row.title, formatStateText(row));
  case RowStateRole:
    return int(row.state);
  case IdRole:
    return row.id;
  case LoadersRole:
    return row.loaders;
  case StateTextRole:
    return formatStateText(row);
  default:
    return {};
  }
}

} // namespace bitlathe::gui
