// SPDX-License-Identifier: GPL-3.0-or-later
// The start page on made-up caches, and a second checkpoint beside the first: overlay, figures,
// the column of the tree, sessions.
#include "app/gui/inspect/checkpoint_panel.h"
#include "app/gui/inspect/histogram_view.h"
#include "app/gui/inspect/second_errors.h"
#include "app/gui/inspect/tensor_lookup.h"
#include "app/gui/shell/main_window.h"
#include "app/gui/start/start_model.h"
#include "app/gui/start/start_page.h"
#include "app/gui/theme.h"
#include "app/gui/tree/layer_model.h"
#include "app/gui/tree/layer_panel.h"
#include "app/gui/workbench.h"
#include "tests/support.h"

#include <fstream>
#include <QApplication>
#include <QLineEdit>
#include <QSignalSpy>
#include <QStandardPaths>
#include <QTableView>
#include <QTemporaryDir>
#include <QTest>
#include <QTreeView>

using namespace bitlathe;
using namespace bitlathe::gui;

namespace {

constexpr int patience = 60000;

QString demo() { return QString::fromStdString(test::demo_model().string()); }

/// LM Studio's layout: the demo model, a broken file, and nothing else.
std::vector<ModelPlace> fake_places(const fs::path& root) {
  fs::create_directories(root / "models/someone/demo");
  for (const char* name : {"model.safetensors", "config.json", "tokenizer.json"})
    fs::create_symlink(test::demo_model() / name, root / "models/someone/demo" / name);
  fs::create_directories(root / "models/someone/broken");
  std::ofstream(root / "models/someone/broken/x-Q4_K_M.gguf") << "GGUF";
  return {{"lmstudio", root / "models"}, {"ollama", root / "nothing"}};
}

/// The histogram of weights on the Inspect stage; the other one shows activations.
HistogramView* weights_of(MainWindow& window) {
  for (auto* view : window.stageWidget(0)->findChildren<HistogramView*>())
    if (!view->accessibleName().contains("activations"))
      return view;
  return nullptr;
}

} // namespace

class StartTest : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void initTestCase() {
    QStandardPaths::setTestModeEnabled(true);
    Workbench::setKeptFolder(kept_.path());
    Theme::instance().apply(*static_cast<QApplication*>(QApplication::instance()),
                            ThemeMode::light);
  }
  void labels();
  void lists_and_opens();
  void empty_machine();
  void second_checkpoint();
  void second_in_session();
  void second_that_does_not_fit();

 private:
  QTemporaryDir kept_;
};

void StartTest::labels() {
  QCOMPARE(bitsOfLabel("Q4_K_M"), 4.0);
  QCOMPARE(bitsOfLabel("IQ2_XXS"), 2.0);
  QCOMPARE(bitsOfLabel("TQ1_0"), 2.0);
  QCOMPARE(bitsOfLabel("bf16"), 16.0);
  QCOMPARE(bitsOfLabel("gptq 4 bit"), 4.0);
  QCOMPARE(bitsOfLabel("compressed-tensors"), -1.0);
}

void StartTest::lists_and_opens() {
  QTemporaryDir dir;
  Workbench workbench;
  MainWindow window(workbench, false);
  StartPage& page = window.startPage();
  page.setPlaces(fake_places(dir.path().toStdString()));
  page.setRecent({dir.filePath("gone.gguf")});
  QSignalSpy searched(&page, &StartPage::searched);
  window.show();
  QTRY_VERIFY_WITH_TIMEOUT(searched.count() > 0 && !page.searching(), patience);
  QVERIFY(page.isVisible());
  auto& view = page.view();
  auto* rows = view.model();
  QCOMPARE(rows->rowCount(), 2); // opened before, LM Studio
  const QModelIndex recent = rows->index(0, 0), studio = rows->index(1, 0);
  QCOMPARE(rows->rowCount(studio), 2);
  QVERIFY(view.isExpanded(studio));
  QVERIFY(rows->index(0, int(StartColumn::where), recent).data().toString().contains("Not there"));
  // What cannot be opened is not opened, and says why.
  QSignalSpy chosen(&page, &StartPage::chosen);
  Q_EMIT view.activated(rows->index(0, 0, recent));
  QCOMPARE(chosen.count(), 0);
  // Search narrows; sources without a match go.
  auto* search = page.findChild<QLineEdit*>();
  search->setText("someone demo");
  QCOMPARE(rows->rowCount(), 1);
  QCOMPARE(rows->rowCount(rows->index(0, 0)), 1);
  QCOMPARE(rows->index(0, 0, rows->index(0, 0)).data().toString(), QString("someone/demo"));
  QSignalSpy opened(&workbench, &Workbench::opened);
  QTest::keyClick(search, Qt::Key_Return);
  QTRY_COMPARE_WITH_TIMEOUT(opened.count(), 1, patience);
  QVERIFY(!page.isVisible());
  QCOMPARE(workbench.checkpoint()->name, std::string("demo"));
  // Ctrl+O comes back to the list, Escape to the model.
  window.showStart(StartPage::Purpose::open);
  QVERIFY(page.isVisible());
  QTest::keyClick(&page, Qt::Key_Escape);
  QVERIFY(!page.isVisible());
  QTRY_VERIFY_WITH_TIMEOUT(!workbench.engine().busy(), patience);
}

void StartTest::empty_machine() {
  QTemporaryDir dir;
  Workbench workbench;
  StartPage page(workbench);
  page.setPlaces({{"ollama", dir.path().toStdString() + "/nothing"}});
  QSignalSpy searched(&page, &StartPage::searched);
  page.show();
  QTRY_COMPARE_WITH_TIMEOUT(searched.count(), 1, patience);
  QCOMPARE(page.model().modelCount(), 0);
  QVERIFY(!page.view().isVisible()); // the empty state teaches instead
}

