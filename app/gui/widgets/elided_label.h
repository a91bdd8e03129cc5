// SPDX-License-Identifier: GPL-3.0-or-later
// A label that gives way: it shortens its text in the middle instead of widening the window.
#pragma once

#include <QLabel>

namespace bitlathe::gui {

class ElidedLabel : public QLabel {
  Q_OBJECT
 public:
  using QLabel::QLabel;
  void setElideMode(Qt::TextElideMode mode) { mode_ = mode; }
  QSize minimumSizeHint() const override;

 protected:
  void paintEvent(QPaintEvent* event) override;

 private:
  Qt::TextElideMode mode_ = Qt::ElideMiddle;
};

} // namespace bitlathe::gui
