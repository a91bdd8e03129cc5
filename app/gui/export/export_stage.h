// SPDX-License-Identifier: GPL-3.0-or-later
// Stage 6: choose a format, see what it can hold, write it, check what was written.
#pragma once

#include "app/gui/export/exports_model.h"
#include "app/gui/export/formats_model.h"
#include "app/gui/workbench.h"

#include <QHash>
#include <QWidget>

class QLabel;
class QLineEdit;
class QListView;
class QProgressBar;
class QPushButton;
class QStackedWidget;
class QTableView;
class QTextBrowser;
class QTimer;

namespace bitlathe::gui {

class Banner;
class Card;
class Evidence;

class ExportStage : public QWidget {
  Q_OBJECT
 public:
  /// What would be exported now.
  enum class Subject { none, result, plan, original };

  explicit ExportStage(Workbench& workbench, QWidget* parent = nullptr);

  Subject subject() const;
  void chooseFormat(const QString& id);
  void setFolder(const QString& folder);
  QString folder() const;
  bool canExport() const;
  /// Starts the export; asks first when the folder holds something.
  void exportNow();
  const ExportsModel& exports() const { return *exports_; }
  const FormatsModel& formats() const { return *formats_; }

 private:
  QWidget* buildDetail();
  QWidget* buildTarget();
  QWidget* buildExports();
  void refresh();
  void refreshDetail();
  void refreshButton();
  void refreshExports();
  void progress();
  void start(bool replace);
  void finished(const QString& path, const QString& error);
  void verify(const QString& path);
  void askFolder();
  void openSelected();
  QString defaultFolder(const QString& format) const;
  QString chosenFormat() const;
  QString verificationHtml(const QString& path) const;
  JobStatus job() const;
  bool folderTaken() const;

  Workbench& workbench_;
  Evidence* evidence_;
  QHash<QString, QString> folders_; ///< by format, as edited
  QStringList verifying_;
  bool exporting_ = false;

  QStackedWidget* pages_;
  Banner* banner_;
  FormatsModel* formats_;
  QListView* list_;
  Card* detailCard_;
  QLabel *summary_, *subject_;
  QTextBrowser* findings_;
  QLineEdit* folder_;
  QPushButton *export_, *cancel_;
  QWidget* running_;
  QProgressBar* bar_;
  QLabel* progress_;
  ExportsModel* exports_;
  QTableView* table_;
  Card* exportsCard_;
  QPushButton *open_, *again_;
  QTextBrowser* checks_;
  QTimer* examine_;
};

} // namespace bitlathe::gui