void StartTest::second_checkpoint() {
  Workbench workbench;
  MainWindow window(workbench, false);
  window.show();
  QSignalSpy opened(&workbench, &Workbench::opened);
  window.openPath(demo());
  QTRY_COMPARE_WITH_TIMEOUT(opened.count(), 1, patience);
  const QString module = QStringLiteral("model.layers.1.mlp.down_proj");
  workbench.select({module});
  workbench.startQuantize();
  QTRY_VERIFY_WITH_TIMEOUT(workbench.summary(), patience);
  const auto result = workbench.moduleResults();
  const QString folder = workbench.resultFolder();

  QSignalSpy changed(&workbench, &Workbench::secondChanged);
  workbench.openSecond(folder);
  QTRY_COMPARE_WITH_TIMEOUT(changed.count(), 1, patience);
  QVERIFY(workbench.second());
  QVERIFY(workbench.secondModule(module));
  QVERIFY(!window.layers().view()->isColumnHidden(int(TreeColumn::second)));
  auto& errors = SecondErrors::of(workbench);
  QTRY_VERIFY_WITH_TIMEOUT(errors.find(module), patience);
  const auto told = [&](const QString& name) {
    for (const auto& one : result)
      if (QString::fromStdString(one.name) == name)
        return one.sqnr_db;
    return -1.0;
  };
  QVERIFY(std::abs(errors.find(module)->sqnr_db - told(module)) < 1e-6);

  // The overlay: three counts per line of the exported figures.
  auto* histogram = weights_of(window);
  QTRY_VERIFY_WITH_TIMEOUT(histogram->csv().section('\n', 100, 100).count(',') == 4 &&
                               !histogram->csv().section('\n', 100, 100).endsWith(','),
                           patience);
  quint64 sums[3] = {};
  for (const auto& line : histogram->csv().split('\n').mid(1))
    for (int i = 0; i < 3; ++i)
      sums[i] += line.section(',', 2 + i, 2 + i).toULongLong();
  QCOMPARE(sums[0], quint64(256 * 768));
  QVERIFY(sums[2] > 0);

  // The column fills on request; a block shows its worst module.
  errors.measureAll();
  QVERIFY(errors.measuring());
  QTRY_VERIFY_WITH_TIMEOUT(!errors.measuring(), patience);
  auto* model = window.layers().model();
  for (const auto& one : result) {
    const auto* error = errors.find(QString::fromStdString(one.name));
    QVERIFY(error && error->reason.isEmpty());
    const QString shown = model->indexOf(QString::fromStdString(one.name))
                              .siblingAtColumn(int(TreeColumn::second))
                              .data()
                              .toString();
    QCOMPARE(shown, one.quantized ? QString::number(error->sqnr_db, 'f', 1) + " dB"
                                  : QStringLiteral("equal"));
  }
  const QModelIndex block = model->indexOf(module).parent();
  QVERIFY(block.siblingAtColumn(int(TreeColumn::second)).data().toString().endsWith("dB"));
  QTRY_VERIFY_WITH_TIMEOUT(
      TensorLookup::of(workbench).find(module, TensorLookup::second) != nullptr, patience);

  // The panel has both columns; closing takes everything away again.
  auto* facts = window.findChild<FactsModel*>();
  QVERIFY(facts);
  QCOMPARE(facts->columnCount(), 3);
  workbench.closeSecond();
  QVERIFY(!workbench.second());
  QCOMPARE(facts->columnCount(), 2);
  QVERIFY(!errors.find(module));
  QVERIFY(window.layers().view()->isColumnHidden(int(TreeColumn::second)));
  QTRY_VERIFY_WITH_TIMEOUT(!workbench.engine().busy(), patience);
}

void StartTest::second_in_session() {
  QTemporaryDir dir;
  const QString session = dir.filePath("s.bitlathe");
  {
    Workbench workbench;
    QSignalSpy opened(&workbench, &Workbench::opened),
        changed(&workbench, &Workbench::secondChanged);
    workbench.open(demo());
    QTRY_COMPARE_WITH_TIMEOUT(opened.count(), 1, patience);
    changed.clear();
    workbench.openSecond(demo());
    QTRY_COMPARE_WITH_TIMEOUT(changed.count(), 1, patience);
    QString error;
    QVERIFY(workbench.saveSession(session, &error));
  }
  Workbench workbench;
  QSignalSpy opened(&workbench, &Workbench::opened);
  workbench.open(session);
  QTRY_COMPARE_WITH_TIMEOUT(opened.count(), 1, patience);
  QVERIFY(workbench.second());
  QVERIFY(workbench.secondModule("lm_head"));
  workbench.open(demo());
  QTRY_COMPARE_WITH_TIMEOUT(opened.count(), 2, patience);
  QVERIFY(!workbench.second());
}

void StartTest::second_that_does_not_fit() {
  QTemporaryDir dir;
  Workbench workbench;
  QSignalSpy opened(&workbench, &Workbench::opened), said(&workbench, &Workbench::message);
  workbench.open(demo());
  QTRY_COMPARE_WITH_TIMEOUT(opened.count(), 1, patience);
  said.clear();
  workbench.openSecond(dir.filePath("nothing"));
  QTRY_VERIFY_WITH_TIMEOUT(said.count() > 0, patience);
  QVERIFY(!workbench.second());
  QVERIFY(said.last().at(1).toString().contains("no such file"));
}

QTEST_MAIN(StartTest)
#include "tst_start.moc"
