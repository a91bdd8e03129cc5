// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/widgets/save_menu.h"

#include <QAbstractItemView>
#include <QAction>
#include <QApplication>
#include <QClipboard>
#include <QDir>
#include <QFileDialog>
#include <QMenu>
#include <QPainter>
#include <QSaveFile>
#include <QStandardPaths>
#include <QSvgGenerator>
#include <QToolButton>
#include <QToolTip>

namespace bitlathe::gui {

namespace {

QString tr(const char* text) { return QCoreApplication::translate("SaveMenu", text); }

/// Tells beside the widget what went wrong; nothing modal.
void complain(QWidget* widget, const QString& text) {
  QToolTip::showText(widget->mapToGlobal(widget->rect().center()), text, widget, {}, 8000);
}

/// Asks for a path without blocking the event loop.
void askPath(QWidget* parent, const QString& name, const QString& filter, const QString& suffix,
             std::function<void(const QString&)> then) {
  auto* dialog = new QFileDialog(parent, tr("Save"));
  dialog->setAttribute(Qt::WA_DeleteOnClose);
  dialog->setAcceptMode(QFileDialog::AcceptSave);
  dialog->setNameFilter(filter);
  dialog->setDefaultSuffix(suffix);
  dialog->setDirectory(QStandardPaths::writableLocation(QStandardPaths::DocumentsLocation));
  dialog->selectFile(name + '.' + suffix);
  QObject::connect(dialog, &QFileDialog::fileSelected, parent, std::move(then));
  dialog->open();
}

void saveText(QWidget* parent, const QString& path, const QString& text) {
  QSaveFile file(path);
  if (!file.open(QIODevice::WriteOnly) || file.write(text.toUtf8()) < 0 || !file.commit())
    complain(parent, tr("Cannot write %1: %2").arg(path, file.errorString()));
}

void fillPictureMenu(QMenu* menu, QWidget* view, const QString& name,
                     const std::function<QString()>& csv) {
  menu->addAction(tr("&Copy picture"), view,
                  [view] { QApplication::clipboard()->setPixmap(view->grab()); });
  for (const char* suffix : {"png", "svg"})
    menu->addAction(tr("Save as %1 …").arg(QString::fromLatin1(suffix).toUpper()), view,
                    [view, name, suffix] {
                      askPath(view, name, tr("Picture (*.%1)").arg(QLatin1String(suffix)),
                              QLatin1String(suffix), [view](const QString& path) {
                                QString error;
                                if (!savePicture(view, path, &error))
                                  complain(view, error);
                              });
                    });
  if (!csv)
    return;
  menu->addSeparator();
  menu->addAction(tr("Copy &numbers as CSV"), view,
                  [csv] { QApplication::clipboard()->setText(csv()); });
  menu->addAction(tr("Save numbers as CSV …"), view, [view, name, csv] {
    askPath(view, name, tr("Table (*.csv)"), QStringLiteral("csv"),
            [view, csv](const QString& path) { saveText(view, path, csv()); });
  });
}

void appendRows(const QAbstractItemModel& model, const QModelIndex& parent, int depth,
                QString& out) {
  for (int row = 0; row < model.rowCount(parent); ++row) {
    const QModelIndex first = model.index(row, 0, parent);
    for (int column = 0; column < model.columnCount(parent); ++column) {
      if (column > 0)
        out += ',';
      out += csvField(model.index(row, column, parent).data().toString());
    }
    out += '\n';
    appendRows(model, first, depth + 1, out);
  }
}

} // namespace

bool savePicture(QWidget* widget, const QString& path, QString* error) {
  if (path.endsWith(QStringLiteral(".svg"), Qt::CaseInsensitive)) {
    QSaveFile file(path);
    if (!file.open(QIODevice::WriteOnly)) {
      *error = tr("Cannot write %1: %2").arg(path, file.errorString());
      return false;
    }
    QSvgGenerator svg;
    svg.setOutputDevice(&file);
    svg.setSize(widget->size());
    svg.setViewBox(widget->rect());
    svg.setTitle(widget->accessibleName());
    QPainter painter(&svg);
    widget->render(&painter);
    painter.end();
    if (file.commit())
      return true;
    *error = tr("Cannot write %1: %2").arg(path, file.errorString());
    return false;
  }
  if (widget->grab().save(path))
    return true;
  *error = tr("Cannot write %1").arg(path);
  return false;
}

void addPictureMenu(QWidget* view, const QString& name, std::function<QString()> csv) {
  view->setContextMenuPolicy(Qt::CustomContextMenu);
  QObject::connect(view, &QWidget::customContextMenuRequested, view,
                   [view, name, csv = std::move(csv)](const QPoint& at) {
                     auto* menu = new QMenu(view);
                     menu->setAttribute(Qt::WA_DeleteOnClose);
                     fillPictureMenu(menu, view, name, csv);
                     menu->popup(view->mapToGlobal(at));
                   });
}

QToolButton* makePictureButton(QWidget* view, const QString& name, std::function<QString()> csv,
                               QWidget* parent) {
  auto* button = new QToolButton(parent ? parent : view->parentWidget());
  button->setText(QStringLiteral("⤓"));
  button->setToolTip(tr("Copy or save this picture (PNG, SVG) and its numbers (CSV)"));
  button->setAccessibleName(tr("Copy or save %1").arg(name));
  button->setPopupMode(QToolButton::InstantPopup);
  auto* menu = new QMenu(button);
  fillPictureMenu(menu, view, name, csv);
  button->setMenu(menu);
  return button;
}

void addTableMenu(QAbstractItemView* view, const QString& name) {
  auto* copy = new QAction(tr("Copy table as CSV"), view);
  auto* save = new QAction(tr("Save table as CSV …"), view);
  QObject::connect(copy, &QAction::triggered, view, [view] {
    if (view->model())
      QApplication::clipboard()->setText(modelToCsv(*view->model()));
  });
  QObject::connect(save, &QAction::triggered, view, [view, name] {
    askPath(view, name, tr("Table (*.csv)"), QStringLiteral("csv"), [view](const QString& path) {
      if (view->model())
        saveText(view, path, modelToCsv(*view->model()));
    });
  });
  view->addActions({copy, save});
  if (view->contextMenuPolicy() == Qt::DefaultContextMenu)
    view->setContextMenuPolicy(Qt::ActionsContextMenu);
}

QString csvField(const QString& text) {
  if (!text.contains(',') && !text.contains('"') && !text.contains('\n'))
    return text;
  QString quoted = text;
  quoted.replace('"', QStringLiteral("\"\""));
  return '"' + quoted + '"';
}

QString modelToCsv(const QAbstractItemModel& model) {
  QString out;
  for (int column = 0; column < model.columnCount(); ++column) {
    if (column > 0)
      out += ',';
    out += csvField(model.headerData(column, Qt::Horizontal).toString());
  }
  out += '\n';
  appendRows(model, {}, 0, out);
  return out;
}

} // namespace bitlathe::gui
