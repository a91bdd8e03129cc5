// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/shell/details_panel.h"

#include "app/gui/format.h"
#include "app/gui/inspect/checkpoint_panel.h"
#include "app/gui/inspect/second_errors.h"
#include "app/gui/inspect/tensor_lookup.h"
#include "app/gui/shell/statistics_model.h"
#include "app/gui/theme.h"
#include "app/gui/tree/module_menu.h"
#include "app/gui/widgets/delegates.h"
#include "app/gui/widgets/save_menu.h"

#include <QHBoxLayout>
#include <QHeaderView>
#include <QLabel>
#include <QMenu>
#include <QPainter>
#include <QPushButton>
#include <QSet>
#include <QTableView>
#include <QTabWidget>
#include <QTimer>
#include <QVBoxLayout>

namespace bitlathe::gui {

namespace {

/// "bf16 → int4-g128-asym" as chips.
class ChipLine : public QWidget {
 public:
  explicit ChipLine(Workbench& workbench, QWidget* parent) : QWidget(parent), bench_(workbench) {
    setFixedHeight(24);
    setAccessibleName(tr("Stored and planned precision"));
    setToolTip(tr("Number type in the checkpoint, and the scheme that the plan gives"));
  }

 protected:
  void paintEvent(QPaintEvent*) override {
    if (!bench_.checkpoint())
      return;
    const auto* module = bench_.checkpoint()->find_module(bench_.current().toStdString());
    if (!module)
      return;
    QPainter painter(this);
    const QString source = QString::fromStdString(module->weight.scheme.id);
    int x = 0;
    const auto chip = [&](const QString& text, double bits) {
      const int width = QFontMetrics(smallFont()).horizontalAdvance(text) + 16;
      paintChip(painter, QRect(x, 0, std::min(width, this->width() - x), height()), text, bits);
      x += width + 4;
    };
    chip(source, module->weight.scheme.bits);
    const auto* planned = bench_.plan() ? bench_.plan()->find(module->name) : nullptr;
    if (!planned || planned->scheme == module->weight.scheme)
      return;
    painter.setPen(theme().muted);
    painter.drawText(QRect(x, 0, 18, height()), Qt::AlignCenter, QStringLiteral("→"));
    x += 20;
    chip(QString::fromStdString(planned->scheme.id), planned->scheme.bits);
  }

