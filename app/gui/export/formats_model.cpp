// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/export/formats_model.h"

#include "app/gui/format.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/delegates.h"

#include <algorithm>

namespace bitlathe::gui {
namespace {

QString toQt(std::string_view text) {
  return QString::fromUtf8(text.data(), qsizetype(text.size()));
}

/// "3 to int4-channel-sym", the commonest first.
QString fallbackText(const FormatReport& report) {
  if (report.fallbacks.empty())
    return QStringLiteral("\u2013");
  QList<std::pair<QString, int>> counts;
  for (const FormatFallback& one : report.fallbacks) {
    auto it = std::find_if(counts.begin(), counts.end(),
                           [&](const auto& count) { return count.first == one.to; });
    if (it == counts.end())
      counts.append({one.to, 1});
    else
      ++it->second;
  }
  std::stable_sort(counts.begin(), counts.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  QString out = FormatsModel::tr("%1 to %2").arg(counts.first().second).arg(counts.first().first);
  if (counts.size() > 1)
    out += QStringLiteral(" \u2026");
  return out;
}

} // namespace

QString formatStateText(const FormatRow& row) {
  switch (row.state) {
  case FormatState::unknown:
    return row.report.problem.isEmpty() ? FormatsModel::tr("not examined")
                                        : FormatsModel::tr("cannot be examined");
  case FormatState::fits:
    return row.elsewhere > 0 ? FormatsModel::tr("fits; a remark for one reader")
                             : FormatsModel::tr("fits");
  case FormatState::warned:
    return row.warnings == 1 ? FormatsModel::tr("1 warning")
                             : FormatsModel::tr("%1 warnings").arg(row.warnings);
  case FormatState::refuses: {
    const auto& findings = row.report.findings;
    const bool modules = std::all_of(findings.begin(), findings.end(), [](const Finding& finding) {
      return finding.level != Finding::Level::refuse || !finding.module.empty();
    });
    if (!modules)
      return FormatsModel::tr("cannot be written");
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
    const QString runtime = QString::fromStdString(finding.runtime);
    auto group = std::find_if(out.begin(), out.end(), [&](const FindingGroup& g) {
      return g.level == finding.level && g.message == message && g.runtime == runtime;
    });
    if (group == out.end()) {
      out.push_back({finding.level, message, runtime, {}});
      group = out.end() - 1;
    }
    if (!finding.module.empty())
      group->modules << QString::fromStdString(finding.module);
  }
  return out;
}

QString runtimeTitle(const QString& runtime) {
  // Snippets name what they show, which may be a part or a user of the runtime.
  static const QHash<QString, QString> own = {
      {QStringLiteral("vllm"), QStringLiteral("vLLM")},
      {QStringLiteral("transformers"), QStringLiteral("transformers")},
      {QStringLiteral("llama.cpp"), QStringLiteral("llama.cpp")},
      {QStringLiteral("onnxruntime"), QStringLiteral("ONNX Runtime")},
      {QStringLiteral("mlx"), QStringLiteral("MLX")}};
  if (const auto it = own.constFind(runtime); it != own.constEnd())
    return *it;
  for (const Exporter* exporter : all_exporters())
    for (const UseWith& use : exporter->uses)
      if (toQt(use.runtime) == runtime && !use.title.empty())
        return toQt(use.title);
  return runtime;
}

FormatsModel::FormatsModel(QObject* parent) : QAbstractTableModel(parent) {
  for (const Exporter* exporter : all_exporters()) {
    FormatRow row;
    row.id = toQt(exporter->id);
    row.title = toQt(exporter->title);
    row.summary = toQt(exporter->summary);
    row.loaders = toQt(exporter->loaders);
    rows_.push_back(row);
  }
}

void FormatsModel::tell() {
  if (!rows_.isEmpty())
    Q_EMIT dataChanged(index(0, 0), index(int(rows_.size()) - 1, column_count - 1));
}

void FormatsModel::forget() {
  for (FormatRow& row : rows_) {
    row.report = {};
    row.state = FormatState::unknown;
    row.refusals = row.warnings = row.elsewhere = 0;
  }
  tell();
}

void FormatsModel::setReports(const QList<FormatReport>& reports, const QString& runtime) {
  for (const FormatReport& report : reports) {
    const int at = rowOf(report.id);
    if (at < 0)
      continue;
    FormatRow& row = rows_[at];
    row.report = report;
    row.refusals = row.warnings = row.elsewhere = 0;
    for (const Finding& finding : blocking_findings(report.findings, runtime.toStdString(), false))
      ++(finding.level == Finding::Level::refuse ? row.refusals : row.warnings);
    for (const Finding& finding : report.findings)
      row.elsewhere += finding.level != Finding::Level::note && !finding.runtime.empty() &&
                       finding.runtime != runtime.toStdString();
    row.state = !report.problem.isEmpty() ? FormatState::refuses
                : row.refusals            ? FormatState::refuses
                : row.warnings            ? FormatState::warned
                                          : FormatState::fits;
  }
  tell();
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

int FormatsModel::columnCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : int(column_count);
}

QVariant FormatsModel::text(const FormatRow& row, int column) const {
  const bool known = row.state != FormatState::unknown && row.report.problem.isEmpty();
  const QString none = QStringLiteral("\u2013");
  switch (column) {
  case title:
    return row.title;
  case holds:
    return known ? tr("%1 of %2").arg(row.report.held()).arg(row.report.modules) : none;
  case fallback:
    return known ? fallbackText(row.report) : none;
  case verdict: {
    const QString mark = row.state == FormatState::fits      ? QStringLiteral("\u2713 ")
                         : row.state == FormatState::warned  ? QStringLiteral("! ")
                         : row.state == FormatState::refuses ? QStringLiteral("\u2715 ")
                                                             : QString();
    return mark + formatStateText(row);
  }
  case size:
    return row.report.bytes > 0 ? formatBytes(row.report.bytes) : none;
  case bits:
    return row.report.weight_bytes > 0 ? QString::number(row.report.bits_per_weight, 'f', 2) : none;
  case readers:
    return row.loaders;
  default:
    return {};
  }
}

QVariant FormatsModel::tip(const FormatRow& row, int column) const {
  const FormatReport& report = row.report;
  switch (column) {
  case holds:
    return tr("Written: %1, in another scheme: %2, refused: %3")
        .arg(report.held())
        .arg(report.fallbacks.size())
        .arg(report.refused);
  case fallback: {
    QStringList lines;
    for (const FormatFallback& one : report.fallbacks)
      if (lines.size() < 12)
        lines << QStringLiteral("%1: %2 \u2192 %3 (%4)")
                     .arg(one.module, one.from, one.to, one.reason);
    if (report.fallbacks.size() > 12)
      lines << tr("and %1 more").arg(report.fallbacks.size() - 12);
    return lines.join('\n');
  }
  case readers:
    return row.loaders;
  case verdict:
    return report.problem.isEmpty() ? formatStateText(row) : report.problem;
  case size:
  case bits: {
    QStringList lines;
    if (report.bytes > 0)
      lines << tr("%1 bytes in %n files", nullptr, int(report.files.size()))
                   .arg(formatGrouped(std::int64_t(report.bytes)));
    for (const auto& file : report.files)
      if (lines.size() < 14)
        lines << QStringLiteral("%1  %2").arg(QString::fromStdString(file.name.string()),
                                              formatGrouped(std::int64_t(file.bytes)));
    return lines.join('\n');
  }
  default:
    return row.summary;
  }
}

QVariant FormatsModel::data(const QModelIndex& at, int role) const {
  if (!checkIndex(at, CheckIndexOption::IndexIsValid))
    return {};
  const FormatRow& row = rows_[at.row()];
  switch (role) {
  case Qt::DisplayRole:
    return text(row, at.column());
  case Qt::ToolTipRole:
    return tip(row, at.column());
  case Qt::TextAlignmentRole:
    if (at.column() == size || at.column() == bits)
      return QVariant::fromValue<Qt::Alignment>(Qt::AlignRight | Qt::AlignVCenter);
    return {};
  case Qt::FontRole:
    if (at.column() == size || at.column() == bits)
      return numberFont();
    return {};
  case Qt::ForegroundRole:
    if (at.column() == verdict)
      return row.state == FormatState::fits      ? theme().ok
             : row.state == FormatState::warned  ? theme().warning
             : row.state == FormatState::refuses ? theme().error
                                                 : theme().muted;
    if (at.column() == readers || (at.column() == fallback && row.report.fallbacks.empty()))
      return theme().muted;
    return {};
  case Qt::AccessibleTextRole:
    return at.column() == title ? QStringLiteral("%1, %2").arg(row.title, formatStateText(row))
                                : text(row, at.column());
  case RowStateRole:
    return int(row.state);
  case IdRole:
    return row.id;
  case LoadersRole:
    return row.loaders;
  case StateTextRole:
    return formatStateText(row);
  case PartsRole:
    if (row.state == FormatState::unknown || !row.report.problem.isEmpty())
      return {};
    return QVariantList{row.report.held(), int(row.report.fallbacks.size()), row.report.refused};
  default:
    return {};
  }
}

QVariant FormatsModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal || section < 0 || section >= column_count)
    return {};
  const struct {
    QString title, tip;
  } columns[] = {
      {tr("Format"), tr("Every format that can be written")},
      {tr("Writes"), tr("Modules that the format writes (teal), that it writes in another scheme "
                        "(amber), and that it refuses (red). Where it decodes them to floats, a "
                        "note says so")},
      {tr("Falls back"), tr("Modules whose shape the format cannot hold in the planned scheme, and "
                            "what they get instead")},
      {tr("Doctor"), tr("Red: nothing is written. Amber: written once the warnings are accepted. "
                        "Warnings for one reader count when the export is meant for it")},
      {tr("Size"), tr("All files of the export, to the byte in the tooltip")},
      {tr("Bits/weight"), tr("8 times the bytes of the files with weights over all parameters")},
      {tr("Read by"), tr("Programs that load it")}};
  if (role == Qt::DisplayRole)
    return columns[section].title;
  if (role == Qt::ToolTipRole)
    return columns[section].tip;
  if (role == Qt::TextAlignmentRole)
    return QVariant::fromValue<Qt::Alignment>(
        (section == size || section == bits ? Qt::AlignRight : Qt::AlignLeft) | Qt::AlignVCenter);
  return {};
}

} // namespace bitlathe::gui
