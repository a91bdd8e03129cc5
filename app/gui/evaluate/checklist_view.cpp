// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/evaluate/checklist_view.h"

#include "app/gui/compare/compare_stage.h"
#include "app/gui/shell/main_window.h"
#include "app/gui/stage.h"
#include "app/gui/theme.h"

#include <QGridLayout>
#include <QKeyEvent>
#include <QMouseEvent>
#include <QPainter>
#include <QPainterPath>
#include <QTabWidget>

namespace bitlathe::gui {
namespace {

/// A round mark (tick, exclamation mark, empty ring) and two lines of text.
class CheckCell : public QWidget {
 public:
  CheckCell(ChecklistView* list, QWidget* parent) : QWidget(parent), list_(list) {
    setFocusPolicy(Qt::StrongFocus);
    setCursor(Qt::PointingHandCursor);
    setAttribute(Qt::WA_Hover);
  }
  void set(const ChecklistItem& item) {
    id_ = QString::fromStdString(item.id);
    title_ = QString::fromStdString(item.title);
    detail_ = QString::fromStdString(item.detail);
    state_ = item.state;
    const QString state = state_ == ChecklistItem::State::done        ? tr("done")
                          : state_ == ChecklistItem::State::stale     ? tr("out of date")
                          : state_ == ChecklistItem::State::attention ? tr("needs attention")
                                                                      : tr("open");
    setToolTip(QStringLiteral("%1: %2\n%3\n%4")
                   .arg(title_, state, detail_, tr("Click or Return goes to where it is done")));
    setAccessibleName(QStringLiteral("%1: %2").arg(title_, state));
    setAccessibleDescription(detail_);
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
    const QRectF ring(4.5, 5, 17, 17);
    if (underMouse() || hasFocus()) {
      painter.setPen(hasFocus() ? QPen(c.accent) : QPen(Qt::NoPen));
      painter.setBrush(c.hover);
      painter.drawRoundedRect(QRectF(rect()).adjusted(-0.5, 0.5, -0.5, -0.5), 5, 5);
    }
    const bool done = state_ == ChecklistItem::State::done;
    const bool attention =
        state_ == ChecklistItem::State::attention || state_ == ChecklistItem::State::stale;
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
    const double x = 30;
    painter.setFont(font());
    painter.setPen(state_ == ChecklistItem::State::open ? c.muted : c.text);
    const QFontMetrics metrics(font());
    painter.drawText(QRectF(x, 2, width() - x, metrics.height() + 2), Qt::AlignVCenter,
                     metrics.elidedText(title_, Qt::ElideRight, int(width() - x)));
    painter.setFont(smallFont());
    painter.setPen(attention ? c.warning : c.muted);
    const QFontMetrics caption(painter.font());
    painter.drawText(QRectF(x, metrics.height() + 4, width() - x, caption.height() + 2),
                     Qt::AlignVCenter,
                     caption.elidedText(detail_, Qt::ElideRight, int(width() - x)));
  }
  void mouseReleaseEvent(QMouseEvent* event) override {
    if (event->button() == Qt::LeftButton && rect().contains(event->pos()))
      list_->go(id_);
  }
  void keyPressEvent(QKeyEvent* event) override {
    if (event->key() == Qt::Key_Return || event->key() == Qt::Key_Enter ||
        event->key() == Qt::Key_Space)
      list_->go(id_);
    else
      QWidget::keyPressEvent(event);
  }

 private:
  ChecklistView* list_;
  QString id_, title_, detail_;
  ChecklistItem::State state_ = ChecklistItem::State::open;
};

} // namespace

ChecklistView::ChecklistView(QWidget* parent) : QWidget(parent), grid_(new QGridLayout(this)) {
  grid_->setContentsMargins(0, 0, 0, 0);
  grid_->setHorizontalSpacing(space::l);
  grid_->setVerticalSpacing(space::xs);
}

void ChecklistView::set(const std::vector<ChecklistItem>& items) {
  items_ = items;
  constexpr int across = 3;
  while (cells_.size() < qsizetype(items.size())) {
    auto* cell = new CheckCell(this, this);
    grid_->addWidget(cell, int(cells_.size()) / across, int(cells_.size()) % across);
    cells_.push_back(cell);
  }
  for (std::size_t i = 0; i < items.size(); ++i)
    static_cast<CheckCell*>(cells_[qsizetype(i)])->set(items[i]);
}

int ChecklistView::doneCount() const {
  int done = 0;
  for (const ChecklistItem& item : items_)
    done += item.state == ChecklistItem::State::done;
  return done;
}

void ChecklistView::go(const QString& id) {
  Q_EMIT chosen(id);
  auto* main = qobject_cast<MainWindow*>(window());
  if (!main)
    return;
  for (const ChecklistItem& item : items_) {
    if (id != QString::fromStdString(item.id))
      continue;
    int index = 0;
    for (const Stage* stage : all_stages()) {
      if (item.stage == stage->id) {
        main->setStage(index);
        QWidget* shown = main->stageWidget(index);
        if (auto* compare = qobject_cast<CompareStage*>(shown); compare && item.id == "judged")
          compare->openDesk();
        if (auto* tabs = shown->findChild<QTabWidget*>())
          for (int tab = 0; tab < tabs->count(); ++tab)
            if (item.id == "speed" && tabs->tabText(tab).contains(tr("Speed")))
              tabs->setCurrentIndex(tab);
      }
      ++index;
    }
  }
}

} // namespace bitlathe::gui
