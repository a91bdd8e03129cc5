// SPDX-License-Identifier: GPL-3.0-or-later
// The Compare stage in its own widgets: a set over several models, what it says of every prompt,
// stopping and going on, what the session keeps, differences, and keys. With
// BITLATHE_PICTURES=FOLDER it also leaves pictures of what it tests.
#include "app/gui/compare/compare_stage.h"
#include "app/gui/compare/diff_view.h"
#include "app/gui/compare/panes_view.h"
#include "app/gui/compare/prompts_card.h"
#include "app/gui/compare/transcript_book.h"
#include "app/gui/theme.h"
#include "app/gui/workbench.h"
#include "core/job/quantize.h"
#include "tests/support.h"

#include <fstream>
#include <QApplication>
#include <QComboBox>
#include <QDragEnterEvent>
#include <QLabel>
#include <QMimeData>
#include <QPushButton>
#include <QStandardPaths>
#include <QTableView>
#include <QTemporaryDir>
#include <QTest>

using namespace bitlathe;
using namespace bitlathe::gui;

namespace {

constexpr int patience = 60000;

QPushButton* button(QWidget& widget, const QString& begins) {
  for (auto* one : widget.findChildren<QPushButton*>())
    if (one->text().startsWith(begins))
      return one;
  return nullptr;
}

} // namespace

class GuiCompareTest : public QObject {
  Q_OBJECT

  QTemporaryDir dir_;

  QString path(const char* name) const { return dir_.filePath(QString::fromLatin1(name)); }
  void picture(QWidget& widget, const char* name) {
    const QString folder = qEnvironmentVariable("BITLATHE_PICTURES");
    if (folder.isEmpty())
      return;
    QTest::qWait(50);
    widget.grab().save(folder + QLatin1Char('/') + QString::fromLatin1(name) +
                       QStringLiteral(".png"));
  }
  void quantize(const char* name, const char* scheme) {
    auto demo = open_checkpoint(test::demo_model());
    auto cpu = make_cpu_compute();
    QVERIFY(demo.ok() && cpu.ok());
    Recipe recipe;
    recipe.default_scheme = scheme;
    const auto plan = make_plan(**demo, recipe);
    QVERIFY(plan.ok());
    QuantizeOptions options;
    options.result_folder = path(name).toStdString();
    Feedback feedback;
    QVERIFY(run_quantize(**demo, *plan, **cpu, options, feedback).ok());
  }

 private Q_SLOTS:
  void initTestCase() {
    QStandardPaths::setTestModeEnabled(true);
    QVERIFY(dir_.isValid());
    Workbench::setKeptFolder(path("kept"));
    Theme::instance().apply(*static_cast<QApplication*>(QApplication::instance()),
                            ThemeMode::light);
    quantize("int3", "int3-g128-asym");
    quantize("int8", "int8-channel-sym");
    // A model that cannot write: its tokenizer is gone.
    std::filesystem::copy(test::demo_model(), path("mute").toStdString());
    std::filesystem::remove(path("mute").toStdString() + "/tokenizer.json");
  }
  void cleanup() {
    Theme::instance().apply(*static_cast<QApplication*>(QApplication::instance()),
                            ThemeMode::light);
  }

  void aSetOverSeveralModels();
  void aStoppedSetGoesOn();
  void setsOfOthers();
  void theDifferenceOfTwoTexts();
  void keys();
  void fourModels();

 private:
  struct Opened {
    Workbench bench;
    CompareStage stage{bench};
    Opened() {
      stage.resize(860, 800);
      stage.show();
      stage.setMaxNew(16);
      bench.open(QString::fromStdString(test::demo_model().string()));
    }
    bool ready() { return bench.checkpoint() && !bench.engine().busy() && stage.promptCount() > 0; }
    bool add(const QString& path) {
      const auto before = bench.contenders().size();
      bench.addContender(path);
      return QTest::qWaitFor([&] { return bench.contenders().size() > before; }, patience);
    }
    bool done() {
      return QTest::qWaitFor([&] { return !stage.running(); }, patience);
    }
    PromptsModel& rows() { return stage.prompts().model(); }
  };
};

