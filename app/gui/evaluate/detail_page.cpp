// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/evaluate/detail_page.h"

#include "app/gui/evaluate/breakdown_chart.h"
#include "app/gui/evaluate/figure_list.h"
#include "app/gui/evaluate/worst_tokens.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/save_menu.h"

#include <QComboBox>
#include <QHeaderView>
#include <QSplitter>
#include <QTableView>
#include <QToolButton>
#include <QVBoxLayout>

namespace bitlathe::gui {
namespace {

/// A candidate of the report and the contender it is; index 0 is the original.
struct Found {
  int contender;
  const CompareResult* figures;
};

QList<Found> measuredOnes(const Workbench& workbench) {
  QList<Found> out;
  const CompareReport* report = workbench.compareReport();
  const auto contenders = workbench.contenders();
  std::vector<bool> used(report ? report->models.size() : 0);
  for (int i = 1; i < contenders.size(); ++i)
    for (std::size_t m = 0; m < used.size(); ++m)
      if (!used[m] && report->models[m].tokens > 0 &&
          report->models[m].path == contenders[i].checkpoint->path.string()) {
        used[m] = true;
        out.push_back({i, &report->models[m]});
        break;
      }
  return out;
}

} // namespace

DetailPage::DetailPage(Workbench& workbench, QWidget* parent)
    : QWidget(parent), workbench_(workbench) {
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(0, space::s, 0, 0);
  auto* split = new QSplitter(Qt::Vertical, this);
  split->setChildrenCollapsible(false);
  split->setHandleWidth(space::s);
  column->addWidget(split);
  auto* top = new QSplitter(Qt::Horizontal, split);
  top->setChildrenCollapsible(false);
  top->setHandleWidth(space::s);
  split->addWidget(top);

  figuresCard_ =
      new Card(tr("All figures"), tr("Everything that was measured on these tokens"), top);
  list_ = new FigureListModel(this);
  figures_ = new QTableView(figuresCard_);
  figures_->setModel(list_);
  figures_->setSelectionBehavior(QAbstractItemView::SelectRows);
  figures_->setEditTriggers(QAbstractItemView::NoEditTriggers);
  figures_->setShowGrid(false);
  figures_->setFrameShape(QFrame::NoFrame);
  figures_->setFont(numberFont());
  figures_->setTabKeyNavigation(false);
  figures_->setAccessibleName(tr("All figures"));
  figures_->verticalHeader()->hide();
  figures_->verticalHeader()->setDefaultSectionSize(QFontMetrics(numberFont()).height() + 4);
  figures_->horizontalHeader()->setHighlightSections(false);
  figures_->horizontalHeader()->setSectionResizeMode(QHeaderView::ResizeToContents);
  figures_->horizontalHeader()->setStretchLastSection(true);
  addTableMenu(figures_, QStringLiteral("all-figures"));
  figuresCard_->addBody(figures_);
  top->addWidget(figuresCard_);

  breakdownCard_ = new Card(tr("Where it differs"),
                            tr("Mean KL divergence of parts of the tokens, with standard errors: "
                               "the dashed line is the mean of all"),
                            top);
  candidate_ = new QComboBox(breakdownCard_);
  candidate_->setAccessibleName(tr("Model"));
  candidate_->setToolTip(tr("Which model is looked at here and in the list of worst tokens"));
  connect(candidate_, &QComboBox::activated, this, &DetailPage::showCandidate);
  breakdownCard_->addTool(candidate_);
  parts_ = new QComboBox(breakdownCard_);
  parts_->addItems({tr("by place in the window"), tr("by kind of token")});
  parts_->setAccessibleName(tr("Parts"));
  parts_->setToolTip(tr("Places: more text before a token, a surer guess. Kinds: beginnings of "
                        "words are hard, their ends easy"));
  connect(parts_, &QComboBox::currentIndexChanged, this, &DetailPage::showCandidate);
  breakdownCard_->addTool(parts_);
  auto* measure = new QComboBox(breakdownCard_);
  measure->addItems({tr("KL divergence"), tr("NLL difference")});
  measure->setAccessibleName(tr("Difference measure"));
  measure->setToolTip(tr("Distance of the distributions, or what the text's own token loses"));
  breakdown_ = new BreakdownChart(breakdownCard_);
  breakdown_->setAccessibleName(tr("Divergence by part"));
  connect(measure, &QComboBox::currentIndexChanged, this,
          [this](int index) { breakdown_->setMeasure(BreakdownChart::Measure(index)); });
  breakdownCard_->addTool(measure);
  const auto csv = [this] { return breakdown_->csv(); };
  addPictureMenu(breakdown_, QStringLiteral("where-it-differs"), csv);
  breakdownCard_->addTool(
      makePictureButton(breakdown_, QStringLiteral("where-it-differs"), csv, breakdownCard_));
  breakdownCard_->addBody(breakdown_);
  top->addWidget(breakdownCard_);
  top->setSizes({900, 1300});

  worst_ = new WorstTokensCard(workbench_, split);
  split->addWidget(worst_);
  split->setSizes({1000, 1000});

  for (const auto signal :
       {&Workbench::opened, &Workbench::compareChanged, &Workbench::contendersChanged})
    connect(&workbench_, signal, this, &DetailPage::refresh);
  connect(&Theme::instance(), &Theme::changed, this, &DetailPage::showCandidate);
  refresh();
}

void DetailPage::setBreakdown(int which) { parts_->setCurrentIndex(which); }

void DetailPage::refresh() {
  const QList<Found> found = measuredOnes(workbench_);
  const auto contenders = workbench_.contenders();
  QList<FigureListModel::Candidate> columns;
  const QString chosen = candidate_->currentText();
  candidate_->clear();
  for (const Found& one : found) {
    columns.append({contenders[one.contender].title, one.figures});
    candidate_->addItem(contenders[one.contender].title, one.contender);
  }
  candidate_->setCurrentIndex(std::max(0, candidate_->findText(chosen)));
  candidate_->setVisible(found.size() > 1);
  list_->set(workbench_.compareReport(), columns);
  showCandidate();
}

void DetailPage::showCandidate() {
  const int contender = candidate_->currentData().toInt();
  for (const Found& one : measuredOnes(workbench_))
    if (one.contender == contender) {
      breakdown_->setParts(parts_->currentIndex() == 0 ? one.figures->by_position
                                                       : one.figures->by_class,
                           one.figures->kld_mean, contender);
      // While it runs the list would change under the hand.
      worst_->set(workbench_.contenders()[contender],
                  workbench_.comparing() ? nullptr : one.figures);
      return;
    }
  breakdown_->setParts({}, 0, 1);
  worst_->set({}, nullptr);
}

} // namespace bitlathe::gui
