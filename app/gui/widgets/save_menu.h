// SPDX-License-Identifier: GPL-3.0-or-later
// Copy and save for every picture (PNG, SVG) and every table (CSV).
#pragma once

#include <functional>
#include <QString>

class QAbstractItemModel;
class QAbstractItemView;
class QMenu;
class QToolButton;
class QWidget;

namespace bitlathe::gui {

/// Gives `view` a context menu that copies and saves what it paints, and its numbers when `csv` is
/// given. `name` is the proposed file name, without extension.
void addPictureMenu(QWidget* view, const QString& name, std::function<QString()> csv = {});
/// A small button with the same menu, for keyboard and discovery.
QToolButton* makePictureButton(QWidget* view, const QString& name,
                               std::function<QString()> csv = {}, QWidget* parent = nullptr);
/// Adds "Copy as CSV" and "Save CSV" to a view's context menu (its own actions come first).
void addTableMenu(QAbstractItemView* view, const QString& name);

/// Header and rows as displayed; trees are flattened with one row per leaf and branch.
QString modelToCsv(const QAbstractItemModel& model);
QString csvField(const QString& text);

/// Writes `widget` as it looks now; false and `error` when that fails.
bool savePicture(QWidget* widget, const QString& path, QString* error);

} // namespace bitlathe::gui
