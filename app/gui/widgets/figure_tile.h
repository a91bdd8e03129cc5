// SPDX-License-Identifier: GPL-3.0-or-later
// A figure people look for: small caption over a large number, a muted line below.
#pragma once

#include <QWidget>

class QLabel;

namespace bitlathe::gui {

class FigureTile : public QWidget {
  Q_OBJECT
 public:
  FigureTile(const QString& caption, const QString& tooltip, QWidget* parent = nullptr);
  /// An empty value shows a dash.
  void set(const QString& value, const QString& detail = {});

 private:
  QLabel *value_, *detail_;
  QString caption_;
};

} // namespace bitlathe::gui
