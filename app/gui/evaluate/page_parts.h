// SPDX-License-Identifier: GPL-3.0-or-later
// What the pages of the Evaluate stage are put together from.
#pragma once

#include <QString>
#include <QStringList>

class QBoxLayout;
class QStandardItemModel;
class QTableView;
class QWidget;

namespace bitlathe::gui {

class EngineThread;

/// A table of figures: rows are selected, one at a time, nothing is edited. `file` names what is
/// saved of it.
QTableView* makeFiguresTable(QStandardItemModel* model, const QString& name, const QString& file,
                             QWidget* parent);
/// A row of texts, the first `left` of them left-aligned.
void addFiguresRow(QStandardItemModel* model, const QStringList& texts, int left,
                   const QString& tip = {});
/// A field with its name before it, both with the tooltip.
void addLabelled(QBoxLayout* row, const QString& text, QWidget* field, const QString& tip);

/// How far the newest job of a tag has come, in thousandths; below 0: not known.
int jobProgress(const EngineThread& engine, const QString& tag);
void cancelJobs(EngineThread& engine, const QString& tag);

} // namespace bitlathe::gui
