// SPDX-License-Identifier: GPL-3.0-or-later
// Figures and items of tasks as people read them.
#pragma once

#include "core/eval/task_report.h"

#include <QString>
#include <QStringList>

namespace bitlathe::gui {

QString taskKindTitle(const TaskKind& kind); ///< "multiple choice"
QString taskKindTip(const TaskKind& kind);   ///< what counts, and which fields a line has
/// Model, score, interval, right ones, p: the cells of a row.
QStringList taskFigureTexts(const TaskModelFigures& model, bool rightOrWrong);
/// How it did in every group of the file.
QString taskGroupsTip(const TaskModelFigures& model, bool rightOrWrong);
QString taskPromptEnd(const TaskItem& item); ///< the last line that says something
QString taskMark(const TaskAnswer& answer, bool rightOrWrong);
/// The item, what is right, and what every model said.
QString taskItemHtml(const TaskReport& report, std::size_t item);

} // namespace bitlathe::gui
