// SPDX-License-Identifier: GPL-3.0-or-later
// Runs prompts on all contenders in one job on the engine's thread, token by token in step, and
// hands out what comes to the window.
#pragma once

#include "app/gui/compare/engine_cache.h"
#include "app/gui/compare/generation.h"
#include "app/gui/workbench.h"
#include "core/judge/runs.h"

#include <QObject>

namespace bitlathe::gui {

class GenerationRunner : public QObject {
  Q_OBJECT
 public:
  explicit GenerationRunner(Workbench& workbench, QObject* parent = nullptr);
  ~GenerationRunner() override;

  /// Starts over with these contenders; what ran before is stopped.
  void start(const QList<Contender>& contenders, const QList<Prompt>& prompts,
             const RunOptions& options);
  void stop();
  void clear(); ///< stops and forgets the sides
  bool running() const { return running_; }
  /// Of the prompt that runs, or that ran last.
  const QList<Generation>& sides() const { return sides_; }
  int prompt() const { return prompt_; } ///< index into the prompts; -1: none began
  const QList<Prompt>& prompts() const { return prompts_; }
  /// Share of all tokens at most to come, and seconds to go; -1: not known yet.
  double progress() const;
  double secondsLeft() const;
  /// Why a contender cannot generate; empty when it can.
  static QString problemOf(const Contender& contender);
  /// Models of a run, to compare with transcripts; without engines.
  static std::vector<RunModel> modelsOf(const QList<Contender>& contenders);

 Q_SIGNALS:
  void promptBegun(int prompt);              ///< all sides start over
  void promptRendered(int side);             ///< a chat template has made the prompt
  void tokensCame(int side, qsizetype from); ///< tokens [from, end) are new
  void sideChanged(int side);                ///< state or figures
  void promptDone(int prompt, const bitlathe::Transcript& transcript);
  void finished(); ///< nothing runs or waits any more

 private:
  struct Stream;
  struct Event;
  void poll();
  void apply(Event& event);
  void begin(int prompt);
  void ended(quint64 run, const Result<int>& outcome);

  Workbench& workbench_;
  std::shared_ptr<EngineCache> cache_;
  QList<Contender> contenders_;
  QList<Prompt> prompts_;
  QList<Generation> sides_;
  std::vector<Utf8Stream> utf8_;
  std::shared_ptr<Stream> stream_;
  JobId job_ = 0;
  quint64 run_ = 0;
  int prompt_ = -1;
  bool running_ = false;
};

} // namespace bitlathe::gui
