// SPDX-License-Identifier: GPL-3.0-or-later
// How far the weights of the second checkpoint are from those of the first, over whole tensors:
// the selected module at once on the look-up lane, all of them as a job on request.
#pragma once

#include "app/gui/workbench.h"

#include <map>
#include <mutex>

namespace bitlathe::gui {

struct SecondError {
  QString reason; ///< why there are no figures; empty when there are
  double mse = 0, sqnr_db = 0, cosine = 0, max_abs = 0;
};

class SecondErrors : public QObject {
  Q_OBJECT
 public:
  /// The one that belongs to this Workbench.
  static SecondErrors& of(Workbench& workbench);

  const SecondError* find(const QString& module) const; ///< nullptr: not measured yet
  void request(const QString& module);                  ///< changed() follows
  void measureAll();
  bool measuring() const { return measuring_; }

 Q_SIGNALS:
  void changed(const QStringList& modules); ///< empty: all were dropped
  void measuringChanged();

 private:
  explicit SecondErrors(Workbench& workbench);
  void drain();

  Workbench& workbench_;
  std::map<QString, SecondError> known_;
  QString pending_;
  bool measuring_ = false;
  std::shared_ptr<const Checkpoint> second_; ///< what the figures belong to
  std::mutex mutex_;
  struct Measured {
    std::shared_ptr<const Checkpoint> second;
    QString module;
    SecondError error;
  };
  std::vector<Measured> incoming_; ///< from the job's thread, under mutex_
};

/// "SQNR 32.1 dB, MSE 1.2e-7, cosine 0.99998, largest difference 0.0013", or the reason.
QString errorText(const SecondError& error);

} // namespace bitlathe::gui
