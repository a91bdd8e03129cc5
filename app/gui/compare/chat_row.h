// SPDX-License-Identifier: GPL-3.0-or-later
// The switch that makes the prompt a message in a conversation, and the line with what the models
// are told first, which shows while it is on.
#pragma once

#include "app/gui/compare/generation.h"
#include "app/gui/workbench.h"

#include <QWidget>

class QCheckBox;
class QLineEdit;

namespace bitlathe::gui {

class ChatRow : public QWidget {
  Q_OBJECT
 public:
  explicit ChatRow(QWidget* parent = nullptr);
  QCheckBox* box() { return chat_; } ///< to be put where there is room
  /// The switch can be used when a model has a template; what was chosen is kept for later.
  void setContenders(const QList<Contender>& contenders);
  ChatShown shown() const;
  void set(bool chat, const QString& system);
  bool able() const { return able_; } ///< a model has a template
  bool wanted() const;                ///< as switched, whether or not a model has a template
  QString system() const;

 Q_SIGNALS:
  void changed();

 private:
  void refresh();

  QCheckBox* chat_;
  QLineEdit* system_;
  bool able_ = false;
};

} // namespace bitlathe::gui
