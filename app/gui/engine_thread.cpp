// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/engine_thread.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <new>
#include <QPointer>
#include <QTimer>
#include <thread>

namespace bitlathe::gui {

namespace {

constexpr int sampling_ms = 33;
constexpr int kept_jobs = 100;
constexpr std::size_t kept_lines = 2000; ///< per sample; more are counted, not shown

qint64 now_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

struct Job {
  JobId id = 0;
  QString tag, title;
  bool visible = true, has_context = false;
  QPointer<QObject> context; ///< GUI thread only
  std::function<Result<void>(Feedback&, Compute&)> work;
  std::function<void(const Result<void>&)> then;
  Feedback feedback;
  std::atomic<JobState> state{JobState::queued};
  std::atomic<bool> superseded{false};
  std::atomic<qint64> started_us{0}, ended_us{0};
  QString error, error_code; ///< GUI thread only
};
using JobPtr = std::shared_ptr<Job>;

struct Lane {
  std::thread thread;
  std::condition_variable wake;
  std::deque<JobPtr> queue; ///< under Impl::mutex
  JobPtr running;           ///< under Impl::mutex
  bool follows_backend = true;
  // Owned by the lane's thread:
  std::unique_ptr<Compute> compute;
  std::string made_for;
  std::size_t notes_seen = 0;
};

} // namespace

struct EngineThread::Impl {
  explicit Impl(EngineThread* o) : owner(o) {}

  EngineThread* owner;
  mutable std::mutex mutex;
  Lane work, look;
  std::string backend = "auto";                ///< under mutex
  bool stopping = false;                       ///< under mutex
  std::vector<std::function<void()>> releases; ///< under mutex
  std::vector<std::pair<LogLevel, std::string>> lines;
  std::size_t lines_dropped = 0;
  // GUI thread only:
  std::deque<JobPtr> jobs; ///< newest first
  JobId next = 1;
  QString device;
  QTimer timer;

  void log(LogLevel level, const std::string& line) {
    const std::lock_guard lock(mutex);
    if (lines.size() < kept_lines)
      lines.emplace_back(level, line);
    else
      ++lines_dropped;
  }

  void flush() {
    std::vector<std::pair<LogLevel, std::string>> taken;
    std::size_t dropped = 0;
    {
      const std::lock_guard lock(mutex);
      taken.swap(lines);
      std::swap(dropped, lines_dropped);
    }
    for (const auto& [level, line] : taken)
      Q_EMIT owner->logged(int(level), QString::fromStdString(line));
    if (dropped)
      Q_EMIT owner->logged(int(LogLevel::info),
                           EngineThread::tr("%1 more lines were left out").arg(dropped));
  }

  void tick() {
    flush();
    Q_EMIT owner->progressed();
    if (!owner->busy())
      timer.stop();
  }

  template <class F> void post(F&& f) {
    QMetaObject::invokeMethod(owner, std::forward<F>(f), Qt::QueuedConnection);
  }

  /// In the lane's thread.
  void drop_compute(Lane& lane) {
    if (lane.compute && lane.follows_backend) {
      std::vector<std::function<void()>> now;
      {
        const std::lock_guard lock(mutex);
        now = releases;
      }
      for (const auto& release : now)
        release();
    }
    lane.compute.reset();
  }

  /// In the lane's thread: the Compute for the backend that is wanted now.
  Result<Compute*> ready_compute(Lane& lane) {
    std::string wanted = "cpu";
    if (lane.follows_backend) {
      const std::lock_guard lock(mutex);
      wanted = backend;
    }
    if (lane.compute && lane.made_for == wanted)
      return lane.compute.get();
    drop_compute(lane);
    lane.notes_seen = 0;
    auto made = make_compute(wanted);
    if (!made && wanted != "cpu") {
      log(LogLevel::warning,
          "Backend \"" + wanted + "\" cannot be used: " + made.error().text() + ". Using the CPU.");
      made = make_compute("cpu");
    }
    if (!made)
      return made.error();
    lane.compute = std::move(*made);
    lane.made_for = wanted;
    if (lane.follows_backend) {
      const auto& info = lane.compute->device();
      post([this, name = QString::fromStdString(info.name)] {
        if (device == name)
          return;
        device = name;
        Q_EMIT owner->deviceChanged(name);
      });
    }
    return lane.compute.get();
  }

