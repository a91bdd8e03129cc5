// SPDX-License-Identifier: GPL-3.0-or-later
// The window's report: what the window holds now, saved or not, as a page and on paper.
#include "app/gui/report/report_card.h"
#include "app/gui/report/session_report.h"
#include "support.h"

#include <QFile>
#include <QPushButton>
#include <QSignalSpy>
#include <QTemporaryDir>
#include <QtTest>

using namespace bitlathe;
using namespace bitlathe::gui;

namespace {

constexpr int patience = 60000;

QByteArray contents(const QString& path) {
  QFile file(path);
  return file.open(QIODevice::ReadOnly) ? file.readAll() : QByteArray();
}

} // namespace

class TestGuiReport : public QObject {
  Q_OBJECT
  QTemporaryDir kept_, out_;

 private Q_SLOTS:
  void initTestCase() { Workbench::setKeptFolder(kept_.path()); }

  void ofAnUnsavedSession() {
    Workbench workbench;
    ReportCard card(workbench);
    SessionReport& report = SessionReport::of(workbench);
    QSignalSpy written(&report, &SessionReport::written), failed(&report, &SessionReport::failed);
    report.write(out_.filePath("too-early.html")); // nothing is open: nothing happens
    QVERIFY(!report.busy());

    workbench.open(QString::fromStdString(test::demo_model().string()));
    QTRY_VERIFY_WITH_TIMEOUT(workbench.checkpoint() && workbench.plan(), patience);
    workbench.startQuantize();
    QTRY_VERIFY_WITH_TIMEOUT(workbench.summary(), patience);
    const QString page = out_.filePath("report.html");
    report.write(page);
    QVERIFY(report.busy());
    for (const auto* button : card.findChildren<QPushButton*>())
      QVERIFY(!button->isEnabled() || button->isHidden());
    QTRY_COMPARE_WITH_TIMEOUT(written.size(), 1, patience);
    QCOMPARE(written[0][0].toString(), page);
    QVERIFY(!report.busy());
    QCOMPARE(report.lastPath(), page);
    const QByteArray html = contents(page);
    QVERIFY(html.contains("Stored layers"));
    QVERIFY(html.contains("model.layers.3.mlp.down_proj"));
    QVERIFY(html.contains("Nothing was measured"));

    const QString paper = out_.filePath("report.pdf");
    report.write(paper);
    QTRY_COMPARE_WITH_TIMEOUT(written.size(), 2, patience);
    QVERIFY(contents(paper).startsWith("%PDF-"));
    QCOMPARE(failed.size(), 0);

    // A place that cannot be written says so, and the last report stays what it was.
    report.write(QStringLiteral("/nowhere/at/all.html"));
    QTRY_COMPARE_WITH_TIMEOUT(failed.size(), 1, patience);
    QVERIFY(failed[0][0].toString().contains("/nowhere/at/all.html"));
    QCOMPARE(report.lastPath(), paper);
  }
};

QTEST_MAIN(TestGuiReport)
#include "tst_gui_report.moc"
