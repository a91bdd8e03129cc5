// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/inspect/observer_panel.h"

#include "app/gui/format.h"
#include "app/gui/theme.h"
#include "app/gui/workbench.h"
#include "core/model/transpose.h"
#include "core/observers/observer.h"
#include "core/schemes/deferred.h"

#include <cmath>
#include <QComboBox>
#include <QHBoxLayout>
#include <QHeaderView>
#include <QLabel>
#include <QTableWidget>
#include <QVBoxLayout>

namespace bitlathe::gui {

namespace {

QString text(std::string_view view) {
  return QString::fromUtf8(view.data(), qsizetype(view.size()));
}

/// Whether observers have a say in a scheme.
bool observed(const Scheme& scheme) {
  return scheme.quantized && (scheme.family->id == "int" || scheme.family->id == "f8");
}

QString decibels(double value) { return QString::number(value, 'f', 1) + QStringLiteral(" dB"); }

} // namespace

ObserverPanel::ObserverPanel(Workbench& workbench, QWidget* parent)
    : QWidget(parent), workbench_(workbench) {
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(0, 0, 0, 0);
  column->setSpacing(space::xs);
  auto* head = new QHBoxLayout;
  head->setSpacing(space::s);
  auto* caption = new QLabel(tr("Observers under"), this);
  caption->setFont(smallFont());
  scheme_ = new QComboBox(this);
  scheme_->setFont(smallFont());
  scheme_->addItem(tr("the plan's scheme"), QString());
  for (const SchemeFamily* family : all_scheme_families())
    for (const auto id : family->examples)
      if (const auto parsed = parse_scheme(id); parsed && observed(*parsed))
        scheme_->addItem(text(id), text(id));
  scheme_->setToolTip(tr("The scheme whose ranges are compared. The plan is not changed."));
  scheme_->setAccessibleName(tr("Scheme for comparing observers"));
  connect(scheme_, &QComboBox::currentIndexChanged, this, &ObserverPanel::request);
  remark_ = new QLabel(this);
  remark_->setFont(smallFont());
  setRole(remark_, "muted");
  remark_->setMinimumWidth(10);
  head->addWidget(caption);
  head->addWidget(scheme_);
  head->addWidget(remark_, 1);
  column->addLayout(head);

  table_ = new QTableWidget(0, 6, this);
  const struct {
    QString title, tip;
  } columns[] = {
      {tr("Observer"), tr("How the range of a group of values is chosen")},
      {tr("Range"), tr("The widest range of any group")},
      {tr("MSE"), tr("Mean squared error, measured on the codes of the whole tensor")},
      {tr("SQNR"), tr("Signal to quantization noise, measured: 10 log10(Σw² / Σ(w-v)²)")},
      {tr("Theory"), tr("Even rounding errors of variance s²/12, where nothing is clipped: 6.02 b "
                        "+ 4.77 - 20 log10(x_max / σ) dB, x_max as the codes of the groups reach")},
      {tr("Why they differ"), tr("Which assumption of the theory fails for this weight")}};
  for (int i = 0; i < 6; ++i) {
    auto* item = new QTableWidgetItem(columns[i].title);
    item->setToolTip(columns[i].tip);
    table_->setHorizontalHeaderItem(i, item);
  }
  table_->setFont(smallFont());
  table_->horizontalHeader()->setFont(smallFont());
  table_->verticalHeader()->hide();
  table_->verticalHeader()->setDefaultSectionSize(QFontMetrics(smallFont()).height() + space::s);
  table_->horizontalHeader()->setStretchLastSection(true);
  table_->horizontalHeader()->setDefaultAlignment(Qt::AlignLeft | Qt::AlignVCenter);
  // The table fits columns to their contents, which leaves the title out.
  const int title = QFontMetrics(smallFont()).horizontalAdvance(columns[0].title) + 2 * space::m;
  table_->horizontalHeader()->setMinimumSectionSize(title);
  table_->setEditTriggers(QAbstractItemView::NoEditTriggers);
  table_->setSelectionBehavior(QAbstractItemView::SelectRows);
  table_->setSelectionMode(QAbstractItemView::SingleSelection);
  table_->setShowGrid(false);
  table_->setAccessibleName(tr("What each observer would choose"));
  connect(table_, &QTableWidget::itemSelectionChanged, this, [this] {
    if (const auto* view = chosen())
      remark_->setText(QString::fromStdString(view->remark));
    remark_->setToolTip(remark_->text());
    Q_EMIT changed();
  });
  column->addWidget(table_, 1);
  setMinimumHeight(7 * table_->verticalHeader()->defaultSectionSize());
  connect(&workbench_, &Workbench::planChanged, this, [this] {
    if (scheme_->currentIndex() == 0)
      request();
  });
  connect(&workbench_, &Workbench::statisticsChanged, this, &ObserverPanel::request);
}

QString ObserverPanel::scheme() const {
  if (const QString id = scheme_->currentData().toString(); !id.isEmpty())
    return id;
  if (const Plan* plan = workbench_.plan())
    for (const auto& planned : plan->modules)
      if (planned.name == module_.toStdString())
        return QString::fromStdString(planned.scheme.id);
  return {};
}

void ObserverPanel::showModule(const QString& name) {
  module_ = name;
  request();
}

const ObserverView* ObserverPanel::chosen() const {
  const int row = table_->currentRow();
  return row >= 0 && std::size_t(row) < views_.size() ? &views_[std::size_t(row)] : nullptr;
}

void ObserverPanel::request() {
  const auto source = workbench_.checkpoint();
  const Module* module = source ? source->find_module(module_.toStdString()) : nullptr;
  if (!module)
    return fill({});
  const auto parsed = parse_scheme(scheme().toStdString());
  if (!module->weight.scheme.family || module->weight.scheme.quantized)
    return fill(tr("this weight is quantized already"));
  if (!parsed || !observed(*parsed))
    return fill(
        tr("%1 leaves nothing to choose; pick an integer scheme or an 8-bit float").arg(scheme()));
  workbench_.engine().run<std::vector<ObserverView>>(
      QStringLiteral("inspect-observers"), tr("Observers of %1").arg(module_), this,
      [source, module, scheme = *parsed, statistics = workbench_.statistics()](
          Feedback& feedback, Compute& compute) -> Result<std::vector<ObserverView>> {
        std::vector<float> importance;
        if (statistics)
          if (const auto it = statistics->modules.find(module->name);
              it != statistics->modules.end() &&
              std::int64_t(it->second.channel_sum2.size()) == module->weight.cols)
            importance = it->second.importance();
        TRY_ASSIGN(const WeightUse use, module->weight.use());
        const ByRows rows(module->weight);
        return compare_observers((*rows).floats(), scheme, importance, compute, feedback);
      },
      [this, shown = module_](Result<std::vector<ObserverView>> views) {
        if (shown != module_ || (!views && views.error().cancelled()))
          return;
        fill(views ? QString() : QString::fromStdString(views.error().message));
        if (!views)
          return;
        views_ = std::move(*views);
        for (std::size_t i = 0; i < views_.size(); ++i) {
          const ObserverView& view = views_[i];
          const int row = table_->rowCount();
          table_->insertRow(row);
          const bool theory = view.theory_mse > 0;
          const QStringList cells = {
              QString::fromStdString(view.observer),
              QStringLiteral("%1 … %2").arg(formatNumber(double(view.lo), 3),
                                            formatNumber(double(view.hi), 3)),
              formatNumber(view.mse, 3),
              decibels(view.sqnr_db),
              theory ? decibels(view.theory_db) : QStringLiteral("–"),
              QString::fromStdString(view.remark)};
          for (int c = 0; c < cells.size(); ++c) {
            auto* item = new QTableWidgetItem(cells[c]);
            if (c > 0 && c < 5)
              item->setFont(numberFont());
            const auto* observer = find_observer(view.observer);
            item->setToolTip(c == 0   ? text(observer->summary)
                             : c == 4 ? tr("s²/12 = %1, clipped %2 of the values")
                                            .arg(formatNumber(view.theory_mse, 3),
                                                 formatPercent(view.clipped, 3))
                                      : cells[c]);
            table_->setItem(row, c, item);
          }
        }
        for (int c = 0; c < 5; ++c)
          table_->resizeColumnToContents(c);
        // The best one, to begin with.
        int best = -1;
        for (std::size_t i = 0; i < views_.size(); ++i)
          if (best < 0 || views_[i].mse < views_[std::size_t(best)].mse)
            best = int(i);
        if (best >= 0)
          table_->selectRow(best);
        Q_EMIT changed();
      },
      false);
}

void ObserverPanel::fill(const QString& problem) {
  const QSignalBlocker quiet(table_);
  views_.clear();
  table_->setRowCount(0);
  remark_->setText(problem);
  remark_->setToolTip(problem);
  Q_EMIT changed();
}

QString ObserverPanel::csv() const {
  QString out =
      QStringLiteral("observer,low,high,mse,sqnr_db,theory_mse,theory_db,clipped,remark\n");
  for (const ObserverView& view : views_)
    out += QStringLiteral("%1,%2,%3,%4,%5,%6,%7,%8,\"%9\"\n")
               .arg(QString::fromStdString(view.observer))
               .arg(double(view.lo))
               .arg(double(view.hi))
               .arg(view.mse)
               .arg(view.sqnr_db)
               .arg(view.theory_mse)
               .arg(view.theory_db)
               .arg(view.clipped)
               .arg(QString::fromStdString(view.remark));
  return out;
}

} // namespace bitlathe::gui
