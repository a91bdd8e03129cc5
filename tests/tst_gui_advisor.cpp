// SPDX-License-Identifier: GPL-3.0-or-later
// The advisor's window and the checklist in the window: advice is one step that can be undone,
// ticks follow what happens, and a click goes to where an item is done.
#include "app/gui/advisor/advisor.h"
#include "app/gui/compare/compare_stage.h"
#include "app/gui/evaluate/checklist_view.h"
#include "app/gui/evaluate/evidence.h"
#include "app/gui/shell/main_window.h"
#include "app/gui/stage.h"
#include "support.h"

#include <QApplication>
#include <QLabel>
#include <QPushButton>
#include <QTemporaryDir>
#include <QTextBrowser>
#include <QtTest>

using namespace bitlathe;
using namespace bitlathe::gui;

namespace {

constexpr int patience = 60000;

int stageIndex(const char* id) {
  int index = 0;
  for (const Stage* stage : all_stages()) {
    if (QLatin1String(stage->id) == QLatin1String(id))
      return index;
    ++index;
  }
  return -1;
}

} // namespace

class TestGuiAdvisor : public QObject {
  Q_OBJECT

  QTemporaryDir kept_;
  Workbench* workbench_ = nullptr;
  MainWindow* window_ = nullptr;

  ChecklistItem::State stateOf(const char* id) {
    for (const ChecklistItem& item : checklist(Evidence::of(*workbench_)->collect()))
      if (item.id == id)
        return item.state;
    return ChecklistItem::State::open;
  }

 private Q_SLOTS:
  void initTestCase() {
    QStandardPaths::setTestModeEnabled(true);
    QVERIFY(kept_.isValid());
    Workbench::setKeptFolder(kept_.path());
    Theme::instance().apply(*qApp, ThemeMode::light);
    workbench_ = new Workbench(this);
    window_ = new MainWindow(*workbench_, false);
    window_->resize(1440, 900);
    window_->show();
    workbench_->open(QString::fromStdString(test::demo_model().string()));
    QTRY_VERIFY_WITH_TIMEOUT(workbench_->checkpoint() && workbench_->plan(), patience);
  }
  void cleanupTestCase() { delete window_; }

  void advice() {
    QCOMPARE(stateOf("exclusions"), ChecklistItem::State::open);
    window_->setStage(stageIndex("plan"));
    QCOMPARE(stateOf("exclusions"), ChecklistItem::State::done);
    Advisor* advisor = Advisor::open(*workbench_, window_);
    QVERIFY(!advisor->isModal());
    QCOMPARE(Advisor::open(*workbench_, window_), advisor); // one per window
    QTRY_VERIFY_WITH_TIMEOUT(advisor->advice(), patience);
    QCOMPARE(advisor->advice()->recipe.default_scheme, std::string("int8-channel-sym"));
    advisor->setGoal(QStringLiteral("smallest"));
    QVERIFY(!advisor->advice()); // what was said before is no answer
    QTRY_VERIFY_WITH_TIMEOUT(advisor->advice(), patience);
    advisor->setBudget(3'000'000);
    QTRY_VERIFY_WITH_TIMEOUT(advisor->advice(), patience);
    QVERIFY(advisor->advice()->fits);
    QVERIFY(advisor->advice()->bytes <= 3'000'000);
    QVERIFY(
        advisor->findChild<QTextBrowser*>()->toPlainText().contains(QStringLiteral("Turned down")));
    advisor->setRuntime(QStringLiteral("vllm"));
    QTRY_VERIFY_WITH_TIMEOUT(advisor->advice(), patience);
    QVERIFY(!advisor->advice()->fits); // and says so
    bool said = false;
    for (const QLabel* label : advisor->findChildren<QLabel*>())
      said = said || label->text().contains(QStringLiteral("Nothing fits into"));
    QVERIFY(said);
  }
  void usedAsOneStep() {
    Advisor* advisor = Advisor::open(*workbench_, window_);
    advisor->setBudget(0);
    advisor->setRuntime({});
    advisor->setGoal(QStringLiteral("portable"));
    QTRY_VERIFY_WITH_TIMEOUT(advisor->advice(), patience);
    const Recipe before = workbench_->recipe();
    const int steps = workbench_->undoStack().index();
    const Recipe advised = advisor->advice()->recipe;
    advisor->use();
    QVERIFY(!advisor->isVisible());
    QCOMPARE(workbench_->undoStack().index(), steps + 1);
    QCOMPARE(workbench_->recipe().default_scheme, advised.default_scheme);
    QVERIFY(workbench_->plan());
    workbench_->undoStack().undo();
    QCOMPARE(workbench_->recipe(), before);
  }

