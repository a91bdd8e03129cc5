// SPDX-License-Identifier: GPL-3.0-or-later
// The slim header: the model, the stages as a segmented switch, the device and the memory in use.
#pragma once

#include <QFrame>
#include <QList>

class QButtonGroup;
class QLabel;
class QPushButton;

namespace bitlathe::gui {

class Workbench;

class HeaderBar : public QFrame {
  Q_OBJECT
 public:
  explicit HeaderBar(Workbench& workbench, QWidget* parent = nullptr);
  void setStage(int index);

 Q_SIGNALS:
  void stageChosen(int index);

 private:
  void showModel();
  void showDevice();
  void showMemory();

  Workbench& workbench_;
  QLabel *name_, *facts_, *device_, *memory_;
  QButtonGroup* stages_;
};

} // namespace bitlathe::gui
