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

} // namespace

QString colouredHtml(const QString& text, const QColor& color) {
  return QStringLiteral("<span style='color:%1'>%2</span>").arg(color.name(), text.toHtmlEscaped());
}

QString findingsHtml(const FormatRow& row) {
  const ThemeColors& c = theme();
  if (row.state == FormatState::unknown)
    return {};
  QString html;
  if (row.findings.empty())
    html = line(QStringLiteral("\u2713"), c.ok,
                colouredHtml(tr("Every module fits as it is stored."), c.ok));
  for (const FindingGroup& group : groupFindings(row.findings)) {
    const bool refuse = group.level == Finding::Level::refuse;
    const bool warning = group.level == Finding::Level::warning;
    const QColor color = refuse ? c.error : warning ? c.warning : c.muted;
    QString words = colouredHtml(group.message, refuse ? c.error : c.text);
    if (!group.modules.isEmpty()) {
      QString names = group.modules.mid(0, names_shown).join(QStringLiteral(", "));
      if (group.modules.size() > names_shown)
        names += tr(" and %1 more").arg(group.modules.size() - names_shown);
      words += QStringLiteral("<br>") + colouredHtml(names, c.muted);
    }
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
  if (!report.worst.empty() && report.worst.front().mse > 0) {
    const VerifyWorst& worst = report.worst.front();
    html += colouredHtml(
        tr("Largest difference: %1, SQNR %2 dB")
            .arg(QString::fromStdString(worst.module), QString::number(worst.sqnr_db, 'f', 1)),
        c.muted);
  }
  return html;
}

} // namespace bitlathe::gui