 private:
  Workbench& bench_;
};

QPushButton* menuButton(const QString& text, const QString& tooltip, QWidget* parent) {
  auto* button = new QPushButton(text, parent);
  button->setToolTip(tooltip);
  button->setMenu(new QMenu(button));
  return button;
}

} // namespace

DetailsPanel::DetailsPanel(Workbench& workbench, QWidget* parent)
    : QWidget(parent), workbench_(workbench), title_(makeTitle({}, this)),
      facts_(makeCaption({}, this)), reason_(makeCaption({}, this)), sizes_(new QLabel(this)),
      figures_(makeCaption({}, this)), second_(makeCaption({}, this)),
      chips_(new ChipLine(workbench, this)),
      precision_(menuButton(tr("Precision"),
                            tr("Choose how the values of the selected modules are stored"), this)),
      method_(menuButton(tr("Method"), tr("Choose how the codes are found"), this)),
      exclude_(new QPushButton(tr("Exclude"), this)), statistics_(new StatisticsModel(this)),
      table_(new QTableView(this)), tabs_(new QTabWidget(this)),
      checkpoint_(new CheckpointPanel(workbench, this)) {
  setRole(this, "panel");
  setAttribute(Qt::WA_StyledBackground);
  title_->setWordWrap(true);
  title_->setTextInteractionFlags(Qt::TextSelectableByMouse);
  exclude_->setToolTip(tr("Keep the source type of the selected modules, whatever the rules say"));
  connect(precision_->menu(), &QMenu::aboutToShow, this, [this] {
    precision_->menu()->clear();
    fillSchemeMenu(precision_->menu(), {}, [this](const QString& id) {
      workbench_.setModules(workbench_.selection(), id, {});
    });
  });
  connect(method_->menu(), &QMenu::aboutToShow, this, [this] {
    method_->menu()->clear();
    fillMethodMenu(method_->menu(), {}, [this](const QString& id) {
      workbench_.setModules(workbench_.selection(), {}, id);
    });
  });
  connect(exclude_, &QPushButton::clicked, this, [this] {
    const Plan* plan = workbench_.plan();
    const auto* planned = plan ? plan->find(workbench_.current().toStdString()) : nullptr;
    workbench_.setExcluded(workbench_.selection(), planned && planned->quantize);
  });

  table_->setModel(statistics_);
  table_->verticalHeader()->hide();
  table_->verticalHeader()->setDefaultSectionSize(21);
  table_->horizontalHeader()->setSectionResizeMode(QHeaderView::Stretch);
  table_->horizontalHeader()->setDefaultAlignment(Qt::AlignRight | Qt::AlignVCenter);
  table_->setShowGrid(false);
  table_->setSelectionMode(QAbstractItemView::ContiguousSelection);
  table_->setAccessibleName(tr("Statistics of the weight"));
  setRole(table_, "bare");
  addTableMenu(table_, QStringLiteral("statistics"));

  auto* buttons = new QHBoxLayout;
  buttons->setSpacing(space::xs);
  buttons->addWidget(precision_, 3);
  buttons->addWidget(method_, 3);
  buttons->addWidget(exclude_, 2);
  auto* layer = new QWidget(tabs_);
  auto* column = new QVBoxLayout(layer);
  column->setContentsMargins(space::m, space::s, space::s, space::s);
  column->setSpacing(space::xs);
  column->addWidget(title_);
  column->addWidget(facts_);
  column->addSpacing(space::xs);
  column->addWidget(chips_);
  column->addWidget(sizes_);
  column->addWidget(reason_);
  column->addWidget(figures_);
  column->addWidget(second_);
  column->addSpacing(space::xs);
  column->addLayout(buttons);
  column->addSpacing(space::s);
  column->addWidget(table_, 1);
  tabs_->setDocumentMode(true);
  tabs_->addTab(layer, tr("Layer"));
  tabs_->setTabToolTip(0, tr("The selected layer"));
  tabs_->addTab(checkpoint_, tr("Checkpoint"));
  tabs_->setTabToolTip(1, tr("The checkpoint as a whole: formats, configuration, notes, metadata"));
  auto* outer = new QVBoxLayout(this);
  outer->setContentsMargins(0, 0, 0, 0);
  outer->addWidget(tabs_);

  for (const auto signal : {&Workbench::opened, &Workbench::selectionChanged,
                            &Workbench::planChanged, &Workbench::resultsChanged})
    connect(&workbench, signal, this, &DetailsPanel::refresh);
  auto& errors = SecondErrors::of(workbench);
  connect(&errors, &SecondErrors::changed, this, &DetailsPanel::showSecond);
  connect(&workbench, &Workbench::secondChanged, this, &DetailsPanel::refresh);
  connect(&TensorLookup::of(workbench), &TensorLookup::ready, this, [this](const QString& module) {
    if (module == workbench_.current())
      showStatistics();
  });
  refresh();
}

void DetailsPanel::refresh() {
  const auto& model = workbench_.checkpoint();
  const auto& selection = workbench_.selection();
  const Module* module = model ? model->find_module(workbench_.current().toStdString()) : nullptr;
  const bool any = module != nullptr;
  for (QWidget* widget : {static_cast<QWidget*>(precision_), static_cast<QWidget*>(method_),
                          static_cast<QWidget*>(exclude_)})
    widget->setEnabled(any && workbench_.plan());
  chips_->update();
  if (!any) {
    title_->setText(tr("Nothing selected"));
    facts_->setText(tr("Pick a layer in the tree. Every view follows the selection."));
    for (auto* label : {reason_, sizes_, figures_, second_})
      label->clear();
    statistics_->set(nullptr, nullptr);
    return;
  }
  quint64 before = 0, after = 0;
  qint64 parameters = 0;
  // One pass over the model, however many modules are selected; plans keep its order.
  const QSet<QString> chosen(selection.begin(), selection.end());
  const Plan* plan = workbench_.plan();
  for (std::size_t i = 0; i < model->modules.size(); ++i) {
    const Module& m = model->modules[i];
    if (!chosen.contains(QString::fromStdString(m.name)))
      continue;
    before += m.bytes();
    parameters += m.parameters();
    if (plan && i < plan->modules.size())
      after += plan->modules[i].bytes_after;
  }
  const PlannedModule* planned =
      workbench_.plan() ? workbench_.plan()->find(module->name) : nullptr;
  QString name = QString::fromStdString(module->name);
  name.replace('.', QStringLiteral(".\u200b")); // may break after dots
  title_->setText(selection.size() > 1
                      ? tr("%1\nand %n more", nullptr, int(selection.size()) - 1).arg(name)
                      : name);
  facts_->setText(selection.size() > 1
                      ? tr("%1 parameters in %2 modules")
                            .arg(formatCount(double(parameters)))
                            .arg(selection.size())
                      : tr("%1 · %2 · %3 parameters")
                            .arg(QString::fromStdString(module->role), formatShape(module->shape),
                                 formatCount(double(parameters))));
  sizes_->setText(after > 0 ? tr("%1 → %2  (%3)")
                                  .arg(formatBytes(before), formatBytes(after),
                                       formatPercent(double(after) / double(before), 0))
                            : formatBytes(before));
  sizes_->setToolTip(tr("Bytes in the checkpoint, and what the plan predicts"));
  reason_->setText(planned
                       ? tr("%1%2").arg(planned->method.empty()
                                            ? QString()
                                            : QString::fromStdString(planned->method) + tr(", by "),
                                        QString::fromStdString(planned->reason))
                       : workbench_.planError());
  reason_->setToolTip(tr("Method, and why the plan treats the module so"));
  exclude_->setText(planned && !planned->quantize ? tr("Include") : tr("Exclude"));
  QString figures;
  for (const auto& result : workbench_.moduleResults())
    if (result.name == module->name && result.quantized)
      figures =
          tr("Stored: SQNR %1 dB, MSE %2, cosine %3, largest error %4")
              .arg(QString::number(result.sqnr_db, 'f', 2), formatNumber(result.mse, 3),
                   formatNumber(result.cosine, 6), formatNumber(double(result.max_abs_error), 3));
  figures_->setText(figures);
  figures_->setVisible(!figures.isEmpty());
  showStatistics();
  showSecond();
  // After the pictures of the stage have asked for what they need: those are waited for.
  QTimer::singleShot(0, this, [this] {
    TensorLookup::of(workbench_).request(workbench_.current());
    SecondErrors::of(workbench_).request(workbench_.current());
  });
}

void DetailsPanel::showCheckpoint(bool whole) { tabs_->setCurrentIndex(whole ? 1 : 0); }

void DetailsPanel::showSecond() {
  const auto& second = workbench_.second();
  const auto* error = SecondErrors::of(workbench_).find(workbench_.current());
  second_->setVisible(second != nullptr && !workbench_.current().isEmpty());
  if (!second)
    return;
  const Module* other = workbench_.secondModule(workbench_.current());
  QString text =
      tr("<span style='color:%1'>■</span> %2%3: ")
          .arg(theme().second.name(), QString::fromStdString(second->name).toHtmlEscaped(),
               other ? QStringLiteral(" ") + QString::fromStdString(other->weight.scheme.id)
                     : QString());
  text += error ? errorText(*error).toHtmlEscaped() : tr("measuring …");
  second_->setText(text);
}

void DetailsPanel::showStatistics() {
  const auto& lookup = TensorLookup::of(workbench_);
  statistics_->set(lookup.find(workbench_.current(), TensorLookup::original),
                   lookup.find(workbench_.current(), TensorLookup::stored),
                   lookup.find(workbench_.current(), TensorLookup::second));
}

} // namespace bitlathe::gui
