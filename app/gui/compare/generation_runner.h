// SPDX-License-Identifier: GPL-3.0-or-later
// Runs one prompt on every contender, one after the other on the thread for jobs, and hands out
// tokens as they come.
#pragma once

#include "app/gui/compare/engine_cache.h"
#include "app/gui/compare/generation.h"
#include "app/gui/workbench.h"

#include <QElapsedTimer>
#include <QObject>

namespace bitlathe::gui {

class GenerationRunner : public QObject {
  Q_OBJECT
 public:
  explicit GenerationRunner(Workbench& workbench, QObject* parent = nullptr);
  ~GenerationRunner() override;

  /// Starts over with these contenders; what ran before is stopped.
  void start(const QList<Contender>& contenders, const QString& prompt,
             const SamplingShown& sampling, int logprobs, const ChatShown& chat = {});
  void stop();
  void clear(); ///< stops and forgets the sides
  bool running() const;
  const QList<Generation>& sides() const { return sides_; }
  /// Why a contender cannot generate; empty when it can.
  static QString problemOf(const Contender& contender);

 Q_SIGNALS:
  void sideReset(int side);                  ///< a new run began
  void promptRendered(int side);             ///< a chat template has made the prompt
  void tokensCame(int side, qsizetype from); ///< tokens [from, end) are new
  void sideChanged(int side);                ///< state or figures
  void finished();                           ///< nothing runs or waits any more

 private:
  struct Stream;
  void poll();
  void sideEnded(int side, quint64 run, const Result<GenerateResult>& outcome);
  void checkFinished();

  Workbench& workbench_;
  std::shared_ptr<EngineCache> cache_;
  QList<Generation> sides_;
  QList<std::shared_ptr<Stream>> streams_;
  QList<JobId> jobs_;
  quint64 run_ = 0;
  bool announced_ = true;
};

/// Text of one token alone: characters where its bytes are some, else the bytes as <E2>.
QString pieceText(const std::string& bytes);

} // namespace bitlathe::gui
