// SPDX-License-Identifier: GPL-3.0-or-later
// Above the panes: which prompt of which set, its text, how tokens are drawn, and what to do with
// it.
#pragma once

#include "app/gui/compare/chat_row.h"
#include "app/gui/compare/prompt_sets.h"
#include "app/gui/compare/sampling_row.h"

#include <QFrame>

class QComboBox;
class QMenu;
class QPlainTextEdit;
class QPushButton;
class QToolButton;

namespace bitlathe::gui {

class PromptBar : public QFrame {
  Q_OBJECT
 public:
  explicit PromptBar(QWidget* parent = nullptr);

  /// Sets to choose among; `path` is the one that is loaded, empty: none.
  void setOffers(const QList<PromptSetOffer>& offers, const QString& path);
  void setPrompts(const QList<Prompt>& prompts, const QList<QString>& marks);
  void setMark(int row, const QString& mark); ///< in front of its title
  void setCurrent(int row);                   ///< -1: none
  QString prompt() const;
  void setPrompt(const QString& prompt);
  bool isWriting() const; ///< the cursor is in the prompt
  SamplingRow& sampling() { return *sampling_; }
  ChatRow& chat() { return *chat_; }
  QMenu* transcriptMenu() { return transcriptMenu_; }
  QWidget* addAnchor();

  struct Able {
    bool run = false, stop = false, set = false, transcripts = false, add = false, judge = false;
    QString setText; ///< of the button that runs the set
  };
  void setAble(const Able& able);
  void setLines(int lines); ///< of the prompt that are seen at once

 Q_SIGNALS:
  void runWanted();
  void runSetWanted();
  void stopWanted();
  void addWanted();
  void judgeWanted();
  void setChosen(const QString& path);
  void importWanted();
  void promptChosen(int row);
  void stepWanted(int by); ///< to the next prompt, or the one before
  void changed();          ///< prompt, chat or sampling

 private:
  QWidget* buildChoice();
  QWidget* buildButtons();

  QList<PromptSetOffer> offers_;
  QComboBox *sets_, *prompts_;
  ChatRow* chat_;
  QPlainTextEdit* text_;
  SamplingRow* sampling_;
  QPushButton *run_, *stop_, *runSet_, *add_, *judge_;
  QToolButton* transcript_;
  QMenu* transcriptMenu_;
};

} // namespace bitlathe::gui