  Result<void> execute(Lane& lane, Job& job) {
    if (job.feedback.stopped())
      return cancelled_error();
    TRY_ASSIGN(Compute * compute, ready_compute(lane));
    try {
      auto outcome = job.work(job.feedback, *compute);
      const auto notes = compute->notes();
      for (; lane.notes_seen < notes.size(); ++lane.notes_seen)
        log(LogLevel::warning, notes[lane.notes_seen]);
      return outcome;
    } catch (const std::bad_alloc&) {
      return Error{"out-of-memory", "There is not enough memory for this", job.title.toStdString()};
    } catch (const std::exception& e) {
      return Error{"internal", e.what(), job.title.toStdString()};
    }
  }

  void loop(Lane& lane) {
    if (lane.follows_backend)
      if (auto made = ready_compute(lane); !made)
        log(LogLevel::error, made.error().text());
    while (true) {
      JobPtr job;
      {
        std::unique_lock lock(mutex);
        lane.wake.wait(lock, [&] { return stopping || !lane.queue.empty(); });
        if (stopping)
          break;
        job = lane.queue.front();
        lane.queue.pop_front();
        lane.running = job;
      }
      job->started_us = now_us();
      job->state = JobState::running;
      post([this, job] { Q_EMIT owner->jobChanged(job->id); });
      auto outcome = execute(lane, *job);
      if (job->superseded && outcome.ok())
        outcome = cancelled_error();
      job->ended_us = now_us();
      job->work = nullptr;
      {
        const std::lock_guard lock(mutex);
        lane.running.reset();
      }
      post([this, job, outcome = std::move(outcome)] { finish(*job, outcome); });
    }
    drop_compute(lane);
  }

  /// GUI thread.
  void finish(Job& job, const Result<void>& outcome) {
    flush();
    job.state = outcome.ok()                  ? JobState::done
                : outcome.error().cancelled() ? JobState::cancelled
                                              : JobState::failed;
    if (job.state == JobState::failed) {
      job.error = QString::fromStdString(outcome.error().text());
      job.error_code = QString::fromStdString(outcome.error().code);
    }
    if (const auto then = std::exchange(job.then, nullptr);
        then && (!job.has_context || job.context))
      then(outcome);
    Q_EMIT owner->jobChanged(job.id);
    Q_EMIT owner->progressed();
  }

  Lane& lane_of(const Job& job) { return job.visible ? work : look; }

  /// GUI thread: takes a queued job out, or asks a running one to stop.
  void stop(const JobPtr& job) {
    job->feedback.stop = true;
    bool removed = false;
    {
      const std::lock_guard lock(mutex);
      auto& queue = lane_of(*job).queue;
      const auto it = std::find(queue.begin(), queue.end(), job);
      removed = it != queue.end();
      if (removed)
        queue.erase(it);
    }
    if (removed) {
      job->work = nullptr;
      post([this, job] { finish(*job, cancelled_error()); });
    }
  }

  static bool active(const Job& job) {
    const auto state = job.state.load();
    return state == JobState::queued || state == JobState::running;
  }
};

EngineThread::EngineThread(QObject* parent) : QObject(parent), impl_(std::make_unique<Impl>(this)) {
  impl_->timer.setInterval(sampling_ms);
  connect(&impl_->timer, &QTimer::timeout, this, [this] { impl_->tick(); });
  impl_->look.follows_backend = false;
  impl_->work.thread = std::thread([this] { impl_->loop(impl_->work); });
  impl_->look.thread = std::thread([this] { impl_->loop(impl_->look); });
  impl_->timer.start(); // shows what making the backend had to say
}

EngineThread::~EngineThread() {
  for (const auto& job : impl_->jobs)
    job->feedback.stop = true;
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->stopping = true;
  }
  impl_->work.wake.notify_all();
  impl_->look.wake.notify_all();
  impl_->work.thread.join();
  impl_->look.thread.join();
}

