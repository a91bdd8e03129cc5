// SPDX-License-Identifier: GPL-3.0-or-later
// The chat switch of the Compare stage: a model's own template, one that cannot be rendered, none.
#include "app/gui/compare/compare_stage.h"
#include "app/gui/theme.h"
#include "app/gui/workbench.h"
#include "tests/support.h"

#include <filesystem>
#include <fstream>
#include <QApplication>
#include <QCheckBox>
#include <QLineEdit>
#include <QStandardPaths>
#include <QTemporaryDir>
#include <QTest>

using namespace bitlathe;
using namespace bitlathe::gui;

class GuiChatTest : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void initTestCase() {
    QStandardPaths::setTestModeEnabled(true);
    Workbench::setKeptFolder(dir_.path());
    Theme::instance().apply(*static_cast<QApplication*>(QApplication::instance()),
                            ThemeMode::light);
  }
  void a_message_goes_through_the_template();
  void a_broken_template_is_told_beside_the_answer();
  void without_a_template_the_switch_rests();

 private:
  /// The demo model with a chat template of its own; empty: none.
  QString model(const std::string& name, const std::string& text) {
    const auto folder = std::filesystem::path(dir_.path().toStdString()) / name;
    std::filesystem::copy(test::demo_model(), folder);
    std::filesystem::remove(folder / "tokenizer_config.json"); // has one
    if (!text.empty())
      std::ofstream(folder / "chat_template.jinja") << text;
    return QString::fromStdString(folder.string());
  }
  QTemporaryDir dir_;
};

namespace {

/// The stage with a model open, ready to run.
struct Opened {
  Workbench bench;
  CompareStage stage{bench};
  explicit Opened(const QString& path) {
    stage.resize(1000, 800);
    stage.show();
    stage.setMaxNew(4);
    bench.open(path);
  }
  bool ready() { return bench.checkpoint() && !bench.engine().busy(); }
};
constexpr int patience = 60000;

} // namespace

void GuiChatTest::a_message_goes_through_the_template() {
  Opened opened(model("chat", "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n"
                              "{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"));
  QTRY_VERIFY_WITH_TIMEOUT(opened.ready(), patience);
  auto* chat = opened.stage.findChild<QCheckBox*>();
  auto* system = opened.stage.findChild<QLineEdit*>(QStringLiteral("system"));
  QVERIFY(chat && system);
  QTRY_VERIFY(chat->isEnabled());
  QVERIFY(!system->isVisible());
  opened.stage.setChat(true, QStringLiteral("Be kind."));
  QVERIFY(system->isVisible());
  opened.stage.setPrompt(QStringLiteral("Hello"));
  opened.stage.run();
  QTRY_VERIFY_WITH_TIMEOUT(!opened.stage.running(), patience);
  QCOMPARE(opened.stage.sides().size(), 1);
  const Generation& side = opened.stage.sides().front();
  QVERIFY2(side.state == GenerationState::done, qPrintable(side.problem));
  QCOMPARE(side.rendered, QStringLiteral("[system] Be kind.\n[user] Hello\n[assistant]"));
  QCOMPARE(side.prompt, QStringLiteral("Hello"));
  QCOMPARE(opened.stage.transcripts().size(), 1);
  QVERIFY(opened.stage.transcripts().front().chat);
}

void GuiChatTest::a_broken_template_is_told_beside_the_answer() {
  Opened opened(model("broken", "{% for m in messages %}{{ m.content | conjure }}{% endfor %}"));
  QTRY_VERIFY_WITH_TIMEOUT(opened.ready(), patience);
  opened.stage.setChat(true);
  opened.stage.setPrompt(QStringLiteral("Hello"));
  opened.stage.run();
  QTRY_VERIFY_WITH_TIMEOUT(!opened.stage.running(), patience);
  const Generation side = opened.stage.sides().front();
  QVERIFY(side.state == GenerationState::failed);
  QVERIFY2(side.problem.contains(QStringLiteral("conjure")), qPrintable(side.problem));
  opened.stage.setChat(false); // the plain prompt still works
  opened.stage.run();
  QTRY_VERIFY_WITH_TIMEOUT(!opened.stage.running(), patience);
  QVERIFY(opened.stage.sides().front().state == GenerationState::done);
}

void GuiChatTest::without_a_template_the_switch_rests() {
  Opened opened(model("plain", {}));
  QTRY_VERIFY_WITH_TIMEOUT(opened.ready(), patience);
  auto* chat = opened.stage.findChild<QCheckBox*>();
  QVERIFY(chat && !chat->isEnabled());
  QVERIFY(!chat->toolTip().isEmpty());
}

QTEST_MAIN(GuiChatTest)
#include "tst_gui_chat.moc"
