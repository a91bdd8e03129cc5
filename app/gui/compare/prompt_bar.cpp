// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/compare/prompt_bar.h"

#include "app/gui/theme.h"

#include <QCheckBox>
#include <QComboBox>
#include <QGridLayout>
#include <QMenu>
#include <QPlainTextEdit>
#include <QPushButton>
#include <QSignalBlocker>
#include <QToolButton>

namespace bitlathe::gui {

PromptBar::PromptBar(QWidget* parent) : QFrame(parent) {
  setRole(this, "card");
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(space::m, space::s, space::m, space::s);
  column->setSpacing(space::s);
  column->addWidget(buildChoice());
  chat_ = new ChatRow(this);
  connect(chat_, &ChatRow::changed, this, &PromptBar::changed);
  column->addWidget(chat_);

  auto* middle = new QHBoxLayout;
  middle->setSpacing(space::s);
  text_ = new QPlainTextEdit(this);
  text_->setPlaceholderText(tr("Write a prompt, or choose one above"));
  text_->setAccessibleName(tr("Prompt"));
  text_->setTabChangesFocus(true);
  connect(text_, &QPlainTextEdit::textChanged, this, &PromptBar::changed);
  setLines(3);
  middle->addWidget(text_, 1);
  middle->addWidget(buildButtons());
  column->addLayout(middle);
  sampling_ = new SamplingRow(this);
  connect(sampling_, &SamplingRow::changed, this, &PromptBar::changed);
  connect(sampling_, &SamplingRow::newSeedWanted, this, [this] {
    sampling_->newSeed();
    Q_EMIT runWanted();
  });
  sampling_->row()->addStretch(1);
  sampling_->row()->addWidget(chat_->box());
  column->addWidget(sampling_);
}

QWidget* PromptBar::buildChoice() {
  auto* box = new QWidget(this);
  auto* row = new QHBoxLayout(box);
  row->setContentsMargins(0, 0, 0, 0);
  row->setSpacing(space::xs);
  sets_ = new QComboBox(box);
  sets_->setAccessibleName(tr("Prompt set"));
  sets_->setToolTip(tr(
      "Which prompts are offered. Import: .jsonl with a \"prompt\" per line, .json, or a text "
      "file with a prompt per line or empty lines between prompts; it can also be dropped here"));
  sets_->setSizeAdjustPolicy(QComboBox::AdjustToContents);
  connect(sets_, &QComboBox::activated, this, [this](int index) {
    if (index >= 0 && index < offers_.size())
      Q_EMIT setChosen(offers_[index].path);
    else
      Q_EMIT importWanted();
  });
  row->addWidget(sets_);
  prompts_ = new QComboBox(box);
  prompts_->setToolTip(tr("Prompts of the set; a tick means all models gave the same tokens"));
  prompts_->setAccessibleName(tr("Prompt of the set"));
  prompts_->setSizeAdjustPolicy(QComboBox::AdjustToMinimumContentsLengthWithIcon);
  prompts_->setMinimumContentsLength(12);
  prompts_->setMaxVisibleItems(24);
  connect(prompts_, &QComboBox::activated, this, &PromptBar::promptChosen);
  row->addWidget(prompts_, 1);
  const auto arrow = [&](const QString& text, const QString& tip, const QKeySequence& key, int by) {
    auto* button = new QToolButton(box);
    button->setText(text);
    button->setToolTip(tip + QStringLiteral(" (%1)").arg(key.toString(QKeySequence::NativeText)));
    button->setAccessibleName(tip);
    button->setShortcut(key);
    connect(button, &QToolButton::clicked, this, [this, by] { Q_EMIT stepWanted(by); });
    row->addWidget(button);
  };
  arrow(QStringLiteral("\u2039"), tr("Previous prompt"), QKeySequence(Qt::ALT | Qt::Key_Up), -1);
  arrow(QStringLiteral("\u203a"), tr("Next prompt"), QKeySequence(Qt::ALT | Qt::Key_Down), 1);
  add_ = new QPushButton(tr("Add model\u2026"), box);
  add_->setToolTip(tr("Compares with one more model, up to four: an export or another result of "
                      "this session, a folder, a file (Alt+A). Files can also be dropped here"));
  add_->setShortcut(QKeySequence(Qt::ALT | Qt::Key_A));
  connect(add_, &QPushButton::clicked, this, &PromptBar::addWanted);
  row->addWidget(add_);
  judge_ = new QPushButton(tr("Judge blind"), box);
  judge_->setToolTip(tr("Opens the blind desk: the transcripts without names, to vote on (Alt+B)"));
  judge_->setShortcut(QKeySequence(Qt::ALT | Qt::Key_B));
  connect(judge_, &QPushButton::clicked, this, &PromptBar::judgeWanted);
  row->addWidget(judge_);
  return box;
}

QWidget* PromptBar::buildButtons() {
  auto* box = new QWidget(this);
  auto* grid = new QGridLayout(box);
  grid->setContentsMargins(0, 0, 0, 0);
  grid->setSpacing(space::xs + 2);
  run_ = new QPushButton(tr("Generate"), box);
  setRole(run_, "primary");
  run_->setToolTip(tr("Continues the prompt with every model in step, same seed (Ctrl+Return); "
                      "again: the same texts. Alt+Return: with a new seed"));
  run_->setShortcut(QKeySequence(Qt::CTRL | Qt::Key_Return));
  connect(run_, &QPushButton::clicked, this, &PromptBar::runWanted);
  stop_ = new QPushButton(tr("Stop"), box);
  stop_->setToolTip(tr("Stops after the current token; what was written stays (Esc)"));
  stop_->setShortcut(QKeySequence(Qt::Key_Escape));
  connect(stop_, &QPushButton::clicked, this, &PromptBar::stopWanted);
  runSet_ = new QPushButton(tr("Run set"), box);
  runSet_->setToolTip(tr("Runs the prompts of the set that have not been run with these models and "
                         "settings (Ctrl+Shift+Return); what is done stays when it is stopped"));
  runSet_->setShortcut(QKeySequence(Qt::CTRL | Qt::SHIFT | Qt::Key_Return));
  connect(runSet_, &QPushButton::clicked, this, &PromptBar::runSetWanted);
  transcript_ = new QToolButton(box);
  transcript_->setText(tr("Transcripts"));
  transcript_->setToolTip(
      tr("Copies or saves everything generated with this model; the session keeps it too (Alt+T)"));
  transcript_->setShortcut(QKeySequence(Qt::ALT | Qt::Key_T));
  transcript_->setPopupMode(QToolButton::InstantPopup);
  transcriptMenu_ = new QMenu(transcript_);
  transcript_->setMenu(transcriptMenu_);
  grid->addWidget(run_, 0, 0);
  grid->addWidget(stop_, 0, 1);
  grid->addWidget(runSet_, 1, 0);
  grid->addWidget(transcript_, 1, 1);
  for (QWidget* widget : std::initializer_list<QWidget*>{run_, stop_, runSet_, transcript_})
    widget->setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Preferred);
  return box;
}

