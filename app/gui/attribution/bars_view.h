// SPDX-License-Identifier: GPL-3.0-or-later
// What every module (block, role) costs, one bar each, dearest first. Measured bars are solid,
// predicted ones hatched; whiskers are one standard error to each side. A bar is hovered for its
// figures, clicked to select its modules everywhere, and double-clicked to raise their precision.
#pragma once

#include "core/eval/attribute.h"

#include <memory>
#include <QStringList>
#include <QWidget>

namespace bitlathe::gui {

class BarsView : public QWidget {
  Q_OBJECT
 public:
  enum class Level { modules, blocks, roles };
  enum class Value { alone, fall, per_byte };
  enum class Colour { role, precision };

  explicit BarsView(QWidget* parent = nullptr);
  /// Rows of a level, sorted by the value; a null report: none.
  void setReport(std::shared_ptr<const AttributionReport> report);
  void setLevel(Level level);
  void setValue(Value value);
  void setColour(Colour colour);
  void setLogarithmic(bool logarithmic);
  /// Words that must all occur in name, role or scheme.
  void setFilter(const QString& text);
  void setSelection(const QStringList& modules);

  struct Bar {
    QString name, shown, role, scheme;
    QStringList modules;
    double value = 0, error = 0;
    bool known = false, predicted = false, kept = false;
    const AttributionRow* row = nullptr; ///< valid until the next setReport()
  };
  const QList<Bar>& bars() const { return bars_; }
  QString csv() const;
  QString tip(const Bar& bar) const;
  QSize sizeHint() const override;
  QSize minimumSizeHint() const override { return {240, 60}; }

 Q_SIGNALS:
  void clicked(const QStringList& modules);
  void raiseWanted(const QStringList& modules);
  void menuWanted(const QStringList& modules, const QPoint& globalAt);
  /// The bar that the keyboard went to.
  void shouldShow(const QRect& place);

 protected:
  void paintEvent(QPaintEvent* event) override;
  void mouseMoveEvent(QMouseEvent* event) override;
  void mousePressEvent(QMouseEvent* event) override;
  void mouseDoubleClickEvent(QMouseEvent* event) override;
  void contextMenuEvent(QContextMenuEvent* event) override;
  void leaveEvent(QEvent* event) override;
  void keyPressEvent(QKeyEvent* event) override;
  void focusInEvent(QFocusEvent* event) override;
  void focusOutEvent(QFocusEvent* event) override;
  bool event(QEvent* event) override;

 private:
  void rebuild();
  int barAt(const QPointF& position) const;
  int current() const;
  bool selected(const Bar& bar) const;
  QRectF plot() const;
  QRect place(int index) const;
  double across(double value) const; ///< 0..1
  QColor colour(const Bar& bar) const;

  std::shared_ptr<const AttributionReport> report_;
  Level level_ = Level::modules;
  Value value_ = Value::alone;
  Colour colour_ = Colour::role;
  bool logarithmic_ = false;
  QStringList words_, selection_, roles_;
  QList<Bar> bars_;
  double low_ = 0, high_ = 1;
  int under_ = -1, names_ = 120;
};

/// Colours that tell roles apart, by their place in the sorted list of roles.
QColor roleColour(int index, int count);
QString unitOf(BarsView::Value value);

} // namespace bitlathe::gui