void GuiCompareTest::aSetOverSeveralModels() {
  QString session;
  std::vector<Transcript> made;
  {
    Opened opened;
    QTRY_VERIFY_WITH_TIMEOUT(opened.ready(), patience);
    QCOMPARE(opened.stage.promptCount(), 24);
    QVERIFY(opened.add(path("int3")));
    opened.stage.runSet(5);
    QVERIFY(opened.stage.running());
    QVERIFY(opened.done());
    QCOMPARE(opened.stage.transcripts().size(), std::size_t(5));
    for (int row = 0; row < 5; ++row) {
      QCOMPARE(opened.rows().state(row), PromptsModel::State::done);
      const Outcome& outcome = opened.rows().worst(row);
      QVERIFY(outcome.known && outcome.kl_tokens > 0 && outcome.kl_mean > 0);
    }
    QCOMPARE(opened.rows().state(5), PromptsModel::State::open);
    QCOMPARE(opened.stage.transcripts()[2].set, std::string("prompts"));
    QCOMPARE(opened.stage.transcripts()[2].prompt_id, std::string("3"));
    const auto* run_set = button(opened.stage, QStringLiteral("Go on"));
    QVERIFY(run_set && run_set->text().contains(QStringLiteral("19")));
    opened.stage.prompts().table()->setCurrentIndex(opened.rows().index(1, 0));
    // What is shown is what was written.
    const Transcript& second = opened.stage.transcripts()[1];
    QCOMPARE(opened.stage.sides()[1].text().toStdString(), second.sides[1].text);
    QCOMPARE(opened.stage.sides()[1].kl.size(), qsizetype(second.sides[0].ids.size()));
    QCOMPARE(opened.stage.panes().divergences()[1], opened.rows().worst(1).parts_at);
    picture(opened.stage, "set");
    // A prompt that has not been run shows no text.
    opened.stage.choosePrompt(7);
    QVERIFY(opened.stage.sides()[0].tokens.isEmpty());
    // A typed one gets a row of its own.
    opened.stage.setPrompt(QStringLiteral("The old boat"));
    opened.stage.run();
    QVERIFY(opened.done());
    QCOMPARE(opened.rows().rowCount(), 25);
    QCOMPARE(opened.rows().state(24), PromptsModel::State::done);
    session = path("a.bitlathe");
    QString error;
    QVERIFY2(opened.bench.saveSession(session, &error), qPrintable(error));
    made = opened.stage.transcripts();
    QTRY_VERIFY(!opened.bench.engine().busy());
  }
  // The session brings it all back.
  Workbench bench;
  CompareStage stage(bench);
  bench.open(session);
  QTRY_VERIFY_WITH_TIMEOUT(bench.checkpoint() && stage.promptCount() == 24, patience);
  QCOMPARE(stage.transcripts().size(), made.size());
  for (std::size_t i = 0; i < made.size(); ++i) {
    QCOMPARE(stage.transcripts()[i].sides[1].ids, made[i].sides[1].ids);
    QCOMPARE(stage.transcripts()[i].sides[1].kl, made[i].sides[1].kl);
    QCOMPARE(stage.transcripts()[i].sides[1].top, made[i].sides[1].top);
  }
  QTRY_COMPARE(stage.sides().size(), 2);
  stage.choosePrompt(4);
  QCOMPARE(stage.sides()[0].text().toStdString(), made[4].sides[0].text);
  stage.runSet(5); // nothing is left: all five run again, to the same texts
  QTRY_VERIFY_WITH_TIMEOUT(!stage.running(), patience);
  QCOMPARE(stage.transcripts()[3].sides[1].ids, made[3].sides[1].ids);
}

void GuiCompareTest::aStoppedSetGoesOn() {
  Opened opened;
  QTRY_VERIFY_WITH_TIMEOUT(opened.ready(), patience);
  QVERIFY(opened.add(path("int3")));
  opened.stage.setMaxNew(60);
  opened.stage.runSet(0);
  QTRY_VERIFY_WITH_TIMEOUT(opened.stage.transcripts().size() >= 3, patience);
  // Another prompt can be looked at while it runs.
  opened.stage.choosePrompt(0);
  QVERIFY(opened.stage.running());
  const QString shown = opened.stage.sides()[1].text();
  QVERIFY(!shown.isEmpty());
  picture(opened.stage, "running");
  opened.stage.stop();
  QVERIFY(opened.done());
  QCOMPARE(opened.stage.sides()[1].text(), shown);
  int done = 0;
  for (const Transcript& transcript : opened.stage.transcripts())
    done += transcript.complete() ? 1 : 0;
  QVERIFY(done >= 3 && done < 24);
  opened.stage.setMaxNew(60);
  opened.stage.runSet(done + 2); // goes on with what is missing
  QVERIFY(opened.done());
  int now = 0;
  for (const Transcript& transcript : opened.stage.transcripts())
    now += transcript.complete() ? 1 : 0;
  QCOMPARE(now, done + 2);
  // Other settings are another run.
  opened.stage.setMaxNew(4);
  QVERIFY(button(opened.stage, QStringLiteral("Run set (24)")));
}

