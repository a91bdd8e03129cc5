// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/compare/chat_row.h"

#include "app/gui/theme.h"
#include "core/chat/chat.h"

#include <QCheckBox>
#include <QHBoxLayout>
#include <QLineEdit>

namespace bitlathe::gui {

ChatRow::ChatRow(QWidget* parent) : QWidget(parent) {
  auto* row = new QHBoxLayout(this);
  row->setContentsMargins(0, 0, 0, 0);
  row->setSpacing(space::s);
  chat_ = new QCheckBox(tr("Chat"), this);
  chat_->setAccessibleName(tr("Chat: apply the chat templates"));
  chat_->setShortcut(QKeySequence(Qt::ALT | Qt::Key_M));
  system_ = new QLineEdit(this);
  system_->setPlaceholderText(tr("System prompt: what every model is told first (optional)"));
  system_->setAccessibleName(tr("System prompt"));
  system_->setObjectName(QStringLiteral("system"));
  system_->setToolTip(tr("Instructions in front of the conversation. A template without a place "
                         "for them refuses them or joins them with the first message"));
  system_->setClearButtonEnabled(true);
  row->addWidget(system_, 1);
  connect(chat_, &QCheckBox::toggled, this, [this] {
    refresh();
    Q_EMIT changed();
  });
  connect(system_, &QLineEdit::textChanged, this, &ChatRow::changed);
  refresh();
}

void ChatRow::setContenders(const QList<Contender>& contenders) {
  able_ = false;
  for (const Contender& contender : contenders)
    able_ = able_ || (contender.checkpoint && seems_to_have_chat_template(*contender.checkpoint));
  refresh();
}

void ChatRow::refresh() {
  chat_->setEnabled(able_);
  chat_->setToolTip(
      able_ ? tr("The prompt is a message to the models: each puts it into its own chat template, "
                 "and ends with its own end of turn. Off: the prompt is continued as it is (Alt+M)")
            : tr("None of these models has a chat template; the prompt is continued as it is"));
  setVisible(able_ && chat_->isChecked());
}

bool ChatRow::wanted() const { return chat_->isChecked(); }
QString ChatRow::system() const { return system_->text(); }
ChatShown ChatRow::shown() const { return {able_ && wanted(), system().trimmed()}; }

void ChatRow::set(bool chat, const QString& system) {
  chat_->setChecked(chat);
  system_->setText(system);
}

} // namespace bitlathe::gui