void PromptBar::setOffers(const QList<PromptSetOffer>& offers, const QString& path) {
  offers_ = offers;
  const QSignalBlocker quiet(sets_);
  sets_->clear();
  int current = -1;
  for (const PromptSetOffer& offer : offers) {
    if (offer.path == path)
      current = sets_->count();
    sets_->addItem(offer.title);
    sets_->setItemData(sets_->count() - 1, offer.path, Qt::ToolTipRole);
  }
  sets_->addItem(tr("Import\u2026"));
  sets_->setCurrentIndex(current);
}

void PromptBar::setPrompts(const QList<Prompt>& prompts, const QList<QString>& marks) {
  const QSignalBlocker quiet(prompts_);
  prompts_->clear();
  for (int i = 0; i < prompts.size(); ++i)
    prompts_->addItem(marks.value(i) + promptTitle(prompts[i]), promptTitle(prompts[i]));
  prompts_->setCurrentIndex(-1);
  prompts_->setPlaceholderText(tr("%1 prompts").arg(prompts.size()));
}

void PromptBar::setMark(int row, const QString& mark) {
  if (row >= 0 && row < prompts_->count())
    prompts_->setItemText(row, mark + prompts_->itemData(row).toString());
}

void PromptBar::setCurrent(int row) {
  const QSignalBlocker quiet(prompts_);
  prompts_->setCurrentIndex(row);
}

void PromptBar::setLines(int lines) {
  text_->setFixedHeight(QFontMetrics(text_->font()).lineSpacing() * lines + 16);
}

QString PromptBar::prompt() const { return text_->toPlainText(); }

void PromptBar::setPrompt(const QString& prompt) {
  if (text_->toPlainText() != prompt)
    text_->setPlainText(prompt);
}

bool PromptBar::isWriting() const { return text_->hasFocus(); }
QWidget* PromptBar::addAnchor() { return add_; }

void PromptBar::setAble(const Able& able) {
  run_->setEnabled(able.run);
  stop_->setEnabled(able.stop);
  runSet_->setEnabled(able.set);
  runSet_->setText(able.setText);
  transcript_->setEnabled(able.transcripts);
  add_->setEnabled(able.add);
  judge_->setEnabled(able.judge);
  text_->setToolTip(
      chat_->shown().on
          ? tr("A message to every model, put into its own chat template")
          : tr("What every model continues; special-token text is tokenized as plain text"));
}

} // namespace bitlathe::gui
