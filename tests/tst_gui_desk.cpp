// SPDX-License-Identifier: GPL-3.0-or-later
// The blind desk in its window: 24 prompts from start to report by keyboard alone, taken back,
// saved, opened again and unsealed, with no identity anywhere before that.
#include "app/gui/desk/desk.h"
#include "app/gui/desk/desk_end.h"
#include "app/gui/desk/desk_start.h"
#include "app/gui/desk/desk_vote.h"
#include "app/gui/theme.h"
#include "core/judge/desk_result.h"
#include "support.h"

#include <QAction>
#include <QApplication>
#include <QCheckBox>
#include <QLabel>
#include <QLineEdit>
#include <QListWidget>
#include <QMainWindow>
#include <QPlainTextEdit>
#include <QPushButton>
#include <QSpinBox>
#include <QTableView>
#include <QTemporaryDir>
#include <QtTest>

using namespace bitlathe;
using namespace bitlathe::gui;

namespace {

constexpr int patience = 60000;
const char* const names[] = {"zz-original", "zz-int4-g128", "zz-int8"};

/// Answers that tell nothing about their model to who reads them, but do to the test: their length.
QString answerOf(int model, int prompt) {
  QString words = QStringLiteral("The kite flew");
  for (int i = 0; i < prompt; ++i)
    words += QStringLiteral(" far");
  const char* const ends[] = {".", "!", "?"};
  return words + QLatin1String(ends[model]);
}

std::vector<Transcript> transcripts(int models) {
  std::vector<Transcript> out;
  for (int p = 1; p <= 24; ++p) {
    Transcript one;
    one.prompt_id = (p <= 12 ? "story-" : "facts-") + std::to_string(p);
    one.prompt = "Prompt number " + std::to_string(p);
    for (int m = 0; m < models; ++m) {
      TranscriptSide side;
      side.title = names[m];
      side.path = std::string("/nowhere/") + names[m];
      side.text = answerOf(m, p).toStdString();
      side.stop_reason = "eos";
      one.sides.push_back(side);
    }
    out.push_back(one);
  }
  return out;
}

/// Every text that a person or a screen reader could come upon.
QStringList everything(QWidget& root) {
  QStringList out;
  QList<QWidget*> all = root.findChildren<QWidget*>();
  all << &root;
  for (const QWidget* widget : all) {
    out << widget->toolTip() << widget->accessibleName() << widget->accessibleDescription()
        << widget->windowTitle() << widget->objectName() << widget->whatsThis()
        << widget->statusTip();
    for (const QByteArray& name : widget->dynamicPropertyNames())
      out << widget->property(name).toString();
    if (const auto* label = qobject_cast<const QLabel*>(widget))
      out << label->text();
    if (const auto* button = qobject_cast<const QAbstractButton*>(widget))
      out << button->text();
    if (const auto* text = qobject_cast<const QPlainTextEdit*>(widget))
      out << text->toPlainText() << text->placeholderText();
    if (const auto* line = qobject_cast<const QLineEdit*>(widget))
      out << line->text() << line->placeholderText();
  }
  return out;
}

bool namesAModel(QWidget& root) {
  for (const QString& text : everything(root))
    if (text.contains(QLatin1String("zz-")) || text.contains(QLatin1String("/nowhere")))
      return true;
  return false;
}

void press(Qt::Key key, Qt::KeyboardModifiers modifiers = Qt::NoModifier) {
  QTest::keyClick(QApplication::focusWidget(), key, modifiers);
}

} // namespace

