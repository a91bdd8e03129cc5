// SPDX-License-Identifier: GPL-3.0-or-later
// How an export is used: a command or a few lines for every program that reads it, to be copied.
#pragma once

#include "app/gui/widgets/card.h"

#include <QStringList>

class QComboBox;
class QPlainTextEdit;
class QToolButton;

namespace bitlathe {
struct Exporter;
}

namespace bitlathe::gui {

class UseCard : public Card {
  Q_OBJECT
 public:
  explicit UseCard(QWidget* parent = nullptr);
  /// `written`: the export is there; else the path is where it would be.
  void show(const Exporter* exporter, const QString& path, const QString& name, bool written);
  void prefer(const QString& runtime); ///< shown first where there is one for it
  QString text() const;
  QStringList runtimes() const;
  void copy();

 private:
  void fill();

  const Exporter* exporter_ = nullptr;
  QString path_, name_, preferred_;
  QComboBox* runtime_;
  QToolButton* copy_;
  QPlainTextEdit* text_;
};

} // namespace bitlathe::gui