JobId EngineThread::enqueue(const QString& tag, const QString& title, QObject* context,
                            bool visible, std::function<Result<void>(Feedback&, Compute&)> work,
                            std::function<void(const Result<void>&)> then) {
  if (!tag.isEmpty())
    for (const auto& other : impl_->jobs)
      if (other->tag == tag && Impl::active(*other)) {
        other->superseded = true;
        impl_->stop(other);
      }
  auto job = std::make_shared<Job>();
  job->id = impl_->next++;
  job->tag = tag;
  job->title = title;
  job->visible = visible;
  job->has_context = context != nullptr;
  job->context = context;
  job->work = std::move(work);
  job->then = std::move(then);
  job->feedback.set_sink(
      [this](LogLevel level, const std::string& line) { impl_->log(level, line); });
  impl_->jobs.push_front(job);
  for (auto it = impl_->jobs.end(); impl_->jobs.size() > kept_jobs && it != impl_->jobs.begin();)
    if (--it; !Impl::active(**it))
      it = impl_->jobs.erase(it);
  Lane& lane = impl_->lane_of(*job);
  {
    const std::lock_guard lock(impl_->mutex);
    lane.queue.push_back(job);
  }
  lane.wake.notify_one();
  if (!impl_->timer.isActive())
    impl_->timer.start();
  Q_EMIT jobAdded(job->id);
  return job->id;
}

void EngineThread::cancel(JobId id) {
  for (const auto& job : impl_->jobs)
    if (job->id == id && Impl::active(*job)) {
      impl_->stop(job);
      return;
    }
}

void EngineThread::cancelAll() {
  const auto jobs = impl_->jobs;
  for (const auto& job : jobs)
    if (Impl::active(*job))
      impl_->stop(job);
}

bool EngineThread::busy() const {
  return std::any_of(impl_->jobs.begin(), impl_->jobs.end(),
                     [](const JobPtr& job) { return Impl::active(*job); });
}

QList<JobStatus> EngineThread::jobs() const {
  QList<JobStatus> list;
  const qint64 now = now_us();
  for (const auto& job : impl_->jobs) {
    JobStatus status;
    status.id = job->id;
    status.tag = job->tag;
    status.title = job->title;
    status.step = QString::fromStdString(job->feedback.step());
    status.state = job->state;
    status.visible = job->visible;
    status.done = job->feedback.done;
    status.total = job->feedback.total;
    status.error = job->error;
    status.error_code = job->error_code;
    if (const qint64 start = job->started_us; start > 0) {
      const qint64 end = job->ended_us;
      status.seconds = double((end > 0 ? end : now) - start) * 1e-6;
    }
    if (status.state == JobState::running && status.done > 0 && status.total >= status.done &&
        status.seconds > 0.5)
      status.eta_seconds =
          status.seconds * double(status.total - status.done) / double(status.done);
    list.append(status);
  }
  return list;
}

void EngineThread::setBackend(const QString& backend) {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->backend = backend.toStdString();
  }
  // Made at once on the lane's thread, so that the window shows the device before the next job.
  run<int>(
      QStringLiteral("backend"), tr("Preparing %1").arg(backend), this,
      [](Feedback&, Compute&) -> Result<int> { return 0; }, [](const Result<int>&) {});
}

void EngineThread::beforeComputeDrops(std::function<void()> release) {
  const std::lock_guard lock(impl_->mutex);
  impl_->releases.push_back(std::move(release));
}

QString EngineThread::deviceName() const { return impl_->device; }

} // namespace bitlathe::gui
