// SPDX-License-Identifier: GPL-3.0-or-later
// Quality against size: one point per variant of the session, uniform baselines as a grey line,
// with error bars, the noise floor and the front of those that nothing smaller beats. A point is
// hovered for its figures and clicked for its recipe.
#pragma once

#include <QList>
#include <QString>
#include <QWidget>

namespace bitlathe::gui {

struct QualityPoint {
  enum class Kind { original, variant, baseline, other };
  QString title;
  Kind kind = Kind::variant;
  int variant = -1; ///< index among the session's variants; -1: none of them
  int color = 1;    ///< as contenders are coloured
  bool current = false;
  quint64 bytes = 0;
  double bitsPerWeight = 0;
  double perplexity = 0, perplexityError = 0;
  double kl = 0, klError = 0;
  double misses = 0, missesError = 0; ///< other first choice, in percent
};

class QualityChart : public QWidget {
  Q_OBJECT
 public:
  enum class Measure { perplexity, kl, misses };

  explicit QualityChart(QWidget* parent = nullptr);
  void setPoints(const QList<QualityPoint>& points, double noiseFloor);
  const QList<QualityPoint>& points() const { return points_; }
  void setMeasure(Measure measure);
  void setLogarithmic(bool logarithmic);
  QString csv() const;
  QSize sizeHint() const override { return {360, 220}; }
  QSize minimumSizeHint() const override { return {220, 140}; }

  /// Indices of points that no other one beats in both size and measure, smallest first.
  static QList<int> front(const QList<QualityPoint>& points, Measure measure);
  /// Where a point is drawn; for tests.
  QPointF place(int point) const;

 Q_SIGNALS:
  void variantClicked(int variant);

 protected:
  void paintEvent(QPaintEvent* event) override;
  void mouseMoveEvent(QMouseEvent* event) override;
  void mouseReleaseEvent(QMouseEvent* event) override;
  void leaveEvent(QEvent* event) override;
  void keyPressEvent(QKeyEvent* event) override;

 private:
  struct Frame;
  Frame frame() const;
  int at(const QPointF& position) const;
  QString tip(const QualityPoint& point) const;
  void show(int point, const QPoint& where);
  void paintLabels(QPainter& painter, const Frame& f) const;
  void paintLegend(QPainter& painter, const Frame& f) const;

  QList<QualityPoint> points_;
  double noiseFloor_ = 0;
  Measure measure_ = Measure::kl;
  bool logarithmic_ = false;
  int under_ = -1;
};

} // namespace bitlathe::gui
