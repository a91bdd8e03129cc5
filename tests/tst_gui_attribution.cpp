// SPDX-License-Identifier: GPL-3.0-or-later
// "Which layer did it?" in the window: from a quantized model to bars, by keyboard and mouse to a
// raised precision, and to what that changed; curves, stopping, sessions, empty states.
// BITLATHE_PICTURES=FOLDER keeps pictures of it.
#include "app/gui/attribution/attribution_page.h"
#include "app/gui/attribution/curves_view.h"
#include "app/gui/evaluate/evaluation_text.h"
#include "app/gui/theme.h"
#include "support.h"

#include <QApplication>
#include <QComboBox>
#include <QLabel>
#include <QLineEdit>
#include <QMenu>
#include <QPushButton>
#include <QSignalSpy>
#include <QStackedWidget>
#include <QTemporaryDir>
#include <QtTest>

using namespace bitlathe;
using namespace bitlathe::gui;

namespace {

constexpr int patience = 60000;

/// The child that a screen reader knows by this name.
template <class T> T* named(QWidget& in, const char* name) {
  for (T* child : in.findChildren<T*>())
    if (child->accessibleName() == QLatin1String(name))
      return child;
  return nullptr;
}

QPushButton* button(QWidget& in, const char* text) {
  for (auto* child : in.findChildren<QPushButton*>())
    if (child->text() == QLatin1String(text))
      return child;
  return nullptr;
}

QString words(QWidget& page) { return named<QLabel>(page, "What the bars say")->text(); }

} // namespace

class TestGuiAttribution : public QObject {
  Q_OBJECT
  QTemporaryDir kept_, sessions_;

  static void pictures(QWidget& widget, const QString& name) {
    const QString folder = qEnvironmentVariable("BITLATHE_PICTURES");
    if (folder.isEmpty())
      return;
    for (const auto mode : {ThemeMode::dark, ThemeMode::light}) {
      Theme::instance().apply(*qApp, mode);
      QTest::qWait(300);
      widget.grab().save(folder + '/' + name +
                         (mode == ThemeMode::dark ? "-dark.png" : "-light.png"));
    }
  }
  static void open(Workbench& workbench, const QString& path) {
    QSignalSpy opened(&workbench, &Workbench::opened);
    workbench.open(path);
    QTRY_VERIFY_WITH_TIMEOUT(opened.count() == 1 && workbench.plan(), patience);
    auto& text = EvaluationText::of(workbench);
    auto choice = text.choice();
    choice.context = 64;
    choice.windows = 3;
    text.choose(choice);
  }
  static void openDemo(Workbench& workbench) {
    open(workbench, QString::fromStdString(test::demo_model().string()));
  }
  static void quantize(Workbench& workbench, const char* scheme = "int3-g128-asym") {
    Recipe recipe = workbench.recipe();
    recipe.default_scheme = scheme;
    recipe.default_method = "rtn";
    workbench.setRecipe(recipe, "scheme");
    workbench.startQuantize();
    QTRY_VERIFY_WITH_TIMEOUT(workbench.quantized() && !workbench.quantizing(), patience);
  }
  static void waitFor(Attribution& attribution) {
    QTRY_VERIFY_WITH_TIMEOUT(!attribution.running(), patience);
  }

 private Q_SLOTS:
  void initTestCase() {
    QStandardPaths::setTestModeEnabled(true);
    Workbench::setKeptFolder(kept_.path());
    Theme::instance().apply(*qApp, ThemeMode::light);
  }

