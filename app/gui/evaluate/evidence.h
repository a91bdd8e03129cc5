// SPDX-License-Identifier: GPL-3.0-or-later
// What the stages found out that the workbench does not hold: verifications, the plan looked at.
// One object per workbench; with what the session holds, the checklist is made from it.
#pragma once

#include "app/gui/workbench.h"
#include "core/judge/checklist.h"

#include <QHash>
#include <QObject>

namespace bitlathe::gui {

class Evidence : public QObject {
  Q_OBJECT
 public:
  /// The one of this workbench; made on first use.
  static Evidence* of(Workbench& workbench);

  /// A verification of an export ended.
  void verified(const QString& path, const VerifyReport& report);
  /// It could not be run at all.
  void verificationFailed(const QString& path, const QString& why);
  void planLookedAt();

  const VerifyReport* verification(const QString& path) const;
  QString verificationProblem(const QString& path) const;
  ChecklistFacts collect() const;

 Q_SIGNALS:
  void changed();

 private:
  explicit Evidence(Workbench& workbench);
  void forgetResult();
  void exported();
  void note(const QString& path, bool checked, bool ok);
  void keep();
  void restore();

  Workbench& workbench_;
  EvidenceRecord record_;
  QHash<QString, VerifyReport> verifications_;
  QHash<QString, QString> problems_;
};

} // namespace bitlathe::gui
