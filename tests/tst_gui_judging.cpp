// SPDX-License-Identifier: GPL-3.0-or-later
// Variants of a session in their widgets on the demo model: what is kept of every run, baselines,
// the chart, worst tokens, and what a saved session brings back.
#include "app/gui/evaluate/breakdown_chart.h"
#include "app/gui/evaluate/detail_page.h"
#include "app/gui/evaluate/evaluate_stage.h"
#include "app/gui/evaluate/quality_card.h"
#include "app/gui/evaluate/speed_page.h"
#include "app/gui/evaluate/tasks_page.h"
#include "app/gui/evaluate/variants_card.h"
#include "app/gui/evaluate/variants_page.h"
#include "app/gui/evaluate/worst_tokens.h"
#include "app/gui/theme.h"
#include "support.h"

#include <algorithm>
#include <QApplication>
#include <QPushButton>
#include <QSignalSpy>
#include <QTableView>
#include <QTemporaryDir>
#include <QTextBrowser>
#include <QtTest>

using namespace bitlathe;
using namespace bitlathe::gui;

namespace {

constexpr int patience = 60000;

QualityPoint point(quint64 bytes, double kl,
                   QualityPoint::Kind kind = QualityPoint::Kind::variant) {
  QualityPoint p;
  p.bytes = bytes;
  p.kl = kl;
  p.perplexity = 10 + kl;
  p.kind = kind;
  return p;
}

} // namespace

class TestGuiJudging : public QObject {
  Q_OBJECT

  QTemporaryDir kept_;
  Workbench* workbench_ = nullptr;

  void quantize(const char* scheme) {
    Recipe recipe = workbench_->recipe();
    recipe.default_scheme = scheme;
    workbench_->setRecipe(recipe, QString::fromLatin1(scheme));
    workbench_->startQuantize();
    QTRY_VERIFY_WITH_TIMEOUT(!workbench_->quantizing() && workbench_->summary(), patience);
  }

 private Q_SLOTS:
  void initTestCase() {
    QStandardPaths::setTestModeEnabled(true);
    QVERIFY(kept_.isValid());
    Workbench::setKeptFolder(kept_.filePath(QStringLiteral("kept")));
    Theme::instance().apply(*qApp, ThemeMode::light);
    workbench_ = new Workbench(this);
  }

  void front() {
    using M = QualityChart::Measure;
    QVERIFY(QualityChart::front({}, M::kl).isEmpty());
    // Larger and worse is beaten; equal in both is beaten once.
    const QList<QualityPoint> points{point(10, 0.5), point(20, 0.6), point(20, 0.1),
                                     point(30, 0.1), point(5, 0.9),  point(40, 0)};
    QCOMPARE(QualityChart::front(points, M::kl), (QList<int>{4, 0, 2, 5}));
  }

  void chartIsClicked() {
    QualityChart chart;
    chart.resize(600, 300);
    QList<QualityPoint> points{point(100 << 20, 0, QualityPoint::Kind::original),
                               point(30 << 20, 0.2), point(50 << 20, 0.05)};
    points[1].variant = 7;
    chart.setPoints(points, 0.01);
    for (const bool logarithmic : {false, true}) {
      chart.setLogarithmic(logarithmic);
      QVERIFY(chart.place(1).x() < chart.place(2).x());
      QVERIFY(chart.place(1).y() < chart.place(2).y()); // worse is higher
      QVERIFY(chart.rect().contains(chart.place(0).toPoint()));
      QSignalSpy clicked(&chart, &QualityChart::variantClicked);
      QTest::mouseClick(&chart, Qt::LeftButton, {}, chart.place(1).toPoint() + QPoint(3, 3));
      QCOMPARE(clicked.size(), 1);
      QCOMPARE(clicked[0][0].toInt(), 7);
      QTest::mouseClick(&chart, Qt::LeftButton, {}, chart.place(0).toPoint());
      QCOMPARE(clicked.size(), 1); // the original has no recipe
      QVERIFY(!chart.grab().isNull());
    }
    QVERIFY(chart.csv().startsWith(QStringLiteral("model,kind,bytes")));
    QCOMPARE(chart.csv().count('\n'), 4);
  }

  void runsBecomeVariants() {
    workbench_->open(QString::fromStdString(test::demo_model().string()));
    QTRY_VERIFY_WITH_TIMEOUT(workbench_->checkpoint() && workbench_->plan(), patience);
    QVERIFY(workbench_->variants().empty());
    quantize("int4-g128-asym");
    quantize("int3-g128-asym");
    QCOMPARE(workbench_->variants().size(), std::size_t(2));
    QCOMPARE(workbench_->currentVariant(), 1);
    QVERIFY(workbench_->variantKept(0) && workbench_->variantKept(1));
    const SessionVariant& first = workbench_->variants()[0];
    QCOMPARE(first.title, std::string("int4-g128-asym rtn"));
    QVERIFY(first.bytes > 0 && first.bits_per_weight > 4 && !first.made.empty());
    QVERIFY(first.bytes > workbench_->variants()[1].bytes);
    // The same recipe again is the same variant.
    quantize("int4-g128-asym");
    QCOMPARE(workbench_->variants().size(), std::size_t(2));
    QCOMPARE(workbench_->currentVariant(), 0);
    QCOMPARE(workbench_->contenders()[1].title, QStringLiteral("int4-g128-asym rtn"));
  }

