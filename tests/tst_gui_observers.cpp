// SPDX-License-Identifier: GPL-3.0-or-later
// Inspect's comparison of observers: its table, its lines in the histogram, and that it follows the
// selection. BITLATHE_PICTURES=FOLDER keeps pictures of it.
#include "app/gui/inspect/histogram_view.h"
#include "app/gui/inspect/inspect_stage.h"
#include "app/gui/inspect/observer_panel.h"
#include "app/gui/theme.h"
#include "app/gui/workbench.h"
#include "core/observers/observer.h"
#include "support.h"

#include <QApplication>
#include <QComboBox>
#include <QPushButton>
#include <QTableWidget>
#include <QTemporaryDir>
#include <QtTest>

using namespace bitlathe;
using namespace bitlathe::gui;

class TestGuiObservers : public QObject {
  Q_OBJECT
  QTemporaryDir kept_;

  static void picture(QWidget& widget, const QString& name) {
    if (const QString folder = qEnvironmentVariable("BITLATHE_PICTURES"); !folder.isEmpty())
      widget.grab().save(folder + "/" + name + ".png");
  }

 private Q_SLOTS:
  void initTestCase() {
    QStandardPaths::setTestModeEnabled(true);
    Workbench::setKeptFolder(kept_.path());
  }

  void comparesObservers() {
    Workbench workbench;
    InspectStage stage(workbench);
    stage.resize(1100, 800);
    stage.show();
    workbench.open(QString::fromStdString(test::demo_model().string()));
    QTRY_VERIFY_WITH_TIMEOUT(workbench.checkpoint() && workbench.plan(), 20000);
    const QString first = QStringLiteral("model.layers.0.mlp.down_proj");
    workbench.select({first});
    auto* chip = stage.findChild<QPushButton*>(QStringLiteral("inspect-observers"));
    auto* panel = stage.findChild<ObserverPanel*>();
    QVERIFY(chip && panel && panel->isHidden() && panel->views().empty());
    chip->click();
    QVERIFY(!panel->isHidden());
    const auto count = all_observers().size();
    QTRY_COMPARE_WITH_TIMEOUT(panel->views().size(), count, 20000);
    auto* table = panel->findChild<QTableWidget*>();
    QCOMPARE(std::size_t(table->rowCount()), count);
    QVERIFY(panel->chosen()); // the one of least error
    for (const ObserverView& view : panel->views())
      QVERIFY(view.mse >= panel->chosen()->mse);
    QCOMPARE(panel->chosen()->codes.size(), std::size_t(16)); // the plan's int4
    QVERIFY(panel->csv().count('\n') == qsizetype(count) + 1);

    auto* box = panel->findChild<QComboBox*>();
    box->setCurrentIndex(box->findText(QStringLiteral("int8-tensor-sym")));
    QTRY_VERIFY_WITH_TIMEOUT(panel->chosen() && panel->chosen()->codes.size() == 256, 20000);
    table->selectRow(0);
    QCOMPARE(panel->chosen()->observer, std::string(all_observers()[0]->id));
    box->setCurrentIndex(0);
    QTRY_VERIFY_WITH_TIMEOUT(panel->chosen() && panel->chosen()->codes.size() == 16, 20000);
    for (const auto mode : {ThemeMode::light, ThemeMode::dark}) {
      Theme::instance().apply(*qApp, mode);
      QTest::qWait(300);
      picture(stage, mode == ThemeMode::dark ? QStringLiteral("observers-dark")
                                             : QStringLiteral("observers-light"));
    }

    // What the plan leaves in floats has nothing to choose, and says so.
    workbench.select({QStringLiteral("model.norm")});
    QTRY_VERIFY_WITH_TIMEOUT(panel->views().empty(), 20000);
    chip->click();
    QVERIFY(panel->isHidden());
  }
};

QTEST_MAIN(TestGuiObservers)
#include "tst_gui_observers.moc"
