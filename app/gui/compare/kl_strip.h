// SPDX-License-Identifier: GPL-3.0-or-later
// KL divergence of every candidate at every token of the reference's text, as bars under the panes:
// where the models disagree although they read the same words.
#pragma once

#include <QList>
#include <QWidget>

namespace bitlathe::gui {

class KlStrip : public QWidget {
  Q_OBJECT
 public:
  struct Side {
    QString title;
    int index = 1;          ///< of the model, for its colour
    QList<double> kl;       ///< per token of the reference; empty: not measured
    QString problem;        ///< why not
    qsizetype partsAt = -1; ///< first different token of its own text
  };

  explicit KlStrip(QWidget* parent = nullptr);
  /// `words`: text of the reference's tokens. `hint` is shown while there is nothing.
  void set(const QList<Side>& sides, const QList<QString>& words, const QString& hint);
  void setCurrent(qsizetype token);
  bool empty() const;
  QString summary() const; ///< mean and largest per side, in a line
  QString csv() const;
  QSize sizeHint() const override { return {480, 74}; }
  QSize minimumSizeHint() const override { return {240, 58}; }

 Q_SIGNALS:
  void hovered(qsizetype token); ///< -1 when the pointer leaves
  void picked(qsizetype token);

 protected:
  void paintEvent(QPaintEvent* event) override;
  void mouseMoveEvent(QMouseEvent* event) override;
  void mousePressEvent(QMouseEvent* event) override;
  void leaveEvent(QEvent* event) override;
  void keyPressEvent(QKeyEvent* event) override;
  bool event(QEvent* event) override;

 private:
  qsizetype tokens() const;
  qsizetype tokenAt(const QPoint& position) const;
  QRectF plot() const;
  QString tip(qsizetype token) const;
  qsizetype worst() const;

  QList<Side> sides_;
  QList<QString> words_;
  QString hint_;
  qsizetype current_ = -1, under_ = -1;
};

} // namespace bitlathe::gui
