// SPDX-License-Identifier: GPL-3.0-or-later
// The later half of the loop in its own widgets on the demo model: quantize, compare, measure,
// export, and what stays when it is cancelled.
#include "app/gui/compare/compare_stage.h"
#include "app/gui/evaluate/evaluate_stage.h"
#include "app/gui/evaluate/evidence.h"
#include "app/gui/export/export_stage.h"
#include "app/gui/quantize/quantize_stage.h"
#include "app/gui/theme.h"
#include "app/gui/workbench.h"
#include "support.h"

#include <QApplication>
#include <QLabel>
#include <QPushButton>
#include <QTableView>
#include <QTemporaryDir>
#include <QtTest>

using namespace bitlathe;
using namespace bitlathe::gui;

namespace {

constexpr int patience = 60000;

QPushButton* button(QWidget& stage, const QString& text) {
  for (auto* one : stage.findChildren<QPushButton*>())
    if (one->text() == text)
      return one;
  return nullptr;
}

} // namespace

class TestGuiLoop : public QObject {
  Q_OBJECT

  QTemporaryDir kept_;
  Workbench* workbench_ = nullptr;

 private Q_SLOTS:
  void initTestCase() {
    QStandardPaths::setTestModeEnabled(true);
    QVERIFY(kept_.isValid());
    Workbench::setKeptFolder(kept_.path());
    Theme::instance().apply(*qApp, ThemeMode::light);
    workbench_ = new Workbench(this);
  }

  void emptyStagesSayWhatToDo() {
    QuantizeStage quantize(*workbench_);
    CompareStage compare(*workbench_);
    EvaluateStage evaluate(*workbench_);
    ExportStage exports(*workbench_);
    QCOMPARE(quantize.state(), QuantizeStage::State::no_model);
    QCOMPARE(exports.subject(), ExportStage::Subject::none);
    QVERIFY(!exports.canExport());
    compare.run(); // nothing to run: nothing happens
    QVERIFY(!compare.running());
    evaluate.measure();
    QVERIFY(!workbench_->comparing());
  }

  void openQuantize() {
    QuantizeStage stage(*workbench_);
    ExportStage exports(*workbench_);
    workbench_->open(QString::fromStdString(test::demo_model().string()));
    QTRY_VERIFY_WITH_TIMEOUT(workbench_->checkpoint() && workbench_->plan(), patience);
    QCOMPARE(stage.state(), QuantizeStage::State::ready);
    QCOMPARE(exports.subject(), ExportStage::Subject::plan);
    QVERIFY(!exports.canExport()); // foreseen only
    const int modules = int(workbench_->plan()->modules.size());
    QCOMPARE(stage.table()->model()->rowCount(), modules);

    button(stage, QStringLiteral("Quantize"))->click();
    QVERIFY(workbench_->quantizing());
    QTRY_VERIFY_WITH_TIMEOUT(workbench_->summary(), patience);
    QCOMPARE(stage.state(), QuantizeStage::State::done);
    QCOMPARE(stage.table()->model()->rowCount(), modules);
    QCOMPARE(exports.subject(), ExportStage::Subject::result);

    // The selection is shared both ways.
    stage.table()->selectRow(3);
    QCOMPARE(workbench_->current(), stage.table()->model()->index(3, 0).data().toString());
    workbench_->select({stage.table()->model()->index(5, 0).data().toString()});
    QCOMPARE(stage.table()->currentIndex().row(), 5);
  }

