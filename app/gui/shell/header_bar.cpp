// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/shell/header_bar.h"

#include "app/gui/format.h"
#include "app/gui/stage.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/elided_label.h"
#include "app/gui/workbench.h"

#include <QButtonGroup>
#include <QGridLayout>
#include <QHBoxLayout>
#include <QLabel>
#include <QPushButton>
#include <QTimer>

namespace bitlathe::gui {

namespace {

/// The types of the matrices, most bytes first: "bf16" or "int4-g128-asym, bf16".
QString typesOf(const Checkpoint& checkpoint) {
  QList<std::pair<quint64, QString>> types;
  for (const auto& module : checkpoint.modules) {
    const QString id = QString::fromStdString(module.weight.scheme.id);
    const auto it = std::find_if(types.begin(), types.end(),
                                 [&](const auto& type) { return type.second == id; });
    if (it == types.end())
      types.append({module.bytes(), id});
    else
      it->first += module.bytes();
  }
  std::sort(types.begin(), types.end(), std::greater<>());
  QStringList names;
  for (const auto& [bytes, id] : types)
    names.append(id);
  if (names.size() > 3)
    names = names.mid(0, 3) + QStringList{QStringLiteral("…")};
  return names.join(QStringLiteral(", "));
}

} // namespace

HeaderBar::HeaderBar(Workbench& workbench, QWidget* parent)
    : QFrame(parent), workbench_(workbench), name_(new ElidedLabel(this)),
      facts_(new ElidedLabel(this)), device_(new ElidedLabel(this)), memory_(new QLabel(this)),
      stages_(new QButtonGroup(this)) {
  setRole(this, "header");
  setAccessibleName(tr("Header"));
  name_->setFont(titleFont());
  facts_->setFont(smallFont());
  setRole(facts_, "muted");
  device_->setFont(smallFont());
  device_->setAlignment(Qt::AlignRight | Qt::AlignVCenter);
  setRole(device_, "muted");
  memory_->setFont(smallFont());
  memory_->setAlignment(Qt::AlignRight | Qt::AlignVCenter);
  setRole(memory_, "muted");
  memory_->setToolTip(tr("Memory that this program holds by itself (anonymous and shared pages), "
                         "and its peak. Pages of mapped checkpoints are counted apart: the system "
                         "takes them back whenever it wants."));

  auto* switcher = new QFrame(this);
  setRole(switcher, "segments");
  auto* row = new QHBoxLayout(switcher);
  row->setContentsMargins(3, 3, 3, 3);
  row->setSpacing(2);
  stages_->setExclusive(true);
  int index = 0;
  for (const auto* stage : all_stages()) {
    auto* button = new QPushButton(tr(stage->title), switcher);
    button->setCheckable(true);
    button->setToolTip(tr("%1 (Ctrl+%2)").arg(tr(stage->summary)).arg(index + 1));
    button->setAccessibleName(tr("Stage %1").arg(tr(stage->title)));
    setRole(button, "segment");
    stages_->addButton(button, index++);
    row->addWidget(button);
  }
  connect(stages_, &QButtonGroup::idClicked, this, &HeaderBar::stageChosen);

  auto* left = new QVBoxLayout;
  left->setSpacing(0);
  left->addWidget(name_);
  left->addWidget(facts_);
  auto* right = new QVBoxLayout;
  right->setSpacing(0);
  right->addWidget(device_);
  right->addWidget(memory_);
  auto* grid = new QGridLayout(this);
  grid->setContentsMargins(space::m, 6, space::m, 6);
  grid->setHorizontalSpacing(space::l);
  grid->addLayout(left, 0, 0);
  grid->addWidget(switcher, 0, 1, Qt::AlignCenter);
  grid->addLayout(right, 0, 2);
  grid->setColumnStretch(0, 1);
  grid->setColumnStretch(2, 1);

  connect(&workbench, &Workbench::opened, this, &HeaderBar::showModel);
  connect(&workbench, &Workbench::modifiedChanged, this, &HeaderBar::showModel);
  connect(&workbench.engine(), &EngineThread::deviceChanged, this, &HeaderBar::showDevice);
  auto* timer = new QTimer(this);
  timer->setInterval(1000);
  connect(timer, &QTimer::timeout, this, &HeaderBar::showMemory);
  timer->start();
  showModel();
  showDevice();
  showMemory();
}

void HeaderBar::setStage(int index) {
  if (auto* button = stages_->button(index))
    button->setChecked(true);
}

void HeaderBar::showModel() {
  const auto& model = workbench_.checkpoint();
  if (!model) {
    name_->setText(tr("Bitlathe"));
    facts_->setText(tr("no checkpoint open"));
    return;
  }
  name_->setText(QString::fromStdString(model->name) + (workbench_.modified() ? " •" : ""));
  name_->setToolTip(QString::fromStdString(model->path.string()));
  facts_->setText(QStringLiteral("%1 · %2 · %3 · %4")
                      .arg(QString::fromStdString(model->architecture),
                           tr("%1 parameters").arg(formatCount(double(model->parameters()))),
                           formatBytes(model->bytes()), typesOf(*model)));
  facts_->setToolTip(tr("%1\nArchitecture, parameters, bytes of all tensors and how they are "
                        "stored (%2 format)")
                         .arg(facts_->text(), QString::fromStdString(model->format)));
}

void HeaderBar::showDevice() {
  const QString device = workbench_.engine().deviceName();
  device_->setText(device.isEmpty() ? tr("looking for devices …") : device);
  device_->setToolTip(tr("Where jobs compute: %1. The menu Compute chooses.").arg(device));
}

void HeaderBar::showMemory() {
  const MemoryUse use = memory_use();
  memory_->setText(
      tr("%1 in use, peak %2").arg(formatBytes(use.rss_bytes), formatBytes(peak_rss_bytes())));
}

} // namespace bitlathe::gui
