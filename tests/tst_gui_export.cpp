// SPDX-License-Identifier: GPL-3.0-or-later
// The Export stage: the matrix of formats, what the doctor finds and what it stops, sizes foreseen
// to the byte, fallbacks taken into the plan, cancel, snippets. BITLATHE_PICTURES=FOLDER keeps
// pictures of it.
#include "app/gui/evaluate/evidence.h"
#include "app/gui/export/export_stage.h"
#include "app/gui/export/export_target.h"
#include "app/gui/export/use_card.h"
#include "app/gui/stage.h"
#include "app/gui/theme.h"
#include "app/gui/workbench.h"
#include "support.h"

#include <QApplication>
#include <QClipboard>
#include <QDir>
#include <QDoubleSpinBox>
#include <QPushButton>
#include <QSignalSpy>
#include <QTableWidget>
#include <QTemporaryDir>
#include <QtTest>
#include <QUndoStack>

using namespace bitlathe;
using namespace bitlathe::gui;

namespace {

constexpr int patience = 60000;

/// Says for one reader, of any model, that it stumbles.
FormatReport report(const char* id, Finding::Level level, const char* runtime) {
  FormatReport out;
  out.id = QString::fromLatin1(id);
  out.modules = 10;
  out.bytes = out.weight_bytes = 1000;
  out.findings.push_back({level, "", "stumbles", runtime});
  return out;
}

} // namespace

class TestGuiExport : public QObject {
  Q_OBJECT
  QTemporaryDir kept_, out_;

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
  static void open(Workbench& workbench) {
    workbench.open(QString::fromStdString(test::demo_model().string()));
    QTRY_VERIFY_WITH_TIMEOUT(workbench.checkpoint() && workbench.plan(), patience);
  }
  static void scheme(Workbench& workbench, const char* id) {
    Recipe recipe = workbench.recipe();
    recipe.default_scheme = id;
    workbench.setRecipe(recipe, QString::fromLatin1(id));
  }
  static void quantize(Workbench& workbench) {
    workbench.startQuantize();
    QTRY_VERIFY_WITH_TIMEOUT(workbench.summary(), patience);
  }
  static const FormatRow* row(const ExportStage& stage, const char* id) {
    const int at = stage.formats().rowOf(QString::fromLatin1(id));
    return at < 0 ? nullptr : &stage.formats().rows()[at];
  }

 private Q_SLOTS:
  void initTestCase() {
    QStandardPaths::setTestModeEnabled(true);
    Workbench::setKeptFolder(kept_.path());
    Theme::instance().apply(*qApp, ThemeMode::light);
  }

  void runtimesTurnRemarksIntoStops() {
    QVERIFY(!all_exporters().empty());
    const std::string id(all_exporters()[0]->id);
    FormatsModel model;
    const auto state = [&] { return model.rows()[0].state; };
    model.setReports({report(id.c_str(), Finding::Level::warning, "vllm")}, {});
    QCOMPARE(state(), FormatState::fits);
    QCOMPARE(model.rows()[0].elsewhere, 1);
    model.setReports({report(id.c_str(), Finding::Level::warning, "vllm")}, "mlx");
    QCOMPARE(state(), FormatState::fits);
    model.setReports({report(id.c_str(), Finding::Level::warning, "vllm")}, "vllm");
    QCOMPARE(state(), FormatState::warned);
    model.setReports({report(id.c_str(), Finding::Level::refuse, "vllm")}, "vllm");
    QCOMPARE(state(), FormatState::refuses);
    model.setReports({report(id.c_str(), Finding::Level::warning, "")}, {});
    QCOMPARE(state(), FormatState::warned);
    FormatReport broken;
    broken.id = QString::fromStdString(id);
    broken.problem = "cannot be described";
    model.setReports({broken}, {});
    QCOMPARE(state(), FormatState::refuses);
    QCOMPARE(model.index(0, FormatsModel::size).data().toString(), QStringLiteral("\u2013"));
  }