  void figuresGoToTheVariant() {
    EvaluateStage stage(*workbench_);
    stage.setContext(64);
    stage.setWindows(3);
    stage.measure();
    QTRY_VERIFY_WITH_TIMEOUT(workbench_->compareReport() && !workbench_->comparing(), patience);
    const auto& variants = workbench_->variants();
    QVERIFY(variants[0].figures && !variants[1].figures);
    QCOMPARE(QString::fromStdString(variants[0].judged_on), workbench_->judgedOn());
    QVERIFY(workbench_->judgedOn().contains(QStringLiteral("3 windows of 64 tokens")));
    const QualityPoints known = qualityPoints(*workbench_);
    QCOMPARE(known.points.size(), 2); // the original and the measured one
    QCOMPARE(known.missing, (QList<int>{1}));
    QVERIFY(known.points[1].current);
  }

  void baselinesAndMissingOnes() {
    VariantsPage page(*workbench_);
    page.resize(900, 700);
    page.quality()->measureMissing();
    QTRY_VERIFY_WITH_TIMEOUT(workbench_->measuringVariants(), patience);
    QTRY_VERIFY_WITH_TIMEOUT(!workbench_->measuringVariants(), patience);
    QVERIFY(workbench_->variants()[1].figures);
    page.quality()->measureBaselines(
        {QStringLiteral("int8-channel-sym"), QStringLiteral("int2-g64-asym")});
    QTRY_VERIFY_WITH_TIMEOUT(workbench_->measuringVariants(), patience);
    QTRY_VERIFY_WITH_TIMEOUT(!workbench_->measuringVariants(), patience);
    QCOMPARE(workbench_->variants().size(), std::size_t(4));
    const SessionVariant& eight = workbench_->variants()[2];
    const SessionVariant& two = workbench_->variants()[3];
    QVERIFY(eight.baseline && two.baseline && eight.figures && two.figures);
    QVERIFY(eight.result.empty()); // removed once measured
    QVERIFY(two.figures->kld_mean > 10 * eight.figures->kld_mean);
    QCOMPARE(eight.noise_floor, workbench_->compareReport()->noise_floor);
    // The same text, the same figures as those of the table.
    QCOMPARE(qualityPoints(*workbench_).points.size(), 5);
    QVERIFY(!page.grab().isNull());
    // Nothing but the two results is left on disk.
    QCOMPARE(QDir(Workbench::keptFolder()).entryList(QDir::Dirs | QDir::NoDotAndDotDot).size(), 3);
  }

  void recipesAreLoaded() {
    VariantsPage page(*workbench_);
    const Recipe before = workbench_->recipe();
    Q_EMIT page.quality()->chart()->variantClicked(1);
    QCOMPARE(workbench_->recipe().default_scheme, std::string("int3-g128-asym"));
    workbench_->undoStack().undo();
    QVERIFY(workbench_->recipe() == before);
    page.variants()->choose(2);
    QCOMPARE(page.variants()->chosen(), 2);
    workbench_->renameVariant(2, QStringLiteral(" eight bits "));
    QCOMPARE(workbench_->variants()[2].title, std::string("eight bits"));
    workbench_->renameVariant(2, QStringLiteral("  "));
    QCOMPARE(workbench_->variants()[2].title, std::string("eight bits"));
    workbench_->makeVariantCurrent(2); // nothing is kept of it
    workbench_->makeVariantCurrent(99);
    workbench_->loadVariantRecipe(-1);
    workbench_->makeVariantCurrent(1);
    QTRY_COMPARE_WITH_TIMEOUT(workbench_->currentVariant(), 1, patience);
    QVERIFY(workbench_->summary());
    // Its figures on the same text are in the table at once.
    QCOMPARE(workbench_->compareReport()->models.size(), std::size_t(2));
  }

  void worstTokens() {
    DetailPage page(*workbench_);
    page.resize(900, 700);
    page.show();
    auto* table = page.worst()->table();
    QVERIFY(table->model()->rowCount() > 10);
    QCOMPARE(page.figures()->model()->columnCount(), 2);
    table->selectRow(0);
    QTRY_VERIFY_WITH_TIMEOUT(
        page.worst()->context()->toPlainText().contains(QStringLiteral("The original expects")),
        patience);
    QSignalSpy offered(workbench_, &Workbench::promptOffered);
    for (auto* one : page.worst()->findChildren<QPushButton*>())
      if (one->text() == QStringLiteral("Open in Compare"))
        one->click();
    QCOMPARE(offered.size(), 1);
    QVERIFY(page.worst()->context()->toPlainText().contains(
        offered[0][0].toString().right(20).trimmed().left(8)));
    page.setBreakdown(1);
    QVERIFY(page.breakdown()->csv().contains(QStringLiteral("word start")));
  }

