// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/evaluate/checklist_view.h"

#include "app/gui/theme.h"

#include <QGridLayout>
#include <QPainter>
#include <QPainterPath>

namespace bitlathe::gui {
namespace {

/// A round mark (tick, exclamation mark, empty ring) and two lines of text.
class CheckCell : public QWidget {
 public:
  using QWidget::QWidget;
  void set(const CheckItem& item) {
    item_ = item;
    const QString state = item.state == CheckItem::State::done        ? tr("done")
                          : item.state == CheckItem::State::attention ? tr("needs attention")
                                                                      : tr("open");
    setToolTip(QStringLiteral("%1: %2\n%3").arg(item.title, state, item.detail));
    setAccessibleName(QStringLiteral("%1: %2").arg(item.title, state));
    setAccessibleDescription(item.detail);
    update();
  }
  QSize sizeHint() const override {
    return {200, QFontMetrics(font()).height() + QFontMetrics(smallFont()).height() + 8};
  }

 protected:
  void paintEvent(QPaintEvent*) override {
    const ThemeColors& c = theme();
    QPainter painter(this);
    painter.setRenderHint(QPainter::Antialiasing);
    const QRectF ring(1.5, 5, 17, 17);
    const bool done = item_.state == CheckItem::State::done;
    const bool attention = item_.state == CheckItem::State::attention;
    painter.setPen(QPen(done ? c.ok : attention ? c.outlier : c.border, 1.6));
    painter.setBrush(done        ? QBrush(c.ok)
                     : attention ? QBrush(mixed(c.raised, c.outlier, 0.25))
                                 : QBrush(Qt::NoBrush));
    painter.drawEllipse(ring);
    if (done) {
      QPainterPath tick(QPointF(ring.left() + 4.5, ring.center().y() + 0.5));
      tick.lineTo(ring.left() + 7.5, ring.bottom() - 5);
      tick.lineTo(ring.right() - 4.2, ring.top() + 5.5);
      painter.setPen(QPen(textOn(c.ok), 2, Qt::SolidLine, Qt::RoundCap, Qt::RoundJoin));
      painter.setBrush(Qt::NoBrush);
      painter.drawPath(tick);
    } else if (attention) {
      painter.setPen(c.warning);
      QFont bold = font();
      bold.setBold(true);
      painter.setFont(bold);
      painter.drawText(ring, Qt::AlignCenter, QStringLiteral("!"));
    }
    const double x = 27;
    painter.setFont(font());
    painter.setPen(item_.state == CheckItem::State::open ? c.muted : c.text);
    const QFontMetrics metrics(font());
    painter.drawText(QRectF(x, 2, width() - x, metrics.height() + 2), Qt::AlignVCenter,
                     metrics.elidedText(item_.title, Qt::ElideRight, int(width() - x)));
    painter.setFont(smallFont());
    painter.setPen(attention ? c.warning : c.muted);
    const QFontMetrics caption(painter.font());
    painter.drawText(QRectF(x, metrics.height() + 4, width() - x, caption.height() + 2),
                     Qt::AlignVCenter,
                     caption.elidedText(item_.detail, Qt::ElideRight, int(width() - x)));
  }

 private:
  CheckItem item_;
};

} // namespace

ChecklistView::ChecklistView(QWidget* parent) : QWidget(parent), grid_(new QGridLayout(this)) {
  grid_->setContentsMargins(0, 0, 0, 0);
  grid_->setHorizontalSpacing(space::l);
  grid_->setVerticalSpacing(space::xs);
}

void ChecklistView::set(const QList<CheckItem>& items) {
  items_ = items;
  constexpr int across = 3;
  while (cells_.size() < items.size()) {
    auto* cell = new CheckCell(this);
    grid_->addWidget(cell, int(cells_.size()) / across, int(cells_.size()) % across);
    cells_.push_back(cell);
  }
  for (qsizetype i = 0; i < items.size(); ++i)
    static_cast<CheckCell*>(cells_[i])->set(items[i]);
}

int ChecklistView::doneCount() const {
  int done = 0;
  for (const CheckItem& item : items_)
    done += item.state == CheckItem::State::done;
  return done;
}

} // namespace bitlathe::gui
