// SPDX-License-Identifier: GPL-3.0-or-later
// The engine thread: results come back in the GUI thread, tags coalesce, cancelling works at every
// moment, look-ups do not wait behind jobs, and nothing is delivered to the dead.
#include "app/gui/engine_thread.h"

#include <atomic>
#include <QSignalSpy>
#include <QStandardPaths>
#include <QTest>
#include <QThread>
#include <thread>

using namespace bitlathe;
using namespace bitlathe::gui;

namespace {

/// Waits until told to stop; says that it started.
std::function<Result<int>(Feedback&, Compute&)> until_stopped(std::atomic<bool>& started) {
  return [&started](Feedback& feedback, Compute&) -> Result<int> {
    started = true;
    while (!feedback.stopped())
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return cancelled_error();
  };
}

JobStatus status_of(const EngineThread& engine, JobId id) {
  for (const auto& job : engine.jobs())
    if (job.id == id)
      return job;
  return {};
}

} // namespace

class EngineThreadTest : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void initTestCase() { QStandardPaths::setTestModeEnabled(true); }
  void values_come_back_in_the_gui_thread();
  void errors_are_values();
  void exceptions_become_errors();
  void same_tag_replaces();
  void running_job_with_the_same_tag_is_stopped();
  void cancel_queued_and_running();
  void context_that_died_gets_nothing();
  void lookups_overtake_jobs();
  void progress_is_sampled();
  void destruction_joins();
  void unusable_backend_falls_back();
};

void EngineThreadTest::values_come_back_in_the_gui_thread() {
  EngineThread engine;
  int got = 0;
  QThread *worked_in = nullptr, *answered_in = nullptr;
  const JobId id = engine.run<int>(
      "t", "seven", this,
      [&](Feedback&, Compute&) -> Result<int> {
        worked_in = QThread::currentThread();
        return 7;
      },
      [&](Result<int> result) {
        got = *result;
        answered_in = QThread::currentThread();
      });
  QTRY_COMPARE(got, 7);
  QVERIFY(worked_in != answered_in);
  QCOMPARE(answered_in, QThread::currentThread());
  QCOMPARE(status_of(engine, id).state, JobState::done);
  QVERIFY(!engine.busy());
}

void EngineThreadTest::errors_are_values() {
  EngineThread engine;
  QString code;
  const JobId id = engine.run<int>(
      "t", "fails", this,
      [](Feedback&, Compute&) -> Result<int> {
        return Error{"bad-file", "Broken", "a.bin"};
      },
      [&](Result<int> result) { code = QString::fromStdString(result.error().code); });
  QTRY_COMPARE(code, QString("bad-file"));
  QCOMPARE(status_of(engine, id).state, JobState::failed);
  QCOMPARE(status_of(engine, id).error, QString("Broken (a.bin)"));
}

void EngineThreadTest::exceptions_become_errors() {
  EngineThread engine;
  QStringList codes;
  engine.run<int>(
      "a", "throws", this,
      [](Feedback&, Compute&) -> Result<int> { throw std::runtime_error("odd"); },
      [&](Result<int> result) { codes += QString::fromStdString(result.error().code); });
  engine.run<int>(
      "b", "runs out", this, [](Feedback&, Compute&) -> Result<int> { throw std::bad_alloc(); },
      [&](Result<int> result) { codes += QString::fromStdString(result.error().code); });
  QTRY_COMPARE(codes, (QStringList{"internal", "out-of-memory"}));
}

void EngineThreadTest::same_tag_replaces() {
  EngineThread engine;
  std::atomic<bool> started{false};
  std::atomic<int> ran{0};
  int cancelled = 0, last = -1;
  const JobId blocker =
      engine.run<int>("blocker", "blocks", this, until_stopped(started), [](Result<int>) {});
  QTRY_VERIFY(started.load());
  for (int i = 0; i < 50; ++i)
    engine.run<int>(
        "slider", "moves", this,
        [&ran, i](Feedback&, Compute&) -> Result<int> {
          ++ran;
          return i;
        },
        [&](Result<int> result) {
          if (result)
            last = *result;
          else
            cancelled += result.error().cancelled();
        });
  engine.cancel(blocker);
  QTRY_COMPARE(last, 49);
  QCOMPARE(ran.load(), 1);
  QTRY_COMPARE(cancelled, 49);
}

void EngineThreadTest::running_job_with_the_same_tag_is_stopped() {
  EngineThread engine;
  std::atomic<bool> started{false};
  bool first_cancelled = false;
  int second = 0;
  engine.run<int>("x", "first", this, until_stopped(started), [&](Result<int> result) {
    first_cancelled = !result && result.error().cancelled();
  });
  QTRY_VERIFY(started.load());
  engine.run<int>(
      "x", "second", this, [](Feedback&, Compute&) -> Result<int> { return 2; },
      [&](Result<int> result) { second = *result; });
  QTRY_COMPARE(second, 2);
  QVERIFY(first_cancelled);
}

