// SPDX-License-Identifier: GPL-3.0-or-later
// All work of the window runs here, off the GUI thread, from a tagged, coalescing queue: the GUI
// submits closures and gets values back; it never waits. Progress is sampled by a timer, never
// pushed per item. There are two lanes, each with a thread and a Compute of its own: jobs that
// people see in the strip run one after the other; quick look-ups (`visible` false) run beside them
// on the CPU, so that a histogram never waits behind a quantization.
#pragma once

#include "kernels/base/feedback.h"
#include "kernels/base/result.h"
#include "kernels/compute/compute.h"

#include <functional>
#include <memory>
#include <optional>
#include <QObject>
#include <QString>

namespace bitlathe::gui {

using JobId = quint64;

enum class JobState { queued, running, done, failed, cancelled };

/// What the jobs strip shows of one job; sampled values.
struct JobStatus {
  JobId id = 0;
  QString tag, title, step;
  JobState state = JobState::queued;
  bool visible = true; ///< false: quick look-ups (histograms) that need no row in the strip
  quint64 done = 0, total = 0;
  double seconds = 0, eta_seconds = -1; ///< -1: unknown
  QString error;                        ///< text for people when failed
  QString error_code;                   ///< of Error, when failed
};

class EngineThread : public QObject {
  Q_OBJECT
 public:
  explicit EngineThread(QObject* parent = nullptr);
  ~EngineThread() override; ///< asks everything to stop and joins

  /// Queues `work` under `tag`. Queued jobs with the same tag are dropped (their `then` gets
  /// "cancelled"), and a running one with the same tag is asked to stop. `then` runs in the GUI
  /// thread unless `context` died.
  template <class T>
  JobId run(const QString& tag, const QString& title, QObject* context,
            std::function<Result<T>(Feedback&, Compute&)> work, std::function<void(Result<T>)> then,
            bool visible = true) {
    auto slot = std::make_shared<std::optional<Result<T>>>();
    return enqueue(
        tag, title, context, visible,
        [slot, work = std::move(work)](Feedback& f, Compute& c) -> Result<void> {
          slot->emplace(work(f, c));
          return (*slot)->ok() ? Result<void>() : Result<void>((*slot)->error());
        },
        [slot, then = std::move(then)](const Result<void>& outcome) {
          then(outcome.ok() && slot->has_value() ? std::move(**slot) : Result<T>(outcome.error()));
        });
  }

  void cancel(JobId id);
  void cancelAll();
  bool busy() const;
  QList<JobStatus> jobs() const; ///< newest first, finished ones included (at most 100)
  /// "auto", "cpu", "vulkan"; takes effect with the next job. Failure to make a backend falls back
  /// to the CPU and is logged.
  void setBackend(const QString& backend);
  /// `release` is called on the thread of the visible jobs whenever its Compute is about to go
  /// (another backend, the end): what was made with that Compute has to go first. Never removed.
  void beforeComputeDrops(std::function<void()> release);
  QString deviceName() const; ///< of the last job, or of the default before any ran

 Q_SIGNALS:
  void jobAdded(bitlathe::gui::JobId id);
  void jobChanged(bitlathe::gui::JobId id); ///< state changed
  void progressed(); ///< sampled, at most 30 times a second, while a job runs
  void logged(int level, const QString& line); ///< LogLevel; in batches of the sampling timer
  void deviceChanged(const QString& name);

 private:
  JobId enqueue(const QString& tag, const QString& title, QObject* context, bool visible,
                std::function<Result<void>(Feedback&, Compute&)> work,
                std::function<void(const Result<void>&)> then);
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

} // namespace bitlathe::gui