void GuiCompareTest::setsOfOthers() {
  Opened opened;
  QTRY_VERIFY_WITH_TIMEOUT(opened.ready(), patience);
  std::ofstream(path("mine.txt").toStdString()) << "First line\nof one\n\nSecond\n";
  // Dropped: prompts by their ending, anything else is a model.
  QMimeData dropped;
  dropped.setUrls({QUrl::fromLocalFile(path("mine.txt")), QUrl::fromLocalFile(path("int8"))});
  QDragEnterEvent enter(QPoint(20, 20), Qt::CopyAction, &dropped, Qt::LeftButton, Qt::NoModifier);
  QCoreApplication::sendEvent(&opened.stage, &enter);
  QVERIFY(enter.isAccepted());
  QDropEvent drop(QPointF(20, 20), Qt::CopyAction, &dropped, Qt::LeftButton, Qt::NoModifier);
  QCoreApplication::sendEvent(&opened.stage, &drop);
  QTRY_COMPARE_WITH_TIMEOUT(opened.bench.contenders().size(), 2, patience);
  QTRY_COMPARE_WITH_TIMEOUT(opened.stage.promptCount(), 2, patience);
  QCOMPARE(opened.rows().prompts()[0].text, std::string("First line\nof one"));
  bool said = false;
  for (const auto* label : opened.stage.findChildren<QLabel*>())
    said = said || label->text().contains(QStringLiteral("Empty lines separate"));
  QVERIFY(said);
  std::ofstream(path("bad.jsonl").toStdString()) << "{\"prompt\": \"x\"}\n{\"nothing\": 1}\n";
  opened.stage.loadPrompts(path("bad.jsonl"));
  const auto complains = [&] {
    for (const auto* label : opened.stage.findChildren<QLabel*>())
      if (label->text().contains(QStringLiteral("Line 2")) &&
          label->text().contains(QStringLiteral("bad.jsonl")))
        return true;
    return false;
  };
  QTRY_VERIFY_WITH_TIMEOUT(complains(), patience);
  QCOMPARE(opened.stage.promptCount(), 2); // the set stays
  // What is typed stays when another set comes; what was of the set goes with it.
  opened.stage.setPrompt(QStringLiteral("Typed by hand"));
  const QList<PromptSetOffer> offers =
      offeredPromptSets(QString::fromStdString(test::demo_model().string()));
  QCOMPARE(offers.size(), 2);
  QCOMPARE(offers[1].path, generalPromptsPath());
  QCOMPARE(offeredPromptSets(path("int3")).first().path, generalPromptsPath());
  opened.stage.loadPrompts(offers[1].path);
  QTRY_COMPARE_WITH_TIMEOUT(opened.stage.promptCount(), 40, patience);
  opened.stage.run();
  QVERIFY(opened.done());
  QCOMPARE(opened.stage.transcripts().back().prompt, std::string("Typed by hand"));
  QVERIFY(opened.stage.transcripts().back().set.empty());
}

void GuiCompareTest::theDifferenceOfTwoTexts() {
  const auto side = [](const char* title, const QStringList& words) {
    Generation out;
    out.title = QString::fromLatin1(title);
    out.prompt = QStringLiteral("P <b> ");
    out.state = GenerationState::done;
    for (const QString& word : words) {
      ShownToken token;
      token.text = word;
      token.bytes = word.toUtf8();
      out.tokens.push_back(token);
    }
    return out;
  };
  DiffView view;
  view.setSides({side("a", {" the", " red", " ki", "te", " & co"}),
                 side("b", {" the", " blue", " ki", "te", "s", " & co"})});
  QCOMPARE(view.changes(), 1); // "red kite" became "blue kites"
  QVERIFY2(view.plainText().contains(QStringLiteral("P <b>  the red kite blue kites & co")),
           qPrintable(view.plainText()));
  for (auto* box : view.findChildren<QComboBox*>())
    if (box->count() == 2 && box->itemText(1) == QStringLiteral("by tokens")) {
      box->setCurrentIndex(1);
      Q_EMIT box->activated(1);
    }
  QCOMPARE(view.changes(), 2);
  QVERIFY(view.plainText().contains(QStringLiteral("the red blue kites & co")));
  view.nextChange(1);
  view.nextChange(-1);
  view.setSides({side("a", {" x"}), side("b", {" x"})});
  QCOMPARE(view.changes(), 0);
  view.setSides({});
  QCOMPARE(view.changes(), 0);
}