void EngineThreadTest::cancel_queued_and_running() {
  EngineThread engine;
  std::atomic<bool> started{false}, never{false};
  int answers = 0;
  const auto count = [&](Result<int> result) { answers += result.error().cancelled(); };
  const JobId running = engine.run<int>("a", "runs", this, until_stopped(started), count);
  const JobId queued = engine.run<int>(
      "b", "waits", this,
      [&](Feedback&, Compute&) -> Result<int> {
        never = true;
        return 0;
      },
      count);
  QTRY_VERIFY(started.load());
  engine.cancel(queued);
  QTRY_COMPARE(answers, 1);
  QCOMPARE(status_of(engine, queued).state, JobState::cancelled);
  engine.cancelAll();
  QTRY_COMPARE(answers, 2);
  QCOMPARE(status_of(engine, running).state, JobState::cancelled);
  QVERIFY(!never.load());
  engine.cancel(9999); // unknown: nothing happens
}

void EngineThreadTest::context_that_died_gets_nothing() {
  EngineThread engine;
  std::atomic<bool> started{false};
  bool delivered = false;
  auto* context = new QObject;
  const JobId id = engine.run<int>("a", "outlives", context, until_stopped(started),
                                   [&](Result<int>) { delivered = true; });
  QTRY_VERIFY(started.load());
  delete context;
  engine.cancel(id);
  QTRY_VERIFY(!engine.busy());
  QVERIFY(!delivered);
}

void EngineThreadTest::lookups_overtake_jobs() {
  EngineThread engine;
  std::atomic<bool> started{false};
  const JobId job =
      engine.run<int>("long", "long job", this, until_stopped(started), [](Result<int>) {});
  QTRY_VERIFY(started.load());
  int looked_up = 0;
  engine.run<int>(
      "look", "histogram", this, [](Feedback&, Compute&) -> Result<int> { return 5; },
      [&](Result<int> result) { looked_up = *result; }, false);
  QTRY_COMPARE(looked_up, 5);
  QCOMPARE(status_of(engine, job).state, JobState::running);
  engine.cancelAll();
  QTRY_VERIFY(!engine.busy());
}

void EngineThreadTest::progress_is_sampled() {
  EngineThread engine;
  QSignalSpy progressed(&engine, &EngineThread::progressed);
  QStringList lines;
  connect(&engine, &EngineThread::logged, this, [&](int, const QString& line) { lines += line; });
  std::atomic<bool> go_on{false};
  const JobId id = engine.run<int>(
      "p", "counts", this,
      [&](Feedback& feedback, Compute&) -> Result<int> {
        feedback.total = 200000;
        for (int i = 0; i < 100000; ++i)
          feedback.advance(1);
        feedback.set_step("half way");
        feedback.log(LogLevel::warning, "something odd");
        while (!go_on)
          std::this_thread::sleep_for(std::chrono::milliseconds(1));
        return 0;
      },
      [](Result<int>) {});
  QTRY_COMPARE(status_of(engine, id).done, quint64(100000));
  QTRY_COMPARE(status_of(engine, id).step, QString("half way"));
  QTRY_VERIFY(lines.contains("something odd"));
  QTRY_VERIFY(status_of(engine, id).eta_seconds > 0);
  const auto signals_so_far = progressed.count();
  QVERIFY2(signals_so_far < 100, "one signal per sample, not per item");
  go_on = true;
  QTRY_VERIFY(!engine.busy());
}

void EngineThreadTest::destruction_joins() {
  std::atomic<bool> started{false};
  bool delivered = false;
  {
    EngineThread engine;
    engine.run<int>("a", "endless", this, until_stopped(started),
                    [&](Result<int>) { delivered = true; });
    engine.run<int>(
        "b", "never", this, [](Feedback&, Compute&) -> Result<int> { return 0; },
        [&](Result<int>) { delivered = true; });
    QTRY_VERIFY(started.load());
  }
  QTest::qWait(20);
  QVERIFY(!delivered);
}

void EngineThreadTest::unusable_backend_falls_back() {
  EngineThread engine;
  QStringList lines;
  connect(&engine, &EngineThread::logged, this, [&](int, const QString& line) { lines += line; });
  engine.setBackend("no-such-backend");
  QString name;
  engine.run<int>(
      "a", "computes", this,
      [&](Feedback&, Compute& compute) -> Result<int> {
        name = QString::fromStdString(compute.device().backend);
        return 1;
      },
      [](Result<int>) {});
  QTRY_COMPARE(name, QString("cpu"));
  QTRY_VERIFY(!lines.isEmpty());
  QVERIFY(lines.first().contains("no-such-backend"));
}

QTEST_GUILESS_MAIN(EngineThreadTest)
#include "tst_engine_thread.moc"
