// SPDX-License-Identifier: GPL-3.0-or-later
// The transcripts of a session: what was generated since the model was opened, kept with it under
// "transcripts". One object per workbench, so that the blind desk and the report see the same.
#pragma once

#include "app/gui/workbench.h"
#include "core/judge/transcripts.h"

#include <QObject>

namespace bitlathe::gui {

class TranscriptBook : public QObject {
  Q_OBJECT
 public:
  /// The one of this workbench; made on first use.
  static TranscriptBook* of(Workbench& workbench);

  const std::vector<Transcript>& transcripts() const { return transcripts_; }
  bool empty() const { return transcripts_.empty(); }
  /// Takes the place of the one of the same prompt, if there is one.
  void add(const Transcript& transcript);
  /// The newest of a prompt; nullptr when it has not been run.
  const Transcript* find(const std::string& prompt) const;
  /// Different for everything that was ever in the book; 0: nothing.
  quint64 revision(const Transcript* transcript) const;
  void forget();
  QString model() const; ///< name of the checkpoint, for files

 Q_SIGNALS:
  void changed();

 private:
  explicit TranscriptBook(Workbench& workbench);
  void keep();
  void restore();

  Workbench& workbench_;
  std::vector<Transcript> transcripts_;
  std::vector<quint64> revisions_; ///< of each
  quint64 last_revision_ = 0;
  Json kept_ = Json::array(); ///< the same, as the session has it
};

} // namespace bitlathe::gui