  /// Every registered format, foreseen from the plan and after the fact; the same size twice.
  void foreseenToTheByte() {
    Workbench workbench;
    ExportStage stage(workbench);
    stage.resize(860, 800);
    stage.show();
    open(workbench);
    QCOMPARE(stage.subject(), ExportStage::Subject::plan);
    QTRY_VERIFY_WITH_TIMEOUT(stage.examined(), patience);
    QHash<QString, quint64> foreseen;
    for (const FormatRow& one : stage.formats().rows()) {
      QVERIFY2(one.state != FormatState::unknown, qPrintable(one.id));
      QVERIFY2(one.report.problem.isEmpty(), qPrintable(one.id + one.report.problem));
      QCOMPARE(one.report.held() + int(one.report.fallbacks.size()) + one.report.refused,
               one.report.modules);
      if (one.state != FormatState::refuses) {
        QVERIFY2(one.report.bytes > 0 && one.report.bits_per_weight > 1, qPrintable(one.id));
        if (one.report.fallbacks.empty())
          foreseen[one.id] = one.report.bytes;
      }
      stage.chooseFormat(one.id);
      QVERIFY(!stage.canExport()); // there is no result yet
    }
    QVERIFY(!foreseen.isEmpty());
    pictures(stage, QStringLiteral("export-plan"));
    quantize(workbench);
    QTRY_VERIFY_WITH_TIMEOUT(stage.examined() && stage.subject() == ExportStage::Subject::result,
                             patience);
    int exports = 0;
    for (const QString& id : foreseen.keys()) {
      QCOMPARE(row(stage, qPrintable(id))->report.bytes, foreseen[id]);
      stage.chooseFormat(id);
      stage.setFolder(out_.filePath("bytes/" + id));
      if (row(stage, qPrintable(id))->state == FormatState::warned)
        stage.acceptWarnings(true);
      QVERIFY2(stage.canExport(), qPrintable(id));
      stage.exportNow();
      ++exports;
      QTRY_COMPARE_WITH_TIMEOUT(stage.exports().rowCount(), exports, patience);
      QCOMPARE(stage.exports().rows()[0].bytes, foreseen[id]);
      QTRY_VERIFY_WITH_TIMEOUT(stage.exports().rows()[0].check != ExportRow::Check::running,
                               patience);
      QCOMPARE(stage.exports().rows()[0].check, ExportRow::Check::passed);
      // The folder is taken now, and the lines to use it name what was written.
      QVERIFY(!stage.use().text().contains(QStringLiteral("{path}")));
      for (auto* button : stage.findChildren<QPushButton*>())
        QVERIFY(button->text() != QStringLiteral("Export") || button->isHidden());
    }
    QTest::qWait(100);
    pictures(stage, QStringLiteral("export-done"));
    stage.use().copy();
    QCOMPARE(QApplication::clipboard()->text(), stage.use().text());
  }

  void warningsNeedOneClick() {
    Workbench workbench;
    ExportStage stage(workbench);
    stage.resize(860, 800);
    stage.show();
    open(workbench);
    // Parts that vLLM joins, in two precisions.
    workbench.setModules({"model.layers.0.self_attn.q_proj"}, "int8-channel-sym", {});
    quantize(workbench);
    QTRY_VERIFY_WITH_TIMEOUT(stage.examined() && stage.subject() == ExportStage::Subject::result,
                             patience);
    const FormatRow* found = nullptr;
    for (const FormatRow& one : stage.formats().rows())
      if (one.state == FormatState::fits && one.elsewhere > 0 &&
          one.report.findings.front().runtime == "vllm")
        found = &one;
    if (!found)
      QSKIP("no format has a remark for vLLM here");
    stage.chooseFormat(found->id);
    stage.setFolder(out_.filePath("warned"));
    QVERIFY(stage.canExport());
    stage.chooseRuntime(QStringLiteral("vllm"));
    QVERIFY(!stage.canExport());
    QTRY_VERIFY_WITH_TIMEOUT(stage.examined(), patience);
    QCOMPARE(found->state, FormatState::warned);
    QVERIFY(!stage.canExport());
    pictures(stage, QStringLiteral("export-warned"));
    stage.exportNow();
    QVERIFY(!QDir(out_.filePath("warned")).exists());
    stage.acceptWarnings(true);
    QVERIFY(stage.canExport());
    // Accepting holds for these warnings: others have to be read again.
    stage.chooseRuntime({});
    QTRY_VERIFY_WITH_TIMEOUT(stage.examined(), patience);
    stage.chooseRuntime(QStringLiteral("vllm"));
    QTRY_VERIFY_WITH_TIMEOUT(stage.examined(), patience);
    QVERIFY(stage.canExport());
    stage.exportNow();
    QTRY_COMPARE_WITH_TIMEOUT(stage.exports().rowCount(), 1, patience);
    QTRY_COMPARE_WITH_TIMEOUT(stage.exports().rows()[0].check, ExportRow::Check::passed, patience);

    // The plan can be looked at again beside the result, but not written.
    scheme(workbench, "int4-g32-sym");
    QTRY_VERIFY_WITH_TIMEOUT(stage.examined(), patience);
    QCOMPARE(stage.subject(), ExportStage::Subject::result);
  }