  void compareSideBySide() {
    QVERIFY(workbench_->quantized());
    CompareStage stage(*workbench_);
    stage.setPrompt(QStringLiteral("Once upon a time, there was a little girl named Lily."));
    stage.setMaxNew(12);
    stage.run();
    QVERIFY(stage.running());
    QTRY_VERIFY_WITH_TIMEOUT(!stage.running(), patience);
    QCOMPARE(stage.sides().size(), 2);
    for (const Generation& side : stage.sides()) {
      QCOMPARE(side.state, GenerationState::done);
      QVERIFY(!side.tokens.isEmpty());
      QVERIFY(!side.tokens.first().top.isEmpty());
      // Greedy: the token that was taken is the likeliest one.
      QCOMPARE(side.tokens.first().id, side.tokens.first().top.first().id);
    }
    QCOMPARE(stage.transcripts().size(), 1);
    QCOMPARE(Evidence::of(*workbench_)->collect().prompts_run, 1);

    // The same prompt and seed give the same text again.
    const Pieces before = stage.sides()[1].pieces();
    stage.run();
    QTRY_VERIFY_WITH_TIMEOUT(!stage.running(), patience);
    QCOMPARE(first_divergence(before, true, stage.sides()[1].pieces(), true), std::int64_t(-1));

    // Stopping keeps what was written and is not a failure.
    stage.setMaxNew(4000);
    stage.run();
    QTRY_VERIFY_WITH_TIMEOUT(!stage.sides()[0].tokens.isEmpty(), patience);
    stage.stop();
    QTRY_VERIFY_WITH_TIMEOUT(!stage.running(), patience);
    QCOMPARE(stage.sides()[1].state, GenerationState::stopped);
    QVERIFY(stage.sides()[0].state != GenerationState::failed);
  }

  void measure() {
    EvaluateStage stage(*workbench_);
    QVERIFY(stage.textPath().endsWith(QStringLiteral("evaluation.txt")));
    stage.setContext(64);
    stage.setWindows(2);
    stage.measure();
    QTRY_VERIFY_WITH_TIMEOUT(workbench_->compareReport() && !workbench_->comparing(), patience);
    QCOMPARE(stage.figures().rowCount(), 2);
    const FigureRow row = stage.figures().rows()[1];
    QVERIFY(row.measured);
    QVERIFY(row.kl > 0);
    QVERIFY(row.perplexity > 1);
    QCOMPARE(qint64(row.tokens), qint64(2 * (64 - 64 / 2 - 1)));
    QVERIFY(Evidence::of(*workbench_)->collect().figures_of_result);

    stage.setText(QStringLiteral("/nowhere/text.txt"));
    stage.measure();
    QTRY_VERIFY_WITH_TIMEOUT(!workbench_->engine().busy(), patience);
    QVERIFY(!workbench_->comparing());
  }

  void exportAndVerify() {
    ExportStage stage(*workbench_);
    const QString folder = kept_.filePath(QStringLiteral("out/safetensors"));
    if (stage.formats().rowOf(QStringLiteral("safetensors")) < 0)
      QSKIP("no safetensors exporter is registered");
    stage.chooseFormat(QStringLiteral("safetensors"));
    stage.setFolder(folder);
    QTRY_VERIFY_WITH_TIMEOUT(stage.canExport(), patience);
    stage.exportNow();
    QTRY_COMPARE_WITH_TIMEOUT(stage.exports().rowCount(), 1, patience);
    QTRY_COMPARE_WITH_TIMEOUT(stage.exports().rows()[0].check, ExportRow::Check::passed, patience);
    QVERIFY(stage.exports().rows()[0].bytes > 0);
    QCOMPARE(Evidence::of(*workbench_)->collect().verified, 1);
  }

  void staleResultIsSaid() {
    QuantizeStage stage(*workbench_);
    Recipe recipe = workbench_->recipe();
    recipe.default_scheme = "int8-channel-sym";
    workbench_->setRecipe(recipe, QStringLiteral("int8"));
    QVERIFY(workbench_->resultStale());
    bool said = false;
    for (const auto* label : stage.findChildren<QLabel*>())
      said = said || label->text().contains(QStringLiteral("recipe changed"));
    QVERIFY(said);
    QCOMPARE(checklist(Evidence::of(*workbench_)->collect())[3].state, ChecklistItem::State::stale);
  }

  void cleanupTestCase() {
    delete workbench_;
    workbench_ = nullptr;
  }
};

QTEST_MAIN(TestGuiLoop)
#include "tst_gui_loop.moc"
