// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/tree/module_menu.h"

#include "app/gui/theme.h"
#include "app/gui/workbench.h"
#include "core/methods/method.h"
#include "core/recipe/mixes.h"

#include <algorithm>
#include <QApplication>
#include <QClipboard>
#include <QComboBox>
#include <QCompleter>
#include <QMenu>
#include <QPainter>
#include <set>

namespace bitlathe::gui {

namespace {

QString tr(const char* text) { return QCoreApplication::translate("ModuleMenu", text); }

QString text(std::string_view s) { return QString::fromUtf8(s.data(), qsizetype(s.size())); }

QIcon swatch(double bits) {
  QPixmap pixmap(12, 12);
  pixmap.fill(Qt::transparent);
  QPainter painter(&pixmap);
  painter.setRenderHint(QPainter::Antialiasing);
  painter.setPen(Qt::NoPen);
  painter.setBrush(precisionColor(bits));
  painter.drawRoundedRect(QRectF(1, 1, 10, 10), 3, 3);
  return QIcon(pixmap);
}

} // namespace

QStringList offeredSchemes() {
  QStringList ids;
  for (const auto* family : all_scheme_families())
    for (const auto id : family->examples)
      ids.append(text(id));
  return ids;
}

void fillSchemeMenu(QMenu* menu, const QString& current,
                    std::function<void(const QString&)> chosen) {
  menu->setToolTipsVisible(true);
  for (const auto* family : all_scheme_families()) {
    if (family->examples.empty())
      continue;
    menu->addSection(text(family->id))->setToolTip(text(family->summary));
    for (const auto example : family->examples) {
      const QString id = text(example);
      const auto scheme = parse_scheme(example);
      auto* action = menu->addAction(swatch(scheme ? scheme->bits : 32), id);
      action->setToolTip(text(family->summary));
      if (id == current) {
        QFont font = action->font();
        font.setBold(true);
        action->setFont(font);
      }
      QObject::connect(action, &QAction::triggered, menu, [chosen, id] { chosen(id); });
    }
  }
}

void fillMethodMenu(QMenu* menu, const QString& current,
                    std::function<void(const QString&)> chosen) {
  menu->setToolTipsVisible(true);
  for (const auto* method : all_methods()) {
    const QString id = text(method->id);
    auto* action = menu->addAction(QStringLiteral("%1  –  %2").arg(id, text(method->title)));
    action->setToolTip(text(method->summary));
    action->setCheckable(true);
    action->setChecked(id == current);
    QObject::connect(action, &QAction::triggered, menu, [chosen, id] { chosen(id); });
  }
}

void fillModuleMenu(QMenu* menu, Workbench& workbench, const QStringList& modules) {
  if (modules.isEmpty() || !workbench.checkpoint())
    return;
  const Plan* plan = workbench.plan();
  const PlannedModule* first = plan ? plan->find(modules.first().toStdString()) : nullptr;
  menu->setToolTipsVisible(true);
  if (first) {
    auto* precision = menu->addMenu(tr("&Precision"));
    fillSchemeMenu(
        precision, QString::fromStdString(first->scheme.id),
        [&workbench, modules](const QString& id) { workbench.setModules(modules, id, {}); });
    auto* method = menu->addMenu(tr("&Method"));
    fillMethodMenu(
        method, QString::fromStdString(first->method),
        [&workbench, modules](const QString& id) { workbench.setModules(modules, {}, id); });
    menu->addAction(tr("&Exclude from quantization"), menu,
                    [&workbench, modules] { workbench.setExcluded(modules, true); })
        ->setToolTip(tr("Keeps the source type of these modules, whatever the rules say"));
    menu->addAction(tr("&Include again"), menu,
                    [&workbench, modules] { workbench.setExcluded(modules, false); })
        ->setToolTip(tr("Takes back the exclusion, or quantizes a module that is kept by default"));
    menu->addAction(tr("&Reset to the recipe's patterns"), menu,
                    [&workbench, modules] { workbench.resetModules(modules); })
        ->setToolTip(tr("Removes the rules and exclusions made for exactly these modules"));
    menu->addSeparator();
  }
  std::set<std::string> roles;
  std::set<int> layers;
  for (const auto& name : modules)
    if (const auto* module = workbench.checkpoint()->find_module(name.toStdString())) {
      roles.insert(module->role);
      layers.insert(module->layer);
    }
  const auto selectWhere = [&workbench](const std::function<bool(const Module&)>& wanted) {
    QStringList names;
    for (const auto& module : workbench.checkpoint()->modules)
      if (wanted(module))
        names.append(QString::fromStdString(module.name));
    workbench.select(names);
  };
  QStringList role_names;
  for (const auto& role : roles)
    role_names.append(QString::fromStdString(role));
  menu->addAction(role_names.size() <= 2 ? tr("&Select every %1").arg(role_names.join(tr(" and ")))
                                         : tr("&Select all of these roles"),
                  menu, [selectWhere, roles] {
                    selectWhere([&](const Module& m) { return roles.count(m.role) > 0; });
                  });
  if (*layers.begin() >= 0)
    menu->addAction(layers.size() == 1 ? tr("Select block %1").arg(*layers.begin())
                                       : tr("Select these blocks"),
                    menu, [selectWhere, layers] {
                      selectWhere([&](const Module& m) { return layers.count(m.layer) > 0; });
                    });
  menu->addAction(modules.size() == 1 ? tr("&Copy name") : tr("&Copy names"), menu,
                  [modules] { QApplication::clipboard()->setText(modules.join('\n')); });
}

QComboBox* makeSchemeBox(QWidget* parent) {
  auto* box = new QComboBox(parent);
  box->setEditable(true);
  box->setInsertPolicy(QComboBox::NoInsert);
  box->setMaxVisibleItems(20);
  for (const auto& id : offeredSchemes()) {
    const auto scheme = parse_scheme(id.toStdString());
    box->addItem(swatch(scheme ? scheme->bits : 32), id);
  }
  for (const Mix& mix : all_mixes()) {
    const auto base = parse_scheme(mix.base);
    box->addItem(swatch(base ? base->bits : 32), text(mix.id));
    box->setItemData(box->count() - 1, text(mix.summary), Qt::ToolTipRole);
  }
  box->completer()->setCompletionMode(QCompleter::PopupCompletion);
  box->completer()->setFilterMode(Qt::MatchContains);
  QStringList grammars;
  for (const auto* family : all_scheme_families())
    grammars.append(text(family->grammar));
  box->setToolTip(tr("Scheme: how the values are stored. Choose one or type any of:\n%1\n"
                     "Names in upper case are mixes of llama.cpp: a type for every tensor.")
                      .arg(grammars.join('\n')));
  box->setAccessibleName(tr("Scheme"));
  return box;
}

QComboBox* makeMethodBox(QWidget* parent) {
  auto* box = new QComboBox(parent);
  for (const auto* method : all_methods()) {
    box->addItem(text(method->id));
    box->setItemData(box->count() - 1, text(method->summary), Qt::ToolTipRole);
  }
  box->setToolTip(tr("Method: how the codes of a scheme are chosen"));
  box->setAccessibleName(tr("Method"));
  return box;
}

} // namespace bitlathe::gui
