// SPDX-License-Identifier: GPL-3.0-or-later
// The size before over the size after, the latter cut by precision.
#pragma once

#include <map>
#include <QWidget>

namespace bitlathe::gui {

class SizeBars : public QWidget {
  Q_OBJECT
 public:
  explicit SizeBars(QWidget* parent = nullptr);
  /// Bytes after, by bits of the scheme. `predicted` is said beside the figure.
  void set(quint64 before, const std::map<double, quint64>& after, bool predicted);
  QSize sizeHint() const override;
  QSize minimumSizeHint() const override { return {220, sizeHint().height()}; }

 protected:
  void paintEvent(QPaintEvent* event) override;
  bool event(QEvent* event) override;

 private:
  quint64 total() const;
  quint64 before_ = 0;
  std::map<double, quint64> after_;
  bool predicted_ = false;
};

} // namespace bitlathe::gui
