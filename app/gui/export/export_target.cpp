// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/export/export_target.h"

#include "app/gui/engine_thread.h"
#include "app/gui/format.h"
#include "app/gui/theme.h"

#include <QCheckBox>
#include <QDir>
#include <QDoubleSpinBox>
#include <QFileDialog>
#include <QFileInfo>
#include <QHBoxLayout>
#include <QLabel>
#include <QLineEdit>
#include <QProgressBar>
#include <QPushButton>
#include <QVBoxLayout>

namespace bitlathe::gui {

namespace {

constexpr double gib = 1073741824.0;

QLabel* makeLabel(const QString& text, QWidget* buddy) {
  auto* label = new QLabel(text, buddy->parentWidget());
  label->setFont(smallFont());
  label->setBuddy(buddy);
  label->setToolTip(buddy->toolTip());
  setRole(label, "muted");
  return label;
}

} // namespace

ExportTarget::ExportTarget(QWidget* parent) : QWidget(parent) {
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(0, 0, 0, 0);
  column->setSpacing(space::xs + 2);
  auto* place = new QHBoxLayout;
  place->setSpacing(space::xs + 2);
  folder_ = new QLineEdit(this);
  folder_->setAccessibleName(tr("Target folder"));
  folder_->setToolTip(tr("Where the export is written; made when it is not there"));
  connect(folder_, &QLineEdit::textEdited, this, &ExportTarget::folderEdited);
  place->addWidget(makeLabel(tr("Folder"), folder_));
  place->addWidget(folder_, 1);
  auto* browse = new QPushButton(tr("Browse\u2026"), this);
  browse->setToolTip(tr("Chooses the folder"));
  connect(browse, &QPushButton::clicked, this, &ExportTarget::askFolder);
  place->addWidget(browse);
  column->addLayout(place);

  auto* row = new QHBoxLayout;
  row->setSpacing(space::xs + 2);
  shards_ = new QDoubleSpinBox(this);
  shards_->setRange(0.001, 100000);
  shards_->setDecimals(3);
  shards_->setValue(5);
  shards_->setSuffix(QStringLiteral(" GiB"));
  shards_->setKeyboardTracking(false);
  shards_->setAccessibleName(tr("Largest file"));
  shards_->setToolTip(tr("Weights that are larger are split into several files of at most this "
                         "size, where the format knows of such"));
  connect(shards_, &QDoubleSpinBox::valueChanged, this, &ExportTarget::shardLimitChanged);
  row->addWidget(makeLabel(tr("Files up to"), shards_));
  row->addWidget(shards_);
  row->addStretch(1);
  accept_ = new QCheckBox(this);
  accept_->setToolTip(tr("Warnings stop an export until they are accepted; red findings stop it in "
                         "any case"));
  connect(accept_, &QCheckBox::toggled, this, &ExportTarget::acceptedChanged);
  row->addWidget(accept_);
  export_ = new QPushButton(tr("Export"), this);
  setRole(export_, "primary");
  export_->setMinimumWidth(96);
  connect(export_, &QPushButton::clicked, this, &ExportTarget::exportWanted);
  row->addWidget(export_);
  cancel_ = new QPushButton(tr("Cancel"), this);
  cancel_->setToolTip(tr("Stops the export; nothing half-written stays (Esc)"));
  cancel_->setShortcut(QKeySequence(Qt::Key_Escape));
  connect(cancel_, &QPushButton::clicked, this, &ExportTarget::cancelWanted);
  row->addWidget(cancel_);
  column->addLayout(row);

  running_ = new QWidget(this);
  auto* line = new QHBoxLayout(running_);
  line->setContentsMargins(0, 0, 0, 0);
  bar_ = new QProgressBar(running_);
  bar_->setTextVisible(false);
  bar_->setFixedHeight(6);
  bar_->setRange(0, 1000);
  bar_->setAccessibleName(tr("Progress of the export"));
  line->addWidget(bar_, 1);
  progress_ = makeCaption({}, running_);
  progress_->setWordWrap(false);
  line->addWidget(progress_);
  column->addWidget(running_);
  running_->hide();
  cancel_->hide();
  accept_->hide();
}

QString ExportTarget::folder() const { return folder_->text().trimmed(); }

void ExportTarget::setFolder(const QString& folder) {
  if (folder_->text() != folder)
    folder_->setText(folder);
}

bool ExportTarget::folderTaken() const {
  const QFileInfo info(folder());
  return !folder().isEmpty() && info.exists() &&
         (!info.isDir() ||
          !QDir(folder()).isEmpty(QDir::AllEntries | QDir::Hidden | QDir::NoDotAndDotDot));
}

quint64 ExportTarget::shardLimit() const { return quint64(shards_->value() * gib); }
bool ExportTarget::accepted() const { return accept_->isChecked(); }
void ExportTarget::setAccepted(bool on) { accept_->setChecked(on); }

void ExportTarget::setWarnings(int count) {
  accept_->setVisible(count > 0);
  accept_->setText(count == 1 ? tr("despite the warning") : tr("despite %1 warnings").arg(count));
}

void ExportTarget::setState(bool able, bool running, const QString& why_not) {
  export_->setEnabled(able);
  export_->setVisible(!running);
  cancel_->setVisible(running);
  if (running && running_->isHidden()) {
    bar_->setRange(0, 0);
    progress_->setText(tr("waiting"));
  }
  running_->setVisible(running);
  export_->setText(folderTaken() ? tr("Replace\u2026") : tr("Export"));
  export_->setShortcut(QKeySequence(Qt::CTRL | Qt::Key_Return)); // setText drops it
  export_->setToolTip(
      why_not.isEmpty()
          ? tr("Writes the format, opens it again and compares every tensor (Ctrl+Return)")
          : why_not);
}

void ExportTarget::showProgress(const JobStatus& status) {
  bar_->setRange(0, status.total ? 1000 : 0);
  if (status.total)
    bar_->setValue(int(1000.0 * double(status.done) / double(status.total)));
  progress_->setText(
      status.eta_seconds > 0
          ? tr("%1 \u00b7 %2 left").arg(status.step, formatDuration(status.eta_seconds))
          : status.step);
}

void ExportTarget::askFolder() {
  QString from = folder();
  while (!from.isEmpty() && !QFileInfo(from).isDir() && QFileInfo(from).path() != from)
    from = QFileInfo(from).path();
  auto* dialog = new QFileDialog(this, tr("Export to"), from);
  dialog->setAttribute(Qt::WA_DeleteOnClose);
  dialog->setFileMode(QFileDialog::Directory);
  dialog->setOption(QFileDialog::ShowDirsOnly);
  connect(dialog, &QFileDialog::fileSelected, this, [this](const QString& chosen) {
    folder_->setText(chosen);
    Q_EMIT folderEdited(chosen);
  });
  dialog->open();
}

} // namespace bitlathe::gui