  void fromQuestionToRaisedPrecision() {
    Workbench workbench;
    AttributionPage page(workbench);
    page.resize(1120, 640);
    page.show();
    auto& attribution = Attribution::of(workbench);
    auto* pages = page.findChild<QStackedWidget*>();
    QCOMPARE(pages->currentIndex(), 0); // nothing is open
    openDemo(workbench);
    QCOMPARE(pages->currentIndex(), 0); // nothing to exchange yet, but schemes can be tried
    QVERIFY(button(page, "Measure schemes")->isVisible());
    pictures(page, QStringLiteral("attribution-empty"));
    quantize(workbench);
    QTRY_COMPARE(pages->currentIndex(), 1);
    auto* candidate = named<QComboBox>(page, "Candidate");
    QCOMPARE(candidate->count(), 1);
    QVERIFY(candidate->currentText().contains(QStringLiteral("int3-g128-asym")));
    named<QComboBox>(page, "What is exchanged")->setCurrentIndex(2);
    page.measure();
    QVERIFY(attribution.running());
    QVERIFY(button(page, "Stop")->isVisible());
    waitFor(attribution);
    const auto report = attribution.report();
    QVERIFY(report && !report->cancelled);
    QVERIFY2(attribution.problem().isEmpty(), qPrintable(attribution.problem()));
    QCOMPARE(page.bars().bars().size(), 29); // 28 modules, and keys and values
    for (int i = 1; i < page.bars().bars().size(); ++i)
      QVERIFY(page.bars().bars()[i - 1].value >= page.bars().bars()[i].value);
    const QString text = words(page);
    QVERIFY2(text.contains(QStringLiteral("nothing exchanged the KL is 0")), qPrintable(text));
    QVERIFY2(text.contains(QStringLiteral("The whole candidate: KL")), qPrintable(text));
    QVERIFY2(text.contains(QStringLiteral("One at a time the parts come to")), qPrintable(text));
    QVERIFY2(text.contains(QStringLiteral("they save")), qPrintable(text));
    pictures(page, QStringLiteral("attribution-bars"));
    auto* level = named<QComboBox>(page, "What a bar stands for");
    level->setCurrentIndex(1);
    QCOMPARE(page.bars().bars().size(), 4);
    level->setCurrentIndex(2);
    QCOMPARE(page.bars().bars().size(), 7);
    pictures(page, QStringLiteral("attribution-roles"));
    level->setCurrentIndex(0);
    auto* filter = named<QLineEdit>(page, "Filter of bars and lines");
    filter->setText(QStringLiteral("down 3."));
    QCOMPARE(page.bars().bars().size(), 1);
    filter->clear();

    // Selecting by mouse and by keyboard.
    auto* bars = page.findChild<BarsView*>();
    const QString worst = bars->bars().first().name;
    QTest::mouseClick(bars, Qt::LeftButton, {}, {40, 30});
    QCOMPARE(workbench.selection(), QStringList{worst});
    QTest::keyClick(bars, Qt::Key_Down);
    QCOMPARE(workbench.current(), bars->bars()[1].name);
    QTest::keyClick(bars, Qt::Key_Up);
    QCOMPARE(workbench.current(), worst);
    QVERIFY(bars->tip(bars->bars().first()).contains(QStringLiteral("nats per token")));
    QVERIFY(bars->csv().startsWith(QStringLiteral("kind,name,")));
    QCOMPARE(bars->csv().count('\n'), 30);

    // Raising: one step, which can be taken back.
    const int steps = workbench.undoStack().count();
    QTest::mouseDClick(bars, Qt::LeftButton, {}, {40, 30});
    QCOMPARE(workbench.undoStack().count(), steps + 1);
    QCOMPARE(workbench.plan()->find(worst.toStdString())->scheme.id, std::string("int4-g128-asym"));
    workbench.undoStack().undo();
    QCOMPARE(workbench.plan()->find(worst.toStdString())->scheme.id, std::string("int3-g128-asym"));
    QTest::keyClick(bars, Qt::Key_Return);
    QCOMPARE(workbench.plan()->find(worst.toStdString())->scheme.id, std::string("int4-g128-asym"));
    QVERIFY(attribution.stale());
    auto* again = button(page, "Quantize and measure again");
    QVERIFY(again && again->isEnabled());

    // Only what changed is measured.
    const double before = bars->bars().first().value;
    page.measure();
    QTRY_VERIFY_WITH_TIMEOUT(attribution.running(), patience);
    waitFor(attribution);
    QVERIFY(!attribution.stale());
    QCOMPARE(page.bars().bars().size(), 29);
    int kept = 0;
    for (const auto& bar : page.bars().bars()) {
      kept += bar.kept;
      QCOMPARE(bar.kept, bar.name != worst);
      if (bar.name == worst)
        QVERIFY(bar.value < before / 2);
    }
    QCOMPARE(kept, 28);
    QVERIFY(attribution.report()->whole.kld < report->whole.kld);
  }

  void raisingStepByStepEndsAtTheOriginal() {
    Workbench workbench;
    auto& attribution = Attribution::of(workbench);
    QVERIFY(attribution.raiseText({QStringLiteral("x")}).isEmpty()); // nothing is open
    openDemo(workbench);
    const QStringList one{QStringLiteral("model.layers.1.mlp.up_proj")};
    const QStringList two = one + QStringList{QStringLiteral("model.layers.2.mlp.up_proj")};
    QStringList seen;
    for (int i = 0; i < 9 && !attribution.raiseText(one).isEmpty(); ++i) {
      attribution.raise(one);
      seen.append(
          QString::fromStdString(workbench.plan()->find(one.first().toStdString())->scheme.id));
    }
    QCOMPARE(seen, (QStringList{"int5-g128-asym", "int6-g128-asym", "int8-g128-asym", "bf16"}));
    // Different modules, one step to undo.
    workbench.undoStack().undo();
    const int steps = workbench.undoStack().index();
    attribution.raise(two);
    QCOMPARE(workbench.undoStack().index(), steps + 1);
    QCOMPARE(workbench.plan()->find(two[0].toStdString())->scheme.id, std::string("bf16"));
    QCOMPARE(workbench.plan()->find(two[1].toStdString())->scheme.id,
             std::string("int5-g128-asym"));
    workbench.undoStack().undo();
    QCOMPARE(workbench.plan()->find(two[0].toStdString())->scheme.id,
             std::string("int8-g128-asym"));
    // Norms and the like have no step up.
    attribution.raise({QStringLiteral("model.norm"), QStringLiteral("no such module")});
    QCOMPARE(workbench.undoStack().index(), steps);
  }

