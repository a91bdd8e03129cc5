// SPDX-License-Identifier: GPL-3.0-or-later
// Stage 6: every format against the plan or the result, what the doctor finds, writing it, checking
// what was written, and how to use it.
#pragma once

#include "app/gui/export/exports_model.h"
#include "app/gui/export/formats_model.h"
#include "app/gui/workbench.h"

#include <QHash>
#include <QWidget>

class QComboBox;
class QLabel;
class QPushButton;
class QStackedWidget;
class QTableView;
class QTextBrowser;
class QTimer;

namespace bitlathe::gui {

class Banner;
class Card;
class ExportsCard;
class ExportTarget;
class UseCard;

class ExportStage : public QWidget {
  Q_OBJECT
 public:
  /// What would be exported now.
  enum class Subject { none, result, plan, original };

  explicit ExportStage(Workbench& workbench, QWidget* parent = nullptr);

  Subject subject() const;
  void chooseFormat(const QString& id);
  QString chosenFormat() const;
  /// The one reader that exports are meant for; empty: any.
  void chooseRuntime(const QString& runtime);
  QString runtime() const;
  void setFolder(const QString& folder);
  QString folder() const;
  void acceptWarnings(bool on);
  bool examined() const { return !examining_; } ///< the matrix is of what stands now
  bool canExport() const;
  /// Starts the export; asks first when the folder holds something.
  void exportNow();
  /// Exports the first format that fits or only warns into a folder below `root`, as soon as the
  /// formats are examined.
  void exportFirst(const QString& root);
  /// Puts what the chosen format falls back to into the recipe, as one step.
  void adoptFallbacks();
  const ExportsModel& exports() const;
  const FormatsModel& formats() const { return *formats_; }
  UseCard& use() { return *use_; }

 private:
  QWidget* buildMatrix();
  QWidget* buildDetail();
  void refresh();
  void examine();
  void examined(const QList<FormatReport>& reports);
  void refreshDetail();
  void refreshButton();
  void refreshUse();
  void progress();
  void start(bool replace);
  void finished(const QString& path, const QString& error);
  QString defaultFolder(const QString& format) const;
  QString folderOf(const QString& format) const;
  const FormatRow* chosen() const;
  QString whyNot() const;
  JobStatus job() const;

  Workbench& workbench_;
  QHash<QString, QString> folders_;  ///< by format, as edited
  QHash<QString, QString> accepted_; ///< by format: the warnings that were accepted, word by word
  bool exporting_ = false, examining_ = true;
  quint64 asked_ = 0;  ///< the last question
  QString first_root_; ///< exportFirst() is waiting

  QStackedWidget* pages_;
  Banner* banner_;
  QComboBox *runtime_, *subject_choice_;
  QLabel* subject_;
  FormatsModel* formats_;
  QTableView* matrix_;
  Card *matrixCard_, *detailCard_;
  QLabel* summary_;
  QPushButton* adopt_;
  QTextBrowser* findings_;
  ExportTarget* target_;
  UseCard* use_;
  ExportsCard* exports_;
  QTimer* examine_;
};

} // namespace bitlathe::gui
