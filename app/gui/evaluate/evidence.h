// SPDX-License-Identifier: GPL-3.0-or-later
// What the stages found out that the workbench does not hold: prompts compared, verifications, the
// plan looked at. One object per workbench; the checklist is made from it.
#pragma once

#include "app/gui/evaluate/checklist.h"
#include "app/gui/workbench.h"

#include <QHash>
#include <QObject>

namespace bitlathe::gui {

class Evidence : public QObject {
  Q_OBJECT
 public:
  /// The one of this workbench; made on first use.
  static Evidence* of(Workbench& workbench);

  /// A prompt was run on the original and the current result.
  void promptCompared(const QString& prompt, bool sameTokens);
  /// A verification of an export ended.
  void verified(const QString& path, const VerifyReport& report);
  /// It could not be run at all.
  void verificationFailed(const QString& path, const QString& why);
  void planLookedAt();

  const VerifyReport* verification(const QString& path) const;
  QString verificationProblem(const QString& path) const;
  ChecklistEvidence collect() const;

 Q_SIGNALS:
  void changed();

 private:
  explicit Evidence(Workbench& workbench);
  void forgetResult();
  Json state() const;
  void keep();
  void restore();

  Workbench& workbench_;
  QString folder_; ///< result the prompts belong to
  QHash<QString, bool> prompts_;
  QHash<QString, VerifyReport> verifications_;
  QHash<QString, QString> problems_;
  bool planReviewed_ = false;
};

} // namespace bitlathe::gui