void GuiCompareTest::keys() {
  Opened opened;
  QTRY_VERIFY_WITH_TIMEOUT(opened.ready(), patience);
  QVERIFY(opened.add(path("int3")));
  opened.stage.activateWindow();
  QVERIFY(QTest::qWaitForWindowActive(&opened.stage));
  opened.stage.choosePrompt(0);
  QTest::keyClick(&opened.stage, Qt::Key_Return, Qt::ControlModifier);
  QTRY_VERIFY_WITH_TIMEOUT(!opened.stage.transcripts().empty(), patience);
  QVERIFY(opened.done());
  QVERIFY(!opened.stage.sides()[1].tokens.isEmpty());
  // A new seed draws: greedy becomes a temperature.
  QTest::keyClick(&opened.stage, Qt::Key_Return, Qt::AltModifier);
  QTRY_VERIFY_WITH_TIMEOUT(opened.stage.transcripts()[0].sampling.temperature > 0, patience);
  QVERIFY(opened.done());
  QVERIFY(opened.stage.transcripts()[0].sampling.seed != 0);
  QTest::keyClick(&opened.stage, Qt::Key_D, Qt::AltModifier);
  QVERIFY(opened.stage.panes().showsDifference());
  picture(opened.stage, "difference");
  QTest::keyClick(&opened.stage, Qt::Key_1, Qt::AltModifier);
  QVERIFY(!opened.stage.panes().showsDifference());
  QVERIFY(opened.stage.panes().pane(0)->view()->hasFocus());
  QTest::keyClick(opened.stage.panes().pane(0)->view(), Qt::Key_Home);
  QCOMPARE(opened.stage.panes().current(), qsizetype(0));
  QTest::keyClick(opened.stage.panes().strip(), Qt::Key_W);
  const Outcome outcome = outcome_of(opened.stage.transcripts()[0]);
  QCOMPARE(opened.stage.panes().current(), qsizetype(outcome.kl_max_at));
  QTest::keyClick(&opened.stage, Qt::Key_S, Qt::AltModifier);
  QCOMPARE(opened.stage.panes().shading(), TokenView::Shading::probability);
  QTest::keyClick(&opened.stage, Qt::Key_L, Qt::AltModifier);
  QVERIFY(opened.stage.prompts().isVisible());
  QTest::keyClick(opened.stage.prompts().table(), Qt::Key_Down);
  QVERIFY(opened.stage.sides()[0].tokens.isEmpty()); // the second prompt, not run yet
  QTest::keyClick(&opened.stage, Qt::Key_Up, Qt::AltModifier);
  QTRY_VERIFY_WITH_TIMEOUT(!opened.stage.sides()[0].tokens.isEmpty(), patience);
}

void GuiCompareTest::fourModels() {
  Opened opened;
  QTRY_VERIFY_WITH_TIMEOUT(opened.ready(), patience);
  opened.stage.resize(860, 800);
  QVERIFY(opened.add(path("int8")));
  QVERIFY(opened.add(path("int3")));
  QVERIFY(opened.add(path("mute")));
  opened.stage.setMaxNew(40);
  opened.stage.choosePrompt(4);
  opened.stage.run();
  QVERIFY(opened.done());
  QCOMPARE(opened.stage.sides().size(), 4);
  for (int i = 0; i < 3; ++i) {
    QCOMPARE(opened.stage.sides()[i].state, GenerationState::done);
    QVERIFY(opened.stage.sides()[i].peakBytes > opened.stage.sides()[i].kvBytes);
    QVERIFY(opened.stage.sides()[i].promptTokensPerSecond() > 0);
  }
  QCOMPARE(opened.stage.sides()[3].state, GenerationState::failed);
  QVERIFY(opened.stage.sides()[3].problem.contains(QStringLiteral("okenizer")));
  const auto mean = [](const QList<double>& kl) {
    double sum = 0;
    for (const double x : kl)
      sum += x;
    return sum / double(kl.size());
  };
  QVERIFY(mean(opened.stage.sides()[1].kl) < mean(opened.stage.sides()[2].kl)); // 8 bits, 3 bits
  QCOMPARE(opened.stage.panes().strip()->csv().count(QLatin1Char('\n')),
           opened.stage.sides()[0].tokens.size() + 1);
  opened.stage.panes().setShading(TokenView::Shading::divergence);
  picture(opened.stage, "four");
  opened.stage.resize(1380, 960);
  Theme::instance().apply(*static_cast<QApplication*>(QApplication::instance()), ThemeMode::dark);
  picture(opened.stage, "four-wide-dark");
  // One model less: the panes follow, what was written stays readable.
  opened.bench.removeContender(3);
  QTRY_COMPARE(opened.stage.panes().count(), 3);
  opened.stage.choosePrompt(4);
  QCOMPARE(opened.stage.sides().size(), 4);
  QCOMPARE(opened.stage.panes().count(), 4);
  opened.stage.run();
  QVERIFY(opened.done());
  QCOMPARE(opened.stage.panes().count(), 3);
}

QTEST_MAIN(GuiCompareTest)
#include "tst_gui_compare.moc"
