// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/evaluate/task_words.h"

#include "app/gui/format.h"
#include "app/gui/theme.h"

#include <QCoreApplication>

namespace bitlathe::gui {
namespace {

const QString dash = QStringLiteral("\u2013");

QString tr(const char* text) { return QCoreApplication::translate("Tasks", text); }

QString words(std::string_view text) {
  return QString::fromUtf8(text.data(), qsizetype(text.size()));
}

QString html(const std::string& text) {
  return words(text).toHtmlEscaped().replace('\n', QStringLiteral("<br>"));
}

QString score(double value, bool rightOrWrong) {
  return rightOrWrong ? formatPercent(value, 1) : formatNumber(value, 4);
}

} // namespace

QString taskKindTitle(const TaskKind& kind) { return words(kind.id).replace('-', ' '); }

QString taskKindTip(const TaskKind& kind) {
  return tr("%1\nA line has: %2").arg(words(kind.summary), words(kind.fields));
}

QStringList taskFigureTexts(const TaskModelFigures& model, bool rightOrWrong) {
  const QString title = QString::fromStdString(model.title);
  if (!model.problem.empty())
    return {title, tr("not run"), dash, dash, dash};
  return {title, score(model.value, rightOrWrong),
          QStringLiteral("%1 \u2013 %2")
              .arg(score(model.ci_low, rightOrWrong), score(model.ci_high, rightOrWrong)),
          model.right ? QStringLiteral("%1 / %2").arg(*model.right).arg(model.n)
                      : QString::number(model.n),
          !model.paired_p ? dash
          : *model.paired_p > 0.05
              ? tr("%1, not distinguishable").arg(formatNumber(*model.paired_p, 2))
              : formatNumber(*model.paired_p, 2)};
}

QString taskGroupsTip(const TaskModelFigures& model, bool rightOrWrong) {
  QStringList lines{QString::fromStdString(model.path)};
  for (const TaskGroup& group : model.groups)
    lines.append(
        QStringLiteral("%1: %2 (%3)")
            .arg(group.name.empty() ? tr("without a group") : QString::fromStdString(group.name),
                 score(group.value, rightOrWrong))
            .arg(group.n));
  for (const auto& [name, value] : model.more)
    lines.append(
        QStringLiteral("%1: %2").arg(QString::fromStdString(name), formatNumber(value, 4)));
  return lines.join('\n');
}

QString taskPromptEnd(const TaskItem& item) {
  const QString text = words(std::string_view(item.prompt).substr(item.examples)).trimmed();
  return text.section('\n', -1).trimmed().right(120);
}

QString taskMark(const TaskAnswer& answer, bool rightOrWrong) {
  if (!rightOrWrong)
    return formatNumber(answer.value, 3);
  return answer.value != 0 ? QStringLiteral("\u2713") : QStringLiteral("\u2717");
}

QString taskItemHtml(const TaskReport& report, std::size_t at) {
  if (at >= report.items.size())
    return {};
  const ThemeColors& c = theme();
  const TaskItem& item = report.items[at];
  const auto head = [&](const QString& text) {
    return QStringLiteral("<p style=\"margin-bottom:2px\"><font color=\"%1\">%2</font></p>")
        .arg(c.muted.name(), text.toHtmlEscaped());
  };
  QString out = head(tr("Asked")) + QStringLiteral("<p style=\"margin-top:0\">%1</p>")
                                        .arg(html(item.prompt.substr(item.examples)));
  out += head(item.answers.size() > 1 ? tr("Right or possible") : tr("Right"));
  out += QStringLiteral("<p style=\"margin-top:0\">");
  for (std::size_t i = 0; i < item.answers.size(); ++i)
    out += (i ? QStringLiteral("<br>") : QString()) +
           (i == item.right ? QStringLiteral("<b>%1</b>").arg(html(item.answers[i]))
                            : html(item.answers[i]));
  out += QStringLiteral("</p>");
  for (const TaskModelFigures& model : report.models) {
    if (at >= model.answers.size())
      continue;
    const TaskAnswer& answer = model.answers[at];
    const QColor mark = !report.right_or_wrong ? c.muted : answer.value != 0 ? c.ok : c.error;
    out += QStringLiteral("<p style=\"margin-bottom:2px\"><font color=\"%1\">%2 %3</font></p>"
                          "<p style=\"margin-top:0\">%4</p>")
               .arg(mark.name(), taskMark(answer, report.right_or_wrong),
                    QString::fromStdString(model.title).toHtmlEscaped(),
                    answer.said.empty() ? QStringLiteral("<i>%1</i>").arg(tr("nothing"))
                                        : html(answer.said));
  }
  return out;
}

} // namespace bitlathe::gui
