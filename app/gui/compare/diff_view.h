// SPDX-License-Identifier: GPL-3.0-or-later
// Two continuations as one text: what is only in the first struck through, what is only in the
// second underlined, by words or by tokens.
#pragma once

#include "app/gui/compare/generation.h"

#include <QColor>
#include <QWidget>

class QComboBox;
class QLabel;
class QTextBrowser;

namespace bitlathe::gui {

class DiffView : public QWidget {
  Q_OBJECT
 public:
  explicit DiffView(QWidget* parent = nullptr);
  void setSides(const QList<Generation>& sides);
  int changes() const { return int(anchors_); } ///< places that differ
  void nextChange(int by);
  QString plainText() const;

 protected:
  void keyPressEvent(QKeyEvent* event) override;
  bool eventFilter(QObject* watched, QEvent* event) override;

 private:
  void refresh();

  QList<Generation> sides_;
  QComboBox *from_, *to_, *unit_;
  QLabel* figures_;
  QTextBrowser* text_;
  int anchors_ = 0, at_ = -1;
};

} // namespace bitlathe::gui
