// SPDX-License-Identifier: GPL-3.0-or-later
// Session files: everything comes back, and what strangers write into one does no harm.
#include "core/eval/compare_json.h"
#include "core/io/files.h"
#include "core/judge/transcripts.h"
#include "core/session/session.h"

#include <cmath>
#include <QTemporaryDir>
#include <QTest>

using namespace bitlathe;

namespace {

CompareResult figures() {
  CompareResult out;
  out.path = "/models/small";
  out.bytes = 123456789;
  double next = 0.5;
  for (double* value :
       {&out.perplexity, &out.perplexity_stderr, &out.reference_perplexity, &out.ppl_ratio,
        &out.ppl_ratio_stderr, &out.kld_mean, &out.kld_stderr, &out.kld_median, &out.kld_p90,
        &out.kld_p99, &out.kld_max, &out.kld_reverse_mean, &out.kld_reverse_stderr,
        &out.top1_agreement, &out.top5_agreement, &out.drift_mean, &out.drift_rms, &out.seconds})
    *value = next += 0.125;
  out.tokens = 4096;
  out.by_position = {{"0-31", 100, 0.25, 0.125, -0.5}};
  out.by_class = {{"number", 7, 0.75, 0.25, 0.5}};
  out.worst = {{3, 40, 17, 18, 19, 2.5, 0.5, 0.25}};
  out.window_nll = {1.5, 2.5};
  out.window_kld = {0.25, 0.5};
  out.notes = {"a note"};
  return out;
}

} // namespace

