// SPDX-License-Identifier: GPL-3.0-or-later
// Calibration sets in the window: choosing files, what they cover, where they meet the text to
// judge on, and a second set beside the first. BITLATHE_PICTURES=FOLDER keeps pictures of it.
#include "app/gui/calibration/calibration_card.h"
#include "app/gui/calibration/calibration_files.h"
#include "app/gui/calibration/drawn_set.h"
#include "app/gui/evaluate/evaluate_stage.h"
#include "app/gui/evaluate/evaluation_text.h"
#include "app/gui/inspect/activations_card.h"
#include "app/gui/inspect/histogram_view.h"
#include "app/gui/inspect/inspect_stage.h"
#include "app/gui/inspect/second_set.h"
#include "app/gui/inspect/set_differences.h"
#include "app/gui/plan/plan_stage.h"
#include "app/gui/theme.h"
#include "app/gui/workbench.h"
#include "support.h"

#include <QApplication>
#include <QDropEvent>
#include <QFile>
#include <QFileInfo>
#include <QLabel>
#include <QMimeData>
#include <QPushButton>
#include <QSignalSpy>
#include <QTableView>
#include <QTemporaryDir>
#include <QtTest>
#include <QUndoStack>

using namespace bitlathe;
using namespace bitlathe::gui;

namespace {

constexpr int patience = 40000;

QString demo(const char* name) {
  return QString::fromStdString((test::demo_model() / name).string());
}

bool drop(QWidget& on, const QStringList& paths) {
  QMimeData data;
  QList<QUrl> urls;
  for (const QString& path : paths)
    urls << QUrl::fromLocalFile(path);
  data.setUrls(urls);
  QDragEnterEvent enter({10, 10}, Qt::CopyAction, &data, Qt::LeftButton, Qt::NoModifier);
  enter.ignore();
  QApplication::sendEvent(&on, &enter);
  if (!enter.isAccepted())
    return false;
  QDropEvent event({10, 10}, Qt::CopyAction, &data, Qt::LeftButton, Qt::NoModifier);
  QApplication::sendEvent(&on, &event);
  return true;
}

} // namespace

class TestGuiCalibration : public QObject {
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
  static void open(Workbench& workbench, const QString& path = demo("")) {
    QSignalSpy opened(&workbench, &Workbench::opened);
    workbench.open(path);
    QTRY_VERIFY_WITH_TIMEOUT(opened.count() == 1 && workbench.plan(), patience);
  }
  static void shorten(Workbench& workbench, const char* method = "rtn") {
    Recipe recipe = workbench.recipe();
    recipe.samples = 8;
    recipe.length = 64;
    recipe.default_method = method;
    workbench.setRecipe(recipe, "short");
  }

 private Q_SLOTS:
  void initTestCase() {
    QStandardPaths::setTestModeEnabled(true);
    Workbench::setKeptFolder(kept_.path());
    Theme::instance().apply(*qApp, ThemeMode::light);
  }

  void filesAreChosenAndCovered() {
    Workbench workbench;
    PlanStage stage(workbench);
    stage.resize(720, 900);
    stage.show();
    auto* card = stage.findChild<CalibrationCard*>();
    QVERIFY(card);
    open(workbench);
    CalibrationFiles& files = card->files();
    // Without a choice the model's own text is read, and said to be.
    QVERIFY(files.inherited());
    QCOMPARE(files.rowCount(), 1);
    const DrawnSet& drawn = DrawnSet::of(workbench);
    QTRY_VERIFY_WITH_TIMEOUT(drawn.set(), patience);
    QCOMPARE(drawn.set()->coverage.tokens_used, 128 * 256);
    QVERIFY(card->coverageText().contains(QStringLiteral("128 windows")));
    QVERIFY(card->warningText().isEmpty());

    // Several files by dropping, with parts, fields and weights; each edit can be undone.
    QVERIFY(!drop(*card, {demo("config.json")}));
    QVERIFY(!drop(*card, {demo("")}));
    QVERIFY(drop(*card, {demo("calibration.txt"), demo("tasks.jsonl")}));
    QCOMPARE(files.rowCount(), 2);
    QVERIFY(!files.inherited());
    const auto put = [&](int row, int column, const QVariant& value) {
      return files.setData(files.index(row, column), value, Qt::EditRole);
    };
    QVERIFY(put(0, CalibrationFiles::part, "calibration"));
    QVERIFY(put(0, CalibrationFiles::weight, 3.0));
    QVERIFY(put(1, CalibrationFiles::field, "prompt"));
    QVERIFY(!put(0, CalibrationFiles::part, "something"));
    QVERIFY(!put(0, CalibrationFiles::weight, -1));
    QVERIFY(!put(0, CalibrationFiles::field, "text")); // a text has none
    shorten(workbench);
    QTRY_VERIFY_WITH_TIMEOUT(drawn.set() && drawn.set()->files.size() == 2, patience);
    QCOMPARE(drawn.set()->files[0].windows, 6);
    QCOMPARE(drawn.set()->files[1].windows, 2);
    QCOMPARE(drawn.set()->files[1].documents, 128);
    QCOMPARE(files.index(1, CalibrationFiles::documents).data().toString(), QString("128"));
    QCOMPARE(workbench.recipe().calibration_files[0].split, std::string("calibration"));
    pictures(stage, QStringLiteral("calibration"));
    const int steps = workbench.undoStack().index();
    workbench.undoStack().undo();
    workbench.undoStack().undo();
    QVERIFY(workbench.recipe().calibration_files[1].field.empty());
    QVERIFY(workbench.undoStack().index() == steps - 2);

    // What cannot be drawn is said, in words, with the file.
    QVERIFY(put(0, CalibrationFiles::path, "/nowhere/text.txt"));
    QTRY_VERIFY_WITH_TIMEOUT(card->warningText().contains(QStringLiteral("/nowhere/text.txt")),
                             patience);
    QCOMPARE(files.missing().size(), 1);
    files.remove({0, 1});
    QVERIFY(files.inherited());
    Recipe greedy = workbench.recipe();
    greedy.samples = 100000;
    workbench.setRecipe(greedy, "too many");
    QTRY_VERIFY_WITH_TIMEOUT(card->warningText().contains(QStringLiteral("tokens")), patience);
  }

