// SPDX-License-Identifier: GPL-3.0-or-later
// Measuring speed: what is counted, what is left out with a reason, and what sessions keep of it.
#include "core/eval/speed.h"

#include "tests/support.h"

#include <cmath>
#include <QTest>

using namespace bitlathe;

class TestSpeed : public QObject {
  Q_OBJECT
  std::unique_ptr<Compute> compute_;
  Feedback feedback_;

 private Q_SLOTS:
  void initTestCase() {
    auto made = make_cpu_compute();
    QVERIFY(made.ok());
    compute_ = std::move(*made);
  }

  void spreads() {
    Spread none;
    QVERIFY(std::isnan(none.median()) && std::isnan(none.low()) && std::isnan(none.high()));
    const Spread odd{{5, 1, 3}}, even{{4, 1, 3, 8}};
    QCOMPARE(odd.median(), 3.0);
    QCOMPARE(odd.low(), 1.0);
    QCOMPARE(odd.high(), 5.0);
    QCOMPARE(even.median(), 3.5);
  }

  void demoModel() {
    auto opened = open_checkpoint(test::demo_model());
    QVERIFY(opened.ok());
    SpeedOptions options;
    options.contexts = {64, 16, 64};
    options.batches = {4, 1};
    options.new_tokens = 9;
    options.repeat = 2;
    int calls = 0;
    const SpeedModel models[] = {{"original", *opened}};
    const auto report =
        measure_speed(models, *compute_, options, feedback_, [&](const SpeedReport& running) {
          ++calls;
          QCOMPARE(int(running.models[0].points.size()), calls);
        });
    QVERIFY2(report.ok(), report ? "" : report.error().text().c_str());
    QCOMPARE(calls, 4); // ascending, each once
    const SpeedResult& result = report->models.at(0);
    QCOMPARE(result.title, std::string("original"));
    QCOMPARE(result.bytes, (*opened)->bytes());
    QVERIFY(result.disk_bytes >= result.bytes);
    // 4 layers, 4 KV heads of 32 values, keys and values in f32.
    QCOMPARE(result.kv_keys, std::string("f32"));
    QCOMPARE(result.kv_bytes_per_token, std::uint64_t(4 * 4 * 32 * 2 * 4));
    QVERIFY(result.peak_bytes >= result.steady_bytes);
    const std::vector<std::pair<int, int>> wanted{{16, 1}, {16, 4}, {64, 1}, {64, 4}};
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      const SpeedPoint& point = result.points.at(i);
      QCOMPARE(point.context, wanted[i].first);
      QCOMPARE(point.batch, wanted[i].second);
      QVERIFY2(point.problem.empty(), point.problem.c_str());
      QCOMPARE(point.prompt_rate.runs.size(), std::size_t(2));
      QCOMPARE(point.rate.runs.size(), std::size_t(2));
      QVERIFY(point.rate.low() > 0 && point.rate.high() >= point.rate.median());
      // The first token is there when the prompts are read.
      QVERIFY(std::abs(point.first_seconds.runs[0] * point.prompt_rate.runs[0] -
                       double(point.context * point.batch)) < 1e-6 * 1e3);
      QVERIFY(point.kv_bytes >= result.kv_bytes_per_token * std::uint64_t(point.batch) *
                                    std::uint64_t(point.context));
    }
    QCOMPARE(feedback_.done.load(), feedback_.total.load());
    QVERIFY(report->others <= 1);

    // Sessions hold all of it.
    const Json json = Json::parse(speed_to_json(*report).dump());
    QCOMPARE(speed_to_json(speed_from_json(json)).dump(), speed_to_json(*report).dump());
    QVERIFY(json["models"][0]["points"][0]["tokens_per_second"]["median"].is_number());
  }

  void whatIsLeftOutSaysWhy() {
    auto opened = open_checkpoint(test::demo_model());
    QVERIFY(opened.ok());
    const std::int64_t trained = (*opened)->spec->context;
    QVERIFY(trained > 0);
    SpeedOptions options;
    options.contexts = {8, trained};
    options.batches = {1, 4096};
    options.new_tokens = 4;
    options.repeat = 1;
    options.seconds_per_point = 0.02;
    const SpeedModel models[] = {{"original", *opened}};
    const auto report = measure_speed(models, *compute_, options, feedback_);
    QVERIFY(report.ok());
    const auto& points = report->models.at(0).points;
    QCOMPARE(points.size(), std::size_t(4));
    QVERIFY(points[0].problem.empty()); // the first one is always measured
    QVERIFY2(points[1].problem.find("Would take") == 0, points[1].problem.c_str());
    QVERIFY2(points[2].problem.find("Longer than the " + std::to_string(trained)) == 0,
             points[2].problem.c_str());
    const Json json = Json::parse(speed_to_json(*report).dump());
    QCOMPARE(speed_from_json(json).models[0].points[2].problem, points[2].problem);
  }

  void badOptions() {
    auto opened = open_checkpoint(test::demo_model());
    const SpeedModel models[] = {{"original", *opened}};
    const auto refused = [&](auto change) {
      SpeedOptions options;
      change(options);
      const auto report = measure_speed(models, *compute_, options, feedback_);
      return !report && report.error().code == "bad-argument";
    };
    QVERIFY(refused([](SpeedOptions& o) { o.contexts = {}; }));
    QVERIFY(refused([](SpeedOptions& o) { o.contexts = {0}; }));
    QVERIFY(refused([](SpeedOptions& o) { o.batches = {1, -4}; }));
    QVERIFY(refused([](SpeedOptions& o) { o.batches = {100000}; }));
    QVERIFY(refused([](SpeedOptions& o) { o.repeat = 0; }));
    QVERIFY(refused([](SpeedOptions& o) { o.new_tokens = -1; }));
  }

  void cancelled() {
    auto opened = open_checkpoint(test::demo_model());
    Feedback stopping;
    const SpeedModel models[] = {{"original", *opened}};
    SpeedOptions options;
    options.contexts = {16, 32};
    options.batches = {1};
    const auto report = measure_speed(models, *compute_, options, stopping,
                                      [&](const SpeedReport&) { stopping.stop = true; });
    QVERIFY(!report && report.error().cancelled());
  }

  void hostileSessions() {
    for (const char* text :
         {"null", "[]", "{}", "{\"models\": 3}", "{\"models\": [null, 1, []]}",
          "{\"models\": [{\"points\": [{\"tokens_per_second\": {\"runs\": \"x\"}}]}]}",
          "{\"models\": [{\"bytes\": -5, \"kv\": [], \"points\": {}}], \"threads\": 1e300}"}) {
      const SpeedReport report = speed_from_json(Json::parse(text));
      QVERIFY(!speed_to_json(report).dump().empty());
    }
  }
};

QTEST_GUILESS_MAIN(TestSpeed)
#include "tst_speed.moc"
