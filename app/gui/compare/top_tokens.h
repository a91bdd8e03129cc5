// SPDX-License-Identifier: GPL-3.0-or-later
// What every contender thought at one position: its likeliest tokens with bars, side by side.
#pragma once

#include "app/gui/compare/generation.h"

#include <QColor>
#include <QWidget>

namespace bitlathe::gui {

class TopTokens : public QWidget {
  Q_OBJECT
 public:
  struct Side {
    QString title;
    QColor color;
    bool present = false; ///< false: this side has no token there
    ShownToken token;
  };

  explicit TopTokens(QWidget* parent = nullptr);
  /// `hint` is shown while there are no sides.
  void set(const QList<Side>& sides, const QString& hint);
  QString csv() const;
  QSize sizeHint() const override;
  QSize minimumSizeHint() const override { return {240, 96}; }

 protected:
  void paintEvent(QPaintEvent* event) override;

 private:
  QList<Side> sides_;
  QString hint_;
};

} // namespace bitlathe::gui