  void overlapIsSaid() {
    Workbench workbench;
    CalibrationCard card(workbench);
    EvaluateStage stage(workbench);
    stage.resize(900, 800);
    stage.show();
    open(workbench);
    EvaluationText& text = EvaluationText::of(workbench);
    QVERIFY(text.choice().path.endsWith(QStringLiteral("evaluation.txt")));
    const auto settled = [&] {
      QTest::qWait(250);
      QTRY_VERIFY_WITH_TIMEOUT(!workbench.engine().busy() && DrawnSet::of(workbench).set(),
                               patience);
      QTest::qWait(250);
      QTRY_VERIFY_WITH_TIMEOUT(!workbench.engine().busy(), patience);
    };
    settled();
    QCOMPARE(text.setNote(), QString());
    // The chooser says it before anything was run.
    QFile whole(demo("calibration.txt")), some(sessions_.filePath("some.txt"));
    QVERIFY(whole.open(QIODevice::ReadOnly) && some.open(QIODevice::WriteOnly));
    QVERIFY(some.write(whole.read(20000)) > 0);
    some.close();
    auto choice = text.choice();
    choice.path = demo("calibration.txt");
    choice.context = 64;
    choice.windows = 0;
    text.choose(choice);
    QTRY_VERIFY_WITH_TIMEOUT(!text.setNote().isEmpty(), patience);
    QVERIFY(card.warningText().contains(QStringLiteral("shares text with this set")));
    // Parts of one file never meet.
    Recipe recipe = workbench.recipe();
    choice.path = some.fileName();
    recipe.calibration_files = {{choice.path.toStdString(), 1.0, "", "calibration"}};
    recipe.samples = 16;
    recipe.length = 64;
    recipe.default_method = "gptq";
    workbench.setRecipe(recipe, "a part");
    choice.part = "evaluation";
    text.choose(choice);
    QTRY_VERIFY_WITH_TIMEOUT(text.setNote().isEmpty(), patience);

    // A result remembers its text.
    workbench.startQuantize();
    QTRY_VERIFY_WITH_TIMEOUT(workbench.summary(), patience);
    QVERIFY(!workbench.summary()->calibration.empty());
    settled();
    QCOMPARE(text.notes(), QStringList());
    choice.part.clear();
    choice.windows = 0;
    text.choose(choice);
    QTRY_COMPARE_WITH_TIMEOUT(text.notes().size(), 1, patience);
    QVERIFY(text.notes().first().contains(QStringLiteral("was calibrated on this text")));
    bool seen = false;
    for (const auto* label : stage.findChildren<QLabel*>())
      seen = seen || (label->isVisible() && label->text().contains(text.notes().first()));
    QVERIFY(seen);
    pictures(stage, QStringLiteral("overlap"));
    // And measuring keeps the note with the figures.
    choice.windows = 2;
    choice.part = "calibration";
    text.choose(choice);
    stage.measure();
    QTRY_VERIFY_WITH_TIMEOUT(workbench.compareReport() && !workbench.comparing(), patience);
    const auto& report = *workbench.compareReport();
    QVERIFY(!report.notes.empty()); // that the part is there to calibrate on
    choice.part.clear();
    choice.windows = 20;
    text.choose(choice);
    stage.measure();
    QTRY_VERIFY_WITH_TIMEOUT(workbench.comparing(), patience);
    QTRY_VERIFY_WITH_TIMEOUT(!workbench.comparing(), patience);
    QVERIFY(workbench.compareReport());
    bool kept = false;
    for (const auto& note : workbench.compareReport()->models.at(0).notes)
      kept = kept || note.find("was calibrated on this text") != std::string::npos;
    QVERIFY(kept);
  }

