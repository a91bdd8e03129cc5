// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/export/findings_html.h"

#include "app/gui/theme.h"

namespace bitlathe::gui {
namespace {

constexpr qsizetype names_shown = 6;

QString line(const QString& mark, const QColor& color, const QString& html) {
  return QStringLiteral("<table cellspacing=0 cellpadding=2><tr><td valign=top width=16><b>%1</b>"
                        "</td><td>%2</td></tr></table>")
      .arg(colouredHtml(mark, color), html);
}

QString tr(const char* text) { return FormatsModel::tr(text); }

QString namesOf(const QStringList& modules) {
  QString names = modules.mid(0, names_shown).join(QStringLiteral(", "));
  if (modules.size() > names_shown)
    names += tr(" and %1 more").arg(modules.size() - names_shown);
  return names;
}

} // namespace

QString colouredHtml(const QString& text, const QColor& color) {
  return QStringLiteral("<span style='color:%1'>%2</span>").arg(color.name(), text.toHtmlEscaped());
}

QString findingsHtml(const FormatRow& row, const QString& runtime) {
  const ThemeColors& c = theme();
  if (!row.report.problem.isEmpty())
    return line(QStringLiteral("\u2715"), c.error, colouredHtml(row.report.problem, c.error));
  if (row.state == FormatState::unknown)
    return {};
  QString html;
  if (row.state == FormatState::fits)
    html = line(QStringLiteral("\u2713"), c.ok,
                colouredHtml(row.report.fallbacks.empty() && row.report.findings.empty()
                                 ? tr("Nothing stands in the way: every module fits as it is.")
                                 : tr("Nothing stands in the way."),
                             c.ok));
  QStringList told;
  for (const FormatFallback& one : row.report.fallbacks) {
    const QString key = one.from + one.to + one.reason;
    if (told.contains(key))
      continue;
    told << key;
    QStringList modules;
    for (const FormatFallback& other : row.report.fallbacks)
      if (other.from + other.to + other.reason == key)
        modules << other.module;
    html +=
        line(QStringLiteral("\u2192"), c.warning,
             colouredHtml(tr("%1 instead of %2 (%3)").arg(one.to, one.from, one.reason), c.text) +
                 QStringLiteral("<br>") + colouredHtml(namesOf(modules), c.muted));
  }
  for (const FindingGroup& group : groupFindings(row.report.findings)) {
    const bool here = group.runtime.isEmpty() || group.runtime == runtime;
    const bool refuse = here && group.level == Finding::Level::refuse;
    const bool warning = here && group.level == Finding::Level::warning;
    const QColor color = refuse ? c.error : warning ? c.warning : c.muted;
    QString words;
    if (!group.runtime.isEmpty())
      words = QStringLiteral("<b>%1</b> ")
                  .arg(colouredHtml(tr("For %1:").arg(runtimeTitle(group.runtime)), color));
    words += colouredHtml(group.message, refuse ? c.error : c.text);
    if (!group.modules.isEmpty())
      words += QStringLiteral("<br>") + colouredHtml(namesOf(group.modules), c.muted);
    html += line(refuse    ? QStringLiteral("\u2715")
                 : warning ? QStringLiteral("!")
                           : QStringLiteral("\u2022"),
                 color, words);
  }
  return html;
}

QString checksHtml(const VerifyReport& report) {
  const ThemeColors& c = theme();
  QString html;
  for (const VerifyCheck& check : report.checks)
    html += line(
        check.ok ? QStringLiteral("\u2713") : QStringLiteral("\u2715"), check.ok ? c.ok : c.error,
        colouredHtml(QString::fromStdString(check.name), check.ok ? c.text : c.error) +
            QStringLiteral("<br>") + colouredHtml(QString::fromStdString(check.detail), c.muted));
  return html;
}

} // namespace bitlathe::gui