class TestGuiDesk : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;
  Workbench* workbench_ = nullptr;
  QMainWindow* window_ = nullptr;
  DeskView* desk_ = nullptr;
  int undone_ = 0; ///< times that the window's own Ctrl+Z ran

  void makeWindow() {
    delete window_;
    window_ = new QMainWindow;
    desk_ = qobject_cast<DeskView*>(makeDesk(*workbench_, window_));
    window_->setCentralWidget(desk_);
    auto* undo = new QAction(window_); // as the real window has one
    undo->setShortcut(QKeySequence::Undo);
    connect(undo, &QAction::triggered, this, [this] { ++undone_; });
    window_->addAction(undo);
    window_->resize(1100, 800);
    window_->show();
    QVERIFY(QTest::qWaitForWindowActive(window_));
    desk_->setFocus();
  }
  const Desk& current() { return *desk_->book().current(); }
  QPlainTextEdit* reader(const QString& name) {
    for (auto* text : desk_->findChildren<QPlainTextEdit*>())
      if (text->accessibleName() == name)
        return text;
    return nullptr;
  }
  /// A judge who prefers the original, by what stands on the page.
  Qt::Key preference() {
    return reader(QStringLiteral("Answer A"))->toPlainText().endsWith('.') ? Qt::Key_Left
                                                                           : Qt::Key_Right;
  }

 private Q_SLOTS:
  void initTestCase() {
    QStandardPaths::setTestModeEnabled(true);
    QVERIFY(folder_.isValid());
    Workbench::setKeptFolder(folder_.path());
    Theme::instance().apply(*qApp, ThemeMode::light);
    workbench_ = new Workbench(this);
    workbench_->open(QString::fromStdString(test::demo_model().string()));
    QTRY_VERIFY_WITH_TIMEOUT(workbench_->checkpoint() && workbench_->plan(), patience);
  }
  void cleanupTestCase() { delete window_; }

  void teachesWithoutPrompts() {
    makeWindow();
    QCOMPARE(desk_->page(), DeskView::Page::start);
    QVERIFY(!desk_->start().findChild<QListWidget*>()->isVisible());
  }

  void begunByKeyboard() {
    workbench_->setStageState(QStringLiteral("transcripts"),
                              Json(transcripts_to_json(transcripts(2))));
    makeWindow();
    desk_->start().findChildren<QSpinBox*>()[1]->setValue(7);
    QCOMPARE(desk_->page(), DeskView::Page::start);
    auto* begin = qobject_cast<QPushButton*>(QApplication::focusWidget());
    QVERIFY(begin && begin->isEnabled());
    press(Qt::Key_Return);
    QCOMPARE(desk_->page(), DeskView::Page::vote);
    QCOMPARE(QApplication::focusWidget(), static_cast<QWidget*>(&desk_->vote()));
    QCOMPARE(int(current().asked()), 24);
    QVERIFY(!namesAModel(desk_->vote()));
    QVERIFY(!namesAModel(desk_->end()));
  }

  void votesByKey() {
    for (const Qt::Key key :
         {Qt::Key_Left, Qt::Key_B, Qt::Key_T, Qt::Key_X, Qt::Key_A, Qt::Key_Right, Qt::Key_Down})
      press(key);
    const Vote cast[] = {Vote::a, Vote::b, Vote::tie, Vote::both_bad, Vote::a, Vote::b, Vote::tie};
    for (std::size_t i = 0; i < std::size(cast); ++i)
      QCOMPARE(current().vote(i), cast[i]);
    QCOMPARE(desk_->vote().item(), 7);
    press(Qt::Key_Z, Qt::ControlModifier);
    QCOMPARE(undone_, 0); // the recipe's undo did not run
    QCOMPARE(desk_->vote().item(), 6);
    QCOMPARE(current().vote(6), Vote::none);
    press(Qt::Key_Y, Qt::ControlModifier);
    QCOMPARE(current().vote(6), Vote::tie);
    QCOMPARE(desk_->vote().item(), 7);
    press(Qt::Key_S);
    QCOMPARE(desk_->vote().item(), 8);
    // Back to look, and a change of mind.
    for (int i = 0; i < 7; ++i)
      press(Qt::Key_Left, Qt::ShiftModifier);
    QCOMPARE(desk_->vote().item(), 1);
    press(Qt::Key_Left);
    QCOMPARE(current().vote(1), Vote::a);
    QCOMPARE(desk_->vote().item(), 8);
    press(Qt::Key_Z, Qt::ControlModifier);
    QCOMPARE(current().vote(1), Vote::b);
    QVERIFY(!namesAModel(desk_->vote()));
    // What is no vote votes not.
    for (const Qt::Key key : {Qt::Key_Q, Qt::Key_Space, Qt::Key_Return, Qt::Key_Up})
      press(key);
    press(Qt::Key_A, Qt::ControlModifier);
    QCOMPARE(int(current().answered()), 7);
  }

  void notes() {
    press(Qt::Key_N);
    auto* line = desk_->vote().findChild<QLineEdit*>();
    QCOMPARE(QApplication::focusWidget(), static_cast<QWidget*>(line));
    QTest::keyClicks(line, QStringLiteral("abst x"));
    press(Qt::Key_Down); // no vote while writing
    QCOMPARE(line->text(), QStringLiteral("abst x"));
    QCOMPARE(int(current().answered()), 7);
    press(Qt::Key_Return);
    QCOMPARE(QApplication::focusWidget(), static_cast<QWidget*>(&desk_->vote()));
    QCOMPARE(current().note(std::size_t(desk_->vote().item())), std::string("abst x"));
  }

  void resumedAfterReopening() {
    const std::string before = desk_to_json(current()).dump();
    const QString path = folder_.filePath(QStringLiteral("desk.bitlathe"));
    QString error;
    QVERIFY2(workbench_->saveSession(path, &error), qPrintable(error));
    QFile file(path);
    QVERIFY(file.open(QIODevice::ReadOnly));
    const Json session = Json::parse(file.readAll().toStdString());
    QVERIFY(session["stages"]["desk"].dump().find("zz-") == std::string::npos);
    delete workbench_;
    delete window_;
    window_ = nullptr;
    workbench_ = new Workbench(this);
    makeWindow();
    workbench_->open(path);
    QTRY_VERIFY_WITH_TIMEOUT(workbench_->checkpoint() && desk_->book().current(), patience);
    QCOMPARE(desk_to_json(current()).dump(), before);
    QCOMPARE(desk_->page(), DeskView::Page::start);
    auto* list = desk_->start().findChildren<QListWidget*>()[1];
    QVERIFY(list->isVisible());
    QVERIFY(!list->item(0)->text().contains(QLatin1String("zz-")));
    list->setFocus();
    press(Qt::Key_Return);
    QCOMPARE(desk_->page(), DeskView::Page::vote);
    QVERIFY(desk_->vote().item() >= 1);
  }

  void judgedToTheEnd() {
    // Everything anew, as a judge who prefers the original.
    while (current().can_undo())
      press(Qt::Key_Z, Qt::ControlModifier);
    QCOMPARE(desk_->vote().item(), 0);
    for (int i = 0; i < 24; ++i) {
      QCOMPARE(desk_->page(), DeskView::Page::vote);
      if (i == 3)
        press(Qt::Key_S);
      press(i < 20 ? preference() : Qt::Key_T);
      QVERIFY(!namesAModel(desk_->vote()));
    }
    QCOMPARE(desk_->page(), DeskView::Page::end);
    QVERIFY(!current().unsealed());
    QVERIFY(!namesAModel(desk_->end()));
    press(Qt::Key_Z, Qt::ControlModifier); // one more look
    QCOMPARE(desk_->page(), DeskView::Page::vote);
    QCOMPARE(int(current().answered()), 23);
    press(Qt::Key_T);
    QCOMPARE(desk_->page(), DeskView::Page::end);
    QCOMPARE(undone_, 0);
  }

  void unsealed() {
    press(Qt::Key_Return); // the focus is on Unseal
    QVERIFY(current().unsealed());
    QVERIFY(namesAModel(desk_->end()));
    const DeskResult result = desk_result(current());
    QCOMPARE(result.pairs[0].counts.first, 20);
    QCOMPARE(result.pairs[0].counts.second, 0);
    QCOMPARE(result.pairs[0].counts.ties, 4);
    QVERIFY(result.pairs[0].distinguishable);
    const auto tables = desk_->end().findChildren<QTableView*>();
    QCOMPARE(int(tables.size()), 2);
    QCOMPARE(tables[0]->model()->rowCount(), 3); // the pair, two categories
    QCOMPARE(tables[1]->model()->rowCount(), 24);
    bool said = false;
    for (const auto* label : desk_->end().findChildren<QLabel*>())
      said = said || label->text().startsWith(QStringLiteral("zz-original is preferred"));
    QVERIFY(said);
  }

  void exported() {
    for (const char* ending : {"md", "csv", "json"}) {
      const QString path = folder_.filePath(QStringLiteral("desk.") + QLatin1String(ending));
      QString error;
      QVERIFY2(desk_->end().exportTo(path, &error), qPrintable(error));
      QFile file(path);
      QVERIFY(file.open(QIODevice::ReadOnly));
      QVERIFY(file.readAll().contains("zz-int4-g128"));
    }
    QString error;
    QVERIFY(!desk_->end().exportTo(QStringLiteral("/nowhere/at/all.md"), &error));
    QVERIFY(error.contains(QStringLiteral("/nowhere/at/all.md")));
  }

  void anotherDeskWithThreeModels() {
    press(Qt::Key_Escape);
    QCOMPARE(desk_->page(), DeskView::Page::start);
    workbench_->setStageState(QStringLiteral("transcripts"),
                              Json(transcripts_to_json(transcripts(3))));
    desk_->start().refresh();
    auto* models = desk_->start().findChildren<QListWidget*>()[0];
    QCOMPARE(models->count(), 3);
    models->item(2)->setCheckState(Qt::Checked);
    desk_->start().findChild<QCheckBox*>()->setChecked(true);
    models->setFocus();
    press(Qt::Key_Return, Qt::ControlModifier);
    QTRY_COMPARE(desk_->page(), DeskView::Page::vote); // the button is seen going down
    QCOMPARE(int(current().items().size()), 72);
    QCOMPARE(int(desk_->book().desks().size()), 2);
    press(Qt::Key_F);
    QCOMPARE(desk_->page(), DeskView::Page::end);
    press(Qt::Key_Escape);
    QCOMPARE(desk_->page(), DeskView::Page::start);
    // One model alone is no desk.
    models->item(1)->setCheckState(Qt::Unchecked);
    models->item(2)->setCheckState(Qt::Unchecked);
    for (auto* button : desk_->start().findChildren<QPushButton*>())
      if (button->text() == QStringLiteral("&Begin"))
        QVERIFY(!button->isEnabled());
  }
};

QTEST_MAIN(TestGuiDesk)
#include "tst_gui_desk.moc"
