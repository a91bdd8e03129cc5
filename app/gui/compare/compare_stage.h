// SPDX-License-Identifier: GPL-3.0-or-later
// Stage 4: the same prompt and seed for two to four models, side by side, one prompt or a set.
#pragma once

#include "app/gui/compare/generation_runner.h"
#include "app/gui/compare/prompt_sets.h"
#include "app/gui/compare/token_view.h"
#include "app/gui/workbench.h"

#include <QWidget>

class QSplitter;
class QStackedWidget;

namespace bitlathe::gui {

class Banner;
class EmptyState;
class LowerPart;
class PanesView;
class PromptBar;
class PromptsCard;
class TranscriptBook;

class CompareStage : public QWidget {
  Q_OBJECT
 public:
  static constexpr int most_contenders = 4;

  CompareStage(Workbench& workbench, QWidget* parent = nullptr);

  void run(); ///< the prompt as it is written
  /// Runs the prompts of the set that have no transcript of these models and settings, all of them
  /// where none is left; `prompts` > 0: only among the first.
  void runSet(int prompts);
  void stop();
  bool running() const { return runner_->running(); }
  const std::vector<Transcript>& transcripts() const;
  const QList<Generation>& sides() const { return sides_; } ///< as shown
  void setPrompt(const QString& prompt);
  void setMaxNew(int tokens);
  void setSampling(const TranscriptSampling& sampling);
  void setChat(bool on, const QString& system = {});
  void loadPrompts(const QString& path); ///< read beside the window, then offered
  int promptCount() const { return setSize_; }
  void choosePrompt(int row); ///< shows its transcript if there is one
  /// Runs the first prompts of the set, as soon as one has been read; the first comes last.
  void rehearse(int prompts);
  void openDesk(); ///< the blind desk in place of the texts
  PanesView& panes() { return *panes_; }
  PromptsCard& prompts() { return *prompts_; }

 protected:
  void dragEnterEvent(QDragEnterEvent* event) override;
  void dropEvent(QDropEvent* event) override;
  void resizeEvent(QResizeEvent* event) override;

 private:
  void connectRunner();
  void contendersChanged();
  void nextPrompt(int by);
  void offerSets();
  void askPrompts();
  void addContender();
  void refreshButtons();
  void refreshDetail();
  void refreshProgress();
  void refreshPrompts(); ///< the rows: set and typed ones, with what came of them
  void refreshSummary();
  void showTranscript(const Transcript& transcript);
  void showIdle(const QString& prompt);
  void start(const QList<Prompt>& prompts, const QList<int>& rows);
  void promptDone(const Transcript& transcript);
  void runFinished();
  void buildTranscriptMenu();
  void saveTranscripts(const QString& ending, const QString& filter);
  void forget();
  void keepState();
  void restoreState();
  qsizetype closestCall() const;
  int rowOf(const std::string& prompt) const;
  QList<Contender> contenders() const;
  RunOptions options(bool of_set) const;
  QList<int> rowsToRun(int prompts) const;

  Workbench& workbench_;
  GenerationRunner* runner_;
  TranscriptBook* book_;
  QList<Contender> contenders_; ///< the panes are of
  QList<PromptSetOffer> offers_;
  PromptSet set_;
  QString setPath_;
  int setSize_ = 0;         ///< rows of the set; typed prompts follow
  QList<int> rows_;         ///< of the prompts that run, in order; -1: typed
  QList<Generation> sides_; ///< shown in the panes
  bool live_ = false;       ///< what is shown is what runs
  int row_ = -1;            ///< chosen
  int setWanted_ = -1;
  bool restoring_ = false;

  QStackedWidget* pages_;
  QWidget* desk_ = nullptr; ///< made when it is first asked for
  EmptyState* empty_;
  Banner* banner_;
  PromptBar* bar_;
  PanesView* panes_;
  QSplitter* split_;
  LowerPart* lower_;
  PromptsCard* prompts_;
};

} // namespace bitlathe::gui