  void secondSetBesideTheFirst() {
    QString session;
    {
      Workbench workbench;
      InspectStage stage(workbench);
      stage.resize(1100, 800);
      stage.show();
      open(workbench);
      shorten(workbench);
      auto* card = stage.findChild<ActivationsCard*>();
      auto* list = stage.findChild<QPushButton*>(QStringLiteral("inspect-set-differences"));
      QVERIFY(card && list && list->isHidden());
      workbench.startCalibration();
      QTRY_VERIFY_WITH_TIMEOUT(workbench.statistics(), patience);
      SecondSet& second = SecondSet::of(workbench);
      QVERIFY(second.differences().empty());
      auto files = workbench.calibrationFiles();
      second.collect(files, workbench.recipe().calibration_seed, "again");
      QVERIFY(second.collecting());
      QTRY_VERIFY_WITH_TIMEOUT(!second.differences().empty(), patience);
      QCOMPARE(second.differences().size(), workbench.statistics()->modules.size());
      // The same windows: no difference anywhere, and all of the text is shared.
      for (const auto& [name, difference] : second.differences()) {
        QCOMPARE(difference.histogram_distance, 0.0);
        QCOMPARE(difference.channels_over_twice, std::int64_t(0));
      }
      QVERIFY(second.notes().join(' ').contains(QStringLiteral("8 of the 8 windows")));

      files[0].path = demo("tasks.jsonl").toStdString();
      second.collect(files, 0, "tasks");
      QTRY_VERIFY_WITH_TIMEOUT(!second.collecting() && second.title() == "tasks" &&
                                   !second.differences().empty(),
                               patience);
      const QString module = QStringLiteral("model.layers.0.self_attn.q_proj");
      QVERIFY(second.difference(module)->histogram_distance > 0.005);
      workbench.select({module});
      QTRY_VERIFY_WITH_TIMEOUT(!workbench.engine().busy(), patience);
      const QString csv = card->histogram().csv();
      QVERIFY(csv.startsWith(QStringLiteral("from,to,first")));
      QVERIFY(!csv.section('\n', 1).section(',', 4, 4).isEmpty());
      list->click();
      QTableView* table = card->differences();
      QVERIFY(table->isVisible());
      QCOMPARE(table->model()->rowCount(), int(second.differences().size()));
      QCOMPARE(table->currentIndex().siblingAtColumn(0).data().toString(), module);
      table->selectRow(table->currentIndex().row() == 0 ? 1 : 0);
      QCOMPARE(workbench.current(), table->currentIndex().siblingAtColumn(0).data().toString());
      QTRY_VERIFY_WITH_TIMEOUT(!workbench.engine().busy(), patience);
      pictures(stage, QStringLiteral("second-set"));
      session = sessions_.filePath(QStringLiteral("sets.bitlathe"));
      QString error;
      QVERIFY2(workbench.saveSession(session, &error), qPrintable(error));
      workbench.cleanKept(); // what the session needs stays
      QTRY_VERIFY_WITH_TIMEOUT(!workbench.engine().busy(), patience);
    }
    Workbench again;
    InspectStage stage(again);
    open(again, session);
    SecondSet& second = SecondSet::of(again);
    QTRY_VERIFY_WITH_TIMEOUT(!second.differences().empty(), patience);
    QCOMPARE(second.title(), QStringLiteral("tasks"));
    second.drop();
    QVERIFY(!second.statistics() && second.differences().empty());
    QVERIFY(stage.findChild<QPushButton*>(QStringLiteral("inspect-set-differences"))->isHidden());
  }

  void failuresOfTheSecondSetAreTold() {
    Workbench workbench;
    QStringList problems;
    connect(&workbench, &Workbench::message, this, [&](int level, const QString& text) {
      if (level >= int(LogLevel::error))
        problems << text;
    });
    open(workbench);
    SecondSet& second = SecondSet::of(workbench);
    second.collect({{"/nowhere/other.txt", 1.0}}, 0, "none");
    QTRY_VERIFY_WITH_TIMEOUT(!second.collecting(), patience);
    QVERIFY(problems.value(0).contains(QStringLiteral("/nowhere/other.txt")));
    second.read(demo("config.json"));
    QTRY_VERIFY_WITH_TIMEOUT(!second.collecting() && problems.size() == 2, patience);
    QVERIFY(!second.statistics());
  }
};

QTEST_MAIN(TestGuiCalibration)
#include "tst_gui_calibration.moc"