class TestSession : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;
  fs::path file(const char* name) const { return fs::path(folder_.path().toStdString()) / name; }

 private Q_SLOTS:
  void everythingComesBack() {
    Session session;
    session.checkpoint = "../model";
    session.recipe.default_scheme = "int3-g64-asym";
    session.result = "/kept/one";
    session.statistics = "/kept/statistics";
    session.selection = {"a", "b"};
    session.contenders = {"/other"};
    session.second = "/second";
    session.compare.emplace();
    session.compare->noise_floor = 1e-5;
    session.compare->reference_window_nll = {1, 2};
    session.compare->models = {figures()};
    SessionVariant variant;
    variant.title = "int3-g64-asym rtn";
    variant.result = "/kept/one";
    variant.recipe = session.recipe;
    variant.bytes = 42;
    variant.bits_per_weight = 3.5;
    variant.seconds = 1.5;
    variant.made = "2026-01-02T03:04:05+01:00";
    variant.baseline = true;
    variant.figures = figures();
    variant.judged_on = "evaluation.txt, 32 windows of 256";
    variant.noise_floor = 1e-5;
    session.variants = {variant, {}};
    session.stages["compare"] = {{"prompt", "Once upon"}};
    const fs::path path = file("all.bitlathe");
    QVERIFY(write_session(session, path));
    QVERIFY(is_session(path));
    const auto read = read_session(path);
    QVERIFY(read);
    QCOMPARE(read->checkpoint, session.checkpoint);
    QCOMPARE(session_path(path, read->checkpoint),
             (fs::path(folder_.path().toStdString()).parent_path() / "model").lexically_normal());
    QVERIFY(read->recipe == session.recipe);
    QCOMPARE(read->result, session.result);
    QCOMPARE(read->statistics, session.statistics);
    QCOMPARE(read->selection, session.selection);
    QCOMPARE(read->contenders, session.contenders);
    QCOMPARE(read->second, session.second);
    QVERIFY(read->stages == session.stages);
    QVERIFY(read->stage("nothing").is_null());
    QVERIFY(read->compare.has_value());
    QCOMPARE(compare_to_json(*read->compare).dump(), compare_to_json(*session.compare).dump());
    QCOMPARE(read->compare->models[0].kld_p90, figures().kld_p90);
    QCOMPARE(read->variants.size(), std::size_t(2));
    const SessionVariant& back = read->variants[0];
    QCOMPARE(back.title, variant.title);
    QCOMPARE(back.result, variant.result);
    QVERIFY(back.recipe == variant.recipe);
    QCOMPARE(back.bytes, variant.bytes);
    QCOMPARE(back.bits_per_weight, 3.5);
    QCOMPARE(back.seconds, 1.5);
    QCOMPARE(back.made, variant.made);
    QVERIFY(back.baseline);
    QCOMPARE(back.judged_on, variant.judged_on);
    QCOMPARE(back.noise_floor, 1e-5);
    QCOMPARE(compare_result_to_json(*back.figures).dump(),
             compare_result_to_json(figures()).dump());
    QVERIFY(!read->variants[1].figures.has_value());
  }

  void notEveryNumberIsFinite() {
    CompareReport report;
    report.models = {figures()};
    report.models[0].kld_max = std::numeric_limits<double>::infinity();
    const auto back = compare_from_json(Json::parse(compare_to_json(report).dump()));
    QVERIFY(std::isnan(back.models.at(0).kld_max));
    QCOMPARE(back.models[0].kld_mean, figures().kld_mean);
  }

  void whatIsNoSession() {
    QVERIFY(write_file(file("config.json"), "{\"hidden_size\": 4}"));
    QVERIFY(!is_session(file("config.json")));
    QVERIFY(write_file(file("text"), "\"bitlathe_session\""));
    QVERIFY(!is_session(file("text")));
    QVERIFY(write_file(file("empty"), ""));
    QVERIFY(!is_session(file("empty")));
    QVERIFY(!is_session(file("missing")));
    QVERIFY(!is_session(folder_.path().toStdString()));
  }

  void otherPeoplesSessions_data() {
    QTest::addColumn<QString>("text");
    QTest::addColumn<QString>("code"); // empty: it opens
    QTest::newRow("cut") << "{'bitlathe_session': 1, 'checkpoint': 'm"
                         << "bad-file";
    QTest::newRow("version") << "{'bitlathe_session': 7, 'checkpoint': 'm'}"
                             << "unsupported";
    QTest::newRow("no checkpoint") << "{'bitlathe_session': 1}"
                                   << "bad-file";
    QTest::newRow("wrong types")
        << "{'bitlathe_session': 1, 'checkpoint': 'm', 'selection': 3, 'compare': {'models': [1, "
           "{'bytes': -5, 'tokens': 1e300, 'worst': [{'token': -1e99}]}]}, 'stages': [], "
           "'contenders': {'a': 1}}"
        << "";
    QTest::newRow("variants of no kind")
        << "{'bitlathe_session': 1, 'checkpoint': 'm', 'variants': 4}"
        << "";
    QTest::newRow("a recipe with an unknown key")
        << "{'bitlathe_session': 1, 'checkpoint': 'm', 'recipe': {'version': 1, 'colour': 1}}"
        << "bad-file";
  }
  void otherPeoplesSessions() {
    QFETCH(QString, text);
    QFETCH(QString, code);
    QVERIFY(write_file(file("theirs.bitlathe"), text.replace('\'', '"').toStdString()));
    const auto read = read_session(file("theirs.bitlathe"));
    QCOMPARE(bool(read), code.isEmpty());
    if (!read) {
      QCOMPARE(QString::fromStdString(read.error().code), code);
      QVERIFY(read.error().text().find("theirs.bitlathe") != std::string::npos);
    } else if (read->compare) {
      QCOMPARE(read->compare->models.size(), std::size_t(1));
      QCOMPARE(read->compare->models[0].bytes, std::uint64_t(0));
      QCOMPARE(read->compare->models[0].tokens, std::int64_t(0));
    }
  }

  void transcriptsComeBack() {
    Transcript transcript;
    transcript.prompt_id = "p1";
    transcript.prompt = "Once \"upon\"\n a time \xC3\xA4";
    transcript.chat = true;
    transcript.system = "Be brief.";
    transcript.sampling = {0.7, 0.9, 40, 32, 99};
    TranscriptSide side;
    side.title = "original";
    side.path = "/m";
    side.text = "there was";
    side.ids = {1, 2, 3};
    side.logprobs = {-0.5, -0.25, -1};
    side.stop_reason = "length";
    side.prompt_tokens = 5;
    side.prompt_seconds = 0.5;
    side.seconds = 0.25;
    side.peak_bytes = 1000;
    TranscriptSide failed;
    failed.title = "broken";
    failed.problem = "it gave NaN";
    transcript.sides = {side, failed};
    const auto json = Json::parse(transcripts_to_json({transcript}).dump());
    const auto back = transcripts_from_json(json);
    QCOMPARE(back.size(), std::size_t(1));
    QCOMPARE(transcripts_to_json(back).dump(), transcripts_to_json({transcript}).dump());
    QCOMPARE(back[0].sides[0].ids, side.ids);
    QCOMPARE(back[0].sides[0].logprobs, side.logprobs);
    QVERIFY(back[0].sampling == transcript.sampling);
    QCOMPARE(back[0].sides[1].problem, failed.problem);
    QVERIFY(transcripts_from_json(Json({1, {{"prompt", 2}}, "x"})).empty());
    QVERIFY(transcripts_from_json(Json(3)).empty());
  }
};

QTEST_GUILESS_MAIN(TestSession)
#include "tst_session.moc"
