// SPDX-License-Identifier: GPL-3.0-or-later
// A generation as running text made of tokens: wraps at words, shades by agreement or probability,
// marks the first different token, and tells what is under the pointer or the cursor.
#pragma once

#include "app/gui/compare/generation.h"

#include <QAbstractScrollArea>
#include <QColor>

namespace bitlathe::gui {

class TokenView : public QAbstractScrollArea {
  Q_OBJECT
 public:
  enum class Shading { agreement, probability, divergence, none };

  explicit TokenView(QWidget* parent = nullptr);

  void setColor(const QColor& color) { color_ = color; }
  void setPrompt(const QString& prompt);
  void setTokens(const QList<ShownToken>& tokens);
  void appendTokens(const QList<ShownToken>& tokens);
  /// What is said in the middle while there are no tokens.
  void setPlaceholder(const QString& text);
  void setShading(Shading shading);
  /// `agrees` has one entry per token, or none when it is not known yet.
  void setMarks(qsizetype divergence, const QList<bool>& agrees);
  /// KL per token, as far as it is of this text; for the shading and the tips.
  void setKl(const QList<double>& kl);
  /// The token shown as current in all panes; -1: none.
  void setCurrent(qsizetype token);
  qsizetype current() const { return current_; }
  void setCaret(bool streaming);
  void reveal(qsizetype token);
  QString plainText() const;
  /// Where a token is drawn, in content coordinates; for tests.
  QRectF tokenRect(qsizetype token) const;

 Q_SIGNALS:
  void hovered(qsizetype token); ///< -1 when the pointer leaves
  void picked(qsizetype token);  ///< click or keyboard

 protected:
  void paintEvent(QPaintEvent* event) override;
  void resizeEvent(QResizeEvent* event) override;
  void changeEvent(QEvent* event) override;
  void mouseMoveEvent(QMouseEvent* event) override;
  void mousePressEvent(QMouseEvent* event) override;
  void leaveEvent(QEvent* event) override;
  void keyPressEvent(QKeyEvent* event) override;
  void contextMenuEvent(QContextMenuEvent* event) override;
  bool viewportEvent(QEvent* event) override;
  QSize sizeHint() const override { return {360, 220}; }

 private:
  /// A stretch of text on one line that belongs to one token, or to the prompt (token -1).
  struct Segment {
    QRectF rect;
    qsizetype token = -1;
    QString text;
    bool lineBreak = false; ///< a visible mark for a newline
  };
  /// Where layout stands, so that appending does not start over.
  struct Pen {
    double x = 0, y = 0;
  };
  void relayout();
  void layoutFrom(qsizetype firstToken);
  void place(const QList<QPair<qsizetype, QString>>& word, Pen& pen);
  void newLine(Pen& pen) const;
  double textWidth() const;
  void updateScrollBars();
  qsizetype tokenAt(const QPoint& position) const;
  QColor shade(qsizetype token) const;
  void move(qsizetype token);

  QColor color_;
  QString prompt_, placeholder_;
  QList<ShownToken> tokens_;
  QList<bool> agrees_;
  QList<double> kl_;
  QList<Segment> segments_;
  Shading shading_ = Shading::agreement;
  qsizetype divergence_ = -1, current_ = -1, under_ = -1;
  double height_ = 0, line_ = 0;
  bool caret_ = false;
};

/// HTML of one token for tooltips: probability, rank and the alternatives with bars; `kl` < 0: not
/// known.
QString tokenTip(const ShownToken& token, qsizetype index, const QColor& color, double kl = -1);

} // namespace bitlathe::gui
