// SPDX-License-Identifier: GPL-3.0-or-later
// The choices for modules, made from the registries of schemes and methods: used by context menus,
// buttons and editors alike.
#pragma once

#include <functional>
#include <QStringList>

class QComboBox;
class QMenu;
class QWidget;

namespace bitlathe::gui {

class Workbench;

/// Every scheme worth offering, by family; `current` is ticked, `chosen` gets its id.
void fillSchemeMenu(QMenu* menu, const QString& current,
                    std::function<void(const QString&)> chosen);
void fillMethodMenu(QMenu* menu, const QString& current,
                    std::function<void(const QString&)> chosen);
/// Precision, method, exclude, include, reset for these modules, and selecting their like.
void fillModuleMenu(QMenu* menu, Workbench& workbench, const QStringList& modules);

/// Editable box of all schemes with chips; any id of the grammar can be typed.
QComboBox* makeSchemeBox(QWidget* parent);
QComboBox* makeMethodBox(QWidget* parent);
/// All ids that menus offer, in menu order.
QStringList offeredSchemes();

} // namespace bitlathe::gui
