// SPDX-License-Identifier: GPL-3.0-or-later
// Stage 4: the same prompt and seed for two to four models, side by side.
#pragma once

#include "app/gui/compare/generation_runner.h"
#include "app/gui/compare/prompt_set.h"
#include "app/gui/compare/token_view.h"
#include "app/gui/workbench.h"

#include <QWidget>

class QComboBox;
class QDoubleSpinBox;
class QGridLayout;
class QLabel;
class QPlainTextEdit;
class QPushButton;
class QSpinBox;
class QStackedWidget;
class QToolButton;

namespace bitlathe::gui {

class Banner;
class Card;
class ChatRow;
class ContenderPane;
class EmptyState;
class Evidence;
class TopTokens;

class CompareStage : public QWidget {
  Q_OBJECT
 public:
  static constexpr int most_contenders = 4;

  CompareStage(Workbench& workbench, QWidget* parent = nullptr);

  void run();
  /// Runs the first `prompts` prompts of the set one after the other; 0 = all.
  void runSet(int prompts);
  void stop();
  bool running() const { return runner_->running() || !queue_.isEmpty(); }
  const QList<Transcript>& transcripts() const { return transcripts_; }
  const QList<Generation>& sides() const { return runner_->sides(); }
  void setPrompt(const QString& prompt);
  void setMaxNew(int tokens);
  void setChat(bool on, const QString& system = {});
  void loadPrompts(const QString& path); ///< read beside the window, then offered
  /// Runs the first prompts of the set, as soon as one has been read; the first comes last.
  void rehearse(int prompts);

 protected:
  void dragEnterEvent(QDragEnterEvent* event) override;
  void dropEvent(QDropEvent* event) override;

 private:
  QWidget* buildPrompt();
  QWidget* buildSampling();
  void rebuildPanes();
  void loadDefaultPrompts();
  void choosePrompt(int index);
  void nextPrompt(int by);
  void askPrompts();
  void addContender();
  void refreshButtons();
  void refreshMarks(int side, bool exact);
  void refreshDetail();
  void setCurrent(qsizetype token);
  void runFinished();
  void saveTranscript(bool json);
  void forget();
  void keepState();
  void restoreState();
  QString setSummary() const;
  qsizetype closestCall() const;
  void runBackwards(int prompts);
  SamplingShown sampling() const;

  Workbench& workbench_;
  GenerationRunner* runner_;
  Evidence* evidence_;
  QList<Prompt> prompts_;
  QString promptsName_;
  QList<int> queue_; ///< prompts of the set still to run
  QList<Transcript> transcripts_;
  QList<qsizetype> divergences_; ///< by side
  ChatShown ran_;                ///< of the run that is shown
  qsizetype current_ = -1, under_ = -1;
  int setWanted_ = -1;
  bool restoring_ = false;

  QStackedWidget* pages_;
  EmptyState* empty_;
  Banner* banner_;
  QComboBox* promptBox_;
  ChatRow* chat_;
  QPlainTextEdit* prompt_;
  QDoubleSpinBox *temperature_, *topP_;
  QSpinBox *topK_, *seed_, *maxNew_;
  QComboBox* shading_;
  QPushButton *run_, *stop_, *runSet_, *add_;
  QToolButton* transcript_;
  QWidget* panesBox_;
  QGridLayout* panesGrid_;
  QList<ContenderPane*> panes_;
  QLabel* summary_;
  Card* detailCard_;
  TopTokens* detail_;
};

} // namespace bitlathe::gui