  void speedAndTasks() {
    SpeedPage speed(*workbench_);
    speed.resize(900, 700);
    speed.setOptions(QStringLiteral("8, 16"), QStringLiteral("1 2"), 2);
    speed.measure();
    QVERIFY(speed.measuring());
    QTRY_VERIFY_WITH_TIMEOUT(!speed.measuring(), patience);
    QCOMPARE(speed.report().models.size(), std::size_t(2));
    QCOMPARE(speed.report().models[1].points.size(), std::size_t(4));
    QVERIFY(!speed.grab().isNull());
    speed.setOptions(QStringLiteral("none"), QStringLiteral("1"), 1);
    speed.measure(); // says what is wrong
    QVERIFY(!speed.measuring());

    TasksPage tasks(*workbench_);
    tasks.resize(900, 700);
    tasks.setShots(1);
    tasks.run();
    QVERIFY(tasks.running());
    QTRY_VERIFY_WITH_TIMEOUT(!tasks.running(), patience);
    QCOMPARE(tasks.report().models.size(), std::size_t(2));
    QCOMPARE(tasks.report().items.size(), std::size_t(127));
    QVERIFY(tasks.report().models[1].paired_p);
    QVERIFY(!tasks.differences().isEmpty()); // three bits are not nothing
    tasks.showFirstDifference();
    QVERIFY(tasks.findChild<QTextBrowser*>()->toPlainText().contains(QStringLiteral("Asked")));
    QVERIFY(!tasks.grab().isNull());
  }

  void sessionsKeepThem() {
    const QString path = kept_.filePath(QStringLiteral("judged.bitlathe"));
    QString error;
    QVERIFY2(workbench_->saveSession(path, &error), qPrintable(error));
    const QString on = workbench_->judgedOn();
    Workbench other;
    DetailPage page(other);
    VariantsCard card(other);
    other.open(path);
    QTRY_VERIFY_WITH_TIMEOUT(other.checkpoint(), patience);
    QCOMPARE(other.variants().size(), std::size_t(4));
    QCOMPARE(other.currentVariant(), 1);
    QCOMPARE(other.judgedOn(), on);
    QCOMPARE(other.variants()[2].title, std::string("eight bits"));
    QCOMPARE(other.variants()[3].figures->kld_mean, workbench_->variants()[3].figures->kld_mean);
    QCOMPARE(qualityPoints(other).points.size(), 5);
    QCOMPARE(card.table()->model()->rowCount(), 4);
    QCOMPARE(SpeedPage(other).report().models.size(), std::size_t(2));
    QCOMPARE(TasksPage(other).report().items.size(), std::size_t(127));
    page.worst()->table()->selectRow(2);
    QTRY_VERIFY_WITH_TIMEOUT(
        page.worst()->context()->toPlainText().contains(QStringLiteral("expects")), patience);
  }

  void removing() {
    const QString folder = QString::fromStdString(workbench_->variants()[0].result);
    workbench_->removeVariant(0, false);
    QVERIFY(QFileInfo::exists(folder));
    QCOMPARE(workbench_->currentVariant(), 0);
    const QString current = QString::fromStdString(workbench_->variants()[0].result);
    workbench_->removeVariant(0, true);
    QTRY_VERIFY_WITH_TIMEOUT(!QFileInfo::exists(current), patience);
    QVERIFY(!workbench_->quantized());
    QCOMPARE(workbench_->contenders().size(), 1);
    QCOMPARE(workbench_->variants().size(), std::size_t(2));
  }

  /// A session may name any folder: none but kept results is ever deleted.
  void nothingElseIsDeleted() {
    const QString precious = kept_.filePath(QStringLiteral("precious"));
    QVERIFY(QDir().mkpath(precious));
    QFile file(precious + QStringLiteral("/result.json"));
    QVERIFY(file.open(QIODevice::WriteOnly));
    file.write("{}");
    file.close();
    Session session;
    session.checkpoint = test::demo_model().string();
    SessionVariant variant;
    variant.title = "mine";
    variant.result = precious.toStdString();
    session.variants.push_back(variant);
    const QString path = kept_.filePath(QStringLiteral("hostile.bitlathe"));
    QVERIFY(write_session(session, path.toStdString()).ok());
    Workbench other;
    other.open(path);
    QTRY_VERIFY_WITH_TIMEOUT(other.checkpoint(), patience);
    QCOMPARE(other.variants().size(), std::size_t(1));
    QSignalSpy said(&other, &Workbench::message);
    other.removeVariant(0, true);
    QTRY_VERIFY_WITH_TIMEOUT(!other.engine().busy(), patience);
    QVERIFY(QFileInfo::exists(file.fileName()));
    QVERIFY(!said.isEmpty());
  }
};

QTEST_MAIN(TestGuiJudging)
#include "tst_gui_judging.moc"
