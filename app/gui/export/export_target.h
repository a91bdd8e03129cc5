// SPDX-License-Identifier: GPL-3.0-or-later
// Where and how a format is written: folder, size of the shards, accepted warnings, the button, and
// progress with cancel while it runs.
#pragma once

#include <QWidget>

class QCheckBox;
class QDoubleSpinBox;
class QLabel;
class QLineEdit;
class QProgressBar;
class QPushButton;

namespace bitlathe::gui {

struct JobStatus;

class ExportTarget : public QWidget {
  Q_OBJECT
 public:
  explicit ExportTarget(QWidget* parent = nullptr);

  QString folder() const;
  void setFolder(const QString& folder);
  bool folderTaken() const; ///< something is there already
  quint64 shardLimit() const;
  bool accepted() const; ///< warnings, when there are any
  void setAccepted(bool on);
  /// What stands in the way: nothing (empty), or a sentence that the button says in its tooltip.
  void setWarnings(int count);
  void setState(bool able, bool running, const QString& why_not);
  void showProgress(const JobStatus& status);

 Q_SIGNALS:
  void folderEdited(const QString& folder);
  void shardLimitChanged();
  void acceptedChanged(bool on);
  void exportWanted();
  void cancelWanted();

 private:
  void askFolder();

  QLineEdit* folder_;
  QDoubleSpinBox* shards_;
  QCheckBox* accept_;
  QPushButton *export_, *cancel_;
  QWidget* running_;
  QProgressBar* bar_;
  QLabel* progress_;
};

} // namespace bitlathe::gui
