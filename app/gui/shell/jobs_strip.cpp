// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/shell/jobs_strip.h"

#include "app/gui/format.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/elided_label.h"

#include <QHBoxLayout>
#include <QProgressBar>
#include <QToolButton>

namespace bitlathe::gui {

namespace {

/// Calibrate over quick jobs: what a person started and waits for.
const JobStatus* mostTelling(const QList<JobStatus>& jobs) {
  const JobStatus* best = nullptr;
  for (const auto& job : jobs) {
    if (!job.visible)
      continue;
    if (job.state == JobState::running)
      return &job;
    if (!best && job.state != JobState::queued && job.tag != QLatin1String("backend"))
      best = &job;
  }
  return best;
}

} // namespace

JobsStrip::JobsStrip(EngineThread& engine, QWidget* parent)
    : QFrame(parent), engine_(engine), mark_(new QLabel(this)), title_(new ElidedLabel(this)),
      step_(new ElidedLabel(this)), time_(new QLabel(this)), queue_(new QLabel(this)),
      bar_(new QProgressBar(this)), cancel_(new QToolButton(this)), log_(new QToolButton(this)) {
  setRole(this, "strip");
  setAccessibleName(tr("Jobs"));
  setRole(step_, "muted");
  setRole(time_, "muted");
  setRole(queue_, "muted");
  step_->setFont(smallFont());
  time_->setFont(smallFont());
  queue_->setFont(smallFont());
  bar_->setRange(0, 1000);
  bar_->setTextVisible(false);
  bar_->setFixedSize(220, 8);
  bar_->setAccessibleName(tr("Progress of the running job"));
  cancel_->setText(tr("Cancel"));
  cancel_->setToolTip(tr("Stop the running job; nothing half done is kept (Ctrl+.)"));
  connect(cancel_, &QToolButton::clicked, this, [this] { engine_.cancel(shown_); });
  log_->setText(tr("Log ▴"));
  log_->setCheckable(true);
  log_->setToolTip(tr("Everything the program had to say, with times (Ctrl+L)"));
  auto* row = new QHBoxLayout(this);
  row->setContentsMargins(space::m, 3, space::s, 3);
  row->setSpacing(space::s);
  row->addWidget(mark_);
  row->addWidget(title_);
  row->addWidget(bar_);
  row->addWidget(time_);
  row->addWidget(cancel_);
  row->addWidget(step_, 1);
  row->addWidget(queue_);
  row->addWidget(log_);
  connect(&engine, &EngineThread::progressed, this, &JobsStrip::refresh);
  connect(&engine, &EngineThread::jobChanged, this, &JobsStrip::refresh);
  connect(&engine, &EngineThread::jobAdded, this, &JobsStrip::refresh);
  refresh();
}

void JobsStrip::refresh() {
  const auto jobs = engine_.jobs();
  const JobStatus* job = mostTelling(jobs);
  const bool running = job && job->state == JobState::running;
  int waiting = 0;
  for (const auto& other : jobs)
    waiting += other.visible && other.state == JobState::queued;
  queue_->setText(waiting > 0 ? tr("%n more waiting", nullptr, waiting) : QString());
  bar_->setVisible(running);
  cancel_->setVisible(running);
  if (!job) {
    shown_ = 0;
    mark_->clear();
    title_->setText(tr("Ready"));
    step_->clear();
    time_->clear();
    return;
  }
  shown_ = job->id;
  title_->setText(job->title);
  switch (job->state) {
  case JobState::done:
    mark_->setText(QStringLiteral("<span style='color:%1'>✓</span>").arg(theme().ok.name()));
    time_->setText(tr("done in %1").arg(formatDuration(job->seconds)));
    step_->clear();
    break;
  case JobState::failed:
    mark_->setText(QStringLiteral("<span style='color:%1'>✕</span>").arg(theme().error.name()));
    time_->setText(tr("failed"));
    step_->setText(job->error);
    break;
  case JobState::cancelled:
    mark_->setText(QStringLiteral("<span style='color:%1'>■</span>").arg(theme().muted.name()));
    time_->setText(tr("cancelled after %1").arg(formatDuration(job->seconds)));
    step_->clear();
    break;
  default:
    mark_->setText(QStringLiteral("<span style='color:%1'>●</span>").arg(theme().accent.name()));
    if (job->total > 0) {
      bar_->setRange(0, 1000);
      bar_->setValue(int(1000.0 * double(std::min(job->done, job->total)) / double(job->total)));
    } else {
      bar_->setRange(0, 0);
    }
    time_->setText(job->eta_seconds >= 0
                       ? tr("%1, about %2 left")
                             .arg(formatDuration(job->seconds), formatDuration(job->eta_seconds))
                       : formatDuration(job->seconds));
    step_->setText(job->step);
  }
  step_->setToolTip(step_->text());
}

} // namespace bitlathe::gui