  void refusalsStop() {
    Workbench workbench;
    ExportStage stage(workbench);
    open(workbench);
    scheme(workbench, "int3-g128-asym");
    quantize(workbench);
    QTRY_VERIFY_WITH_TIMEOUT(stage.examined() && stage.subject() == ExportStage::Subject::result,
                             patience);
    int refused = 0;
    for (const FormatRow& one : stage.formats().rows())
      if (one.state == FormatState::refuses) {
        ++refused;
        stage.chooseFormat(one.id);
        stage.setFolder(out_.filePath("refused"));
        stage.acceptWarnings(true);
        QVERIFY(!stage.canExport());
        stage.exportNow();
      }
    QVERIFY(refused > 0);
    QTRY_VERIFY_WITH_TIMEOUT(!workbench.engine().busy(), patience);
    QVERIFY(!QDir(out_.filePath("refused")).exists());
    // Too little space for a folder on no disk that is there, or an unusable place, is told.
    for (const FormatRow& one : stage.formats().rows())
      if (one.state == FormatState::fits) {
        stage.chooseFormat(one.id);
        stage.setFolder(QStringLiteral("/proc/nowhere/export"));
        QVERIFY(stage.canExport());
        QSignalSpy finished(&workbench, &Workbench::exportFinished);
        stage.exportNow();
        QTRY_COMPARE_WITH_TIMEOUT(finished.count(), 1, patience);
        QVERIFY(!finished.first().at(1).toString().isEmpty());
        QCOMPARE(stage.exports().rowCount(), 0);
        return;
      }
  }

  void fallbacksGoIntoThePlan() {
    Workbench workbench;
    ExportStage stage(workbench);
    open(workbench);
    scheme(workbench, "int4-g96-asym"); // the last group of a row is shorter
    QTRY_VERIFY_WITH_TIMEOUT(stage.examined(), patience);
    const FormatRow* found = nullptr;
    for (const FormatRow& one : stage.formats().rows())
      if (!one.report.fallbacks.empty())
        found = &one;
    if (!found)
      QSKIP("no registered format falls back on this model");
    stage.chooseFormat(found->id);
    const auto count = found->report.fallbacks.size();
    QVERIFY(found->report.held() < found->report.modules);
    stage.adoptFallbacks();
    QCOMPARE(workbench.recipe().rules.size(), count);
    QTRY_VERIFY_WITH_TIMEOUT(stage.examined(), patience);
    QVERIFY(found->report.fallbacks.empty());
    workbench.undoStack().undo();
    QVERIFY(workbench.recipe().rules.empty());
  }

  /// The widest stage decides how much is left for tree and details.
  void stagesLeaveRoomForTheTree() {
    Workbench workbench;
    open(workbench);
    quantize(workbench);
    for (const Stage* stage : all_stages()) {
      const std::unique_ptr<QWidget> made(stage->make(workbench, nullptr));
      made->ensurePolished();
      const int width = made->minimumSizeHint().width();
      qInfo("%s: at least %d", stage->id, width);
      const int letters = width / QFontMetrics(qApp->font()).averageCharWidth();
      QVERIFY2(letters < 150, stage->id);
    }
  }

  void shardsAndCancel() {
    Workbench workbench;
    ExportStage stage(workbench);
    stage.show();
    open(workbench);
    quantize(workbench);
    QTRY_VERIFY_WITH_TIMEOUT(stage.examined() && stage.subject() == ExportStage::Subject::result,
                             patience);
    QString format;
    for (const FormatRow& one : stage.formats().rows())
      if (one.state == FormatState::fits && format.isEmpty())
        format = one.id;
    QVERIFY(!format.isEmpty());
    stage.chooseFormat(format);
    const auto files = row(stage, qPrintable(format))->report.files.size();
    auto* shards = stage.findChild<ExportTarget*>()->findChild<QDoubleSpinBox*>();
    shards->setValue(0.001);
    QTRY_VERIFY_WITH_TIMEOUT(stage.examined(), patience);
    QVERIFY(row(stage, qPrintable(format))->report.files.size() > files);
    stage.setFolder(out_.filePath("cancelled"));
    QSignalSpy finished(&workbench, &Workbench::exportFinished);
    stage.exportNow();
    QVERIFY(!stage.canExport());
    workbench.engine().cancelAll();
    QTRY_COMPARE_WITH_TIMEOUT(finished.count(), 1, patience);
    QVERIFY(!QDir(out_.filePath("cancelled")).exists());
    QTRY_VERIFY_WITH_TIMEOUT(stage.canExport(), patience); // and it can be done again
    stage.exportNow();
    QTRY_COMPARE_WITH_TIMEOUT(stage.exports().rowCount(), 1, patience);
    QTRY_COMPARE_WITH_TIMEOUT(stage.exports().rows()[0].check, ExportRow::Check::passed, patience);
  }
};

QTEST_MAIN(TestGuiExport)
#include "tst_gui_export.moc"
