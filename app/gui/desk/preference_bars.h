// SPDX-License-Identifier: GPL-3.0-or-later
// Per pair of models: how the votes fell, and the share of decided votes with its 95 % interval
// against even odds.
#pragma once

#include "core/judge/desk_result.h"

#include <QWidget>

namespace bitlathe::gui {

class PreferenceBars : public QWidget {
  Q_OBJECT
 public:
  explicit PreferenceBars(QWidget* parent = nullptr);
  void set(const DeskResult& result, const std::vector<DeskModel>& models);
  QString csv() const;
  QSize sizeHint() const override;
  QSize minimumSizeHint() const override;

 protected:
  void paintEvent(QPaintEvent* event) override;

 private:
  int rowHeight() const;
  void paintPair(QPainter& painter, const QRectF& area, const DeskPairResult& pair) const;
  DeskResult result_;
  std::vector<DeskModel> models_;
};

} // namespace bitlathe::gui
