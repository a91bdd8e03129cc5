// SPDX-License-Identifier: GPL-3.0-or-later
// Where work begins: a place to drop a checkpoint, and the models that are on this machine already.
// The search runs on the engine's look-up lane.
#pragma once

#include "core/model/locate.h"

#include <QWidget>

class QLabel;
class QLineEdit;
class QPushButton;
class QStackedWidget;
class QTreeView;

namespace bitlathe::gui {

class EmptyState;
class StartFilter;
class StartModel;
class Workbench;

class StartPage : public QWidget {
  Q_OBJECT
 public:
  explicit StartPage(Workbench& workbench, QWidget* parent = nullptr);

  enum class Purpose {
    open,  ///< what is chosen takes the place of the checkpoint that is open
    beside ///< it is opened beside that one
  };
  void setPurpose(Purpose purpose);
  Purpose purpose() const { return purpose_; }
  void setRecent(const QStringList& paths); ///< latest first; takes effect with the next search
  void setPlaces(std::vector<ModelPlace> places); ///< instead of the usual ones
  /// A button beside the others; shown only while there is something it can do.
  QPushButton* addAction(const QString& label, const QString& tooltip,
                         std::function<void()> action);
  void search(); ///< looks for models again
  bool searching() const { return searching_; }
  StartModel& model() { return *model_; }
  QTreeView& view() { return *view_; }

 Q_SIGNALS:
  void chosen(const QString& path, bitlathe::gui::StartPage::Purpose purpose);
  void left();     ///< back to the open checkpoint
  void searched(); ///< the list is up to date
  void forgetWanted(const QString& path);

 protected:
  void showEvent(QShowEvent* event) override;
  void keyPressEvent(QKeyEvent* event) override;
  bool eventFilter(QObject* watched, QEvent* event) override;

 private:
  void buildTop();
  void buildList();
  void showFound(FoundModels found);
  void showTexts();
  void activate(const QModelIndex& proxy_index, Purpose purpose);
  void openMenu(const QPoint& at);
  void choose(const QModelIndex& proxy_index) { activate(proxy_index, purpose_); }

  Workbench& workbench_;
  Purpose purpose_ = Purpose::open;
  QStringList recent_;
  std::vector<ModelPlace> places_;
  bool searching_ = false, looked_ = false;
  QString found_text_, found_tip_;
  QLabel *title_ = nullptr, *text_ = nullptr, *status_ = nullptr;
  QWidget *top_ = nullptr, *buttons_ = nullptr;
  QPushButton *back_ = nullptr, *again_ = nullptr;
  QLineEdit* search_ = nullptr;
  QStackedWidget* pages_ = nullptr;
  QTreeView* view_ = nullptr;
  EmptyState* empty_ = nullptr;
  StartModel* model_ = nullptr;
  StartFilter* filter_ = nullptr;
};

} // namespace bitlathe::gui