  void ticksFollow() {
    window_->setStage(stageIndex("evaluate"));
    auto* view = window_->stageWidget(stageIndex("evaluate"))->findChild<ChecklistView*>();
    QVERIFY(view);
    QCOMPARE(view->count(), 9);
    const int before = view->doneCount();
    QCOMPARE(stateOf("quantized"), ChecklistItem::State::open);
    workbench_->startQuantize();
    QTRY_VERIFY_WITH_TIMEOUT(workbench_->summary(), patience);
    QCOMPARE(stateOf("quantized"), ChecklistItem::State::done);
    QCOMPARE(view->doneCount(), before + 1);
    Recipe recipe = workbench_->recipe();
    recipe.default_scheme = "int8-channel-sym";
    workbench_->setRecipe(recipe, QStringLiteral("other"));
    QCOMPARE(stateOf("quantized"), ChecklistItem::State::stale);
    QCOMPARE(view->doneCount(), before);
    workbench_->undoStack().undo();
    QCOMPARE(stateOf("quantized"), ChecklistItem::State::done);
  }
  void speedArrives() {
    const std::string result = workbench_->resultFolder().toStdString();
    const std::string original = workbench_->checkpoint()->path.string();
    const auto point =
        Json{{"context", 64}, {"batch", 1}, {"tokens_per_second", {{"median", 9.0}}}};
    workbench_->setStageState(
        QStringLiteral("speed"),
        {{"models",
          {{{"path", original}, {"steady_bytes", 100}, {"points", Json::array({point})}},
           {{"path", result}, {"steady_bytes", 50}, {"points", Json::array({point})}}}}});
    QCOMPARE(stateOf("speed"), ChecklistItem::State::done);
  }
  void clicksGoThere() {
    auto* view = window_->stageWidget(stageIndex("evaluate"))->findChild<ChecklistView*>();
    const std::pair<const char*, const char*> places[] = {{"exclusions", "plan"},
                                                          {"quantized", "quantize"},
                                                          {"exported", "export"},
                                                          {"remeasured", "evaluate"},
                                                          {"judged", "compare"}};
    for (const auto& [item, stage] : places) {
      window_->setStage(stageIndex("evaluate"));
      view->go(QLatin1String(item));
      QCOMPARE(window_->stage(), stageIndex(stage));
    }
    // By keyboard: the first cell takes the focus and Return goes.
    window_->setStage(stageIndex("evaluate"));
    QSignalSpy chosen(view, &ChecklistView::chosen);
    QWidget* cell = nullptr;
    for (QWidget* child : view->findChildren<QWidget*>())
      if (child->focusPolicy() == Qt::StrongFocus &&
          child->accessibleName().startsWith(QStringLiteral("Quantized")))
        cell = child;
    QVERIFY(cell);
    QTest::keyClick(cell, Qt::Key_Return);
    QCOMPARE(int(chosen.size()), 1);
    QCOMPARE(window_->stage(), stageIndex("quantize"));
  }
};

QTEST_MAIN(TestGuiAdvisor)
#include "tst_gui_advisor.moc"