  void schemesWithoutACandidate() {
    Workbench workbench;
    AttributionPage page(workbench);
    page.resize(1120, 640);
    page.show();
    openDemo(workbench);
    auto& attribution = Attribution::of(workbench);
    auto* schemes = named<QLineEdit>(page, "Schemes to measure");
    schemes->setText(QStringLiteral("int3-g128-asym, int4-g128-asym,int8-channel-sym"));
    QTest::mouseClick(button(page, "Measure schemes"), Qt::LeftButton);
    QVERIFY(attribution.running());
    waitFor(attribution);
    QVERIFY2(attribution.problem().isEmpty(), qPrintable(attribution.problem()));
    QCOMPARE(attribution.report()->curves.size(), std::size_t(30)); // with embedding and head
    auto* curves = page.findChild<CurvesView*>();
    QCOMPARE(curves->csv().count('\n'), 91);
    workbench.select({QStringLiteral("lm_head")});
    pictures(page, QStringLiteral("attribution-curves"));
    // Nonsense is said, and what is known stays.
    schemes->setText(QStringLiteral("int4-g128-asym, frogs"));
    QTest::mouseClick(named<QPushButton>(page, "Measure schemes"), Qt::LeftButton);
    waitFor(attribution);
    QVERIFY(attribution.problem().contains(QStringLiteral("frogs")));
    QCOMPARE(curves->csv().count('\n'), 91);

    // Kept in the session, and read again.
    const QString path = sessions_.filePath(QStringLiteral("curves.bitlathe"));
    QString error;
    QVERIFY2(workbench.saveSession(path, &error), qPrintable(error));
    Workbench other;
    AttributionPage again(other);
    QSignalSpy opened(&other, &Workbench::opened);
    other.open(path);
    QTRY_VERIFY_WITH_TIMEOUT(opened.count() == 1, patience);
    QVERIFY(Attribution::of(other).report());
    QCOMPARE(again.findChild<CurvesView*>()->csv(), curves->csv());
    // A session that holds something else does no harm.
    other.setStageState(QStringLiteral("attribution"), Json::array({1, "x"}));
    QVERIFY2(other.saveSession(path, &error), qPrintable(error));
    Workbench third;
    AttributionPage empty(third);
    QSignalSpy openedThird(&third, &Workbench::opened);
    third.open(path);
    QTRY_VERIFY_WITH_TIMEOUT(openedThird.count() == 1, patience);
    QVERIFY(!Attribution::of(third).report());
  }

  void stoppedAndPredicted() {
    Workbench workbench;
    AttributionPage page(workbench);
    page.resize(1120, 640);
    page.show();
    openDemo(workbench);
    quantize(workbench);
    auto& attribution = Attribution::of(workbench);
    page.measure();
    QTRY_VERIFY_WITH_TIMEOUT(attribution.report() && !attribution.report()->rows.empty() &&
                                 attribution.report()->whole,
                             patience);
    attribution.stop();
    waitFor(attribution);
    QVERIFY(attribution.report()->cancelled);
    QVERIFY(attribution.problem().isEmpty()); // stopped is not failed
    QVERIFY(words(page).contains(QStringLiteral("Stopped")));
    // A quarter measured; the others are predicted and hatched.
    named<QComboBox>(page, "How many modules are measured")->setCurrentIndex(2);
    page.measure();
    waitFor(attribution);
    int predicted = 0;
    for (const auto& bar : page.bars().bars()) {
      QVERIFY(bar.known);
      predicted += bar.predicted;
    }
    QVERIFY(predicted > 0);
    QVERIFY2(words(page).contains(QStringLiteral("are predicted")), qPrintable(words(page)));
    pictures(page, QStringLiteral("attribution-predicted"));
    // Another model: nothing of the first is left.
    openDemo(workbench);
    QVERIFY(!attribution.report());
    QVERIFY(page.bars().bars().isEmpty());
  }

  void menuOffersWhatCanBeDone() {
    Workbench workbench;
    AttributionPage page(workbench);
    page.show();
    openDemo(workbench);
    quantize(workbench);
    auto& attribution = Attribution::of(workbench);
    page.measure();
    waitFor(attribution);
    auto* bars = page.findChild<BarsView*>();
    QContextMenuEvent event(QContextMenuEvent::Mouse, {40, 30}, bars->mapToGlobal(QPoint(40, 30)));
    QApplication::sendEvent(bars, &event);
    auto* menu = page.findChild<QMenu*>(QString(), Qt::FindDirectChildrenOnly);
    QVERIFY(menu);
    QStringList texts;
    for (const QAction* action : menu->actions())
      texts.append(action->text());
    QVERIFY(texts.first().contains(QStringLiteral("int3-g128-asym \u2192 int4-g128-asym")));
    QVERIFY(texts.contains(QStringLiteral("&Exclude from quantization")));
    menu->actions().first()->trigger();
    QCOMPARE(workbench.plan()->find(bars->bars().first().name.toStdString())->scheme.id,
             std::string("int4-g128-asym"));
    menu->close();
  }
};

QTEST_MAIN(TestGuiAttribution)
#include "tst_gui_attribution.moc"
