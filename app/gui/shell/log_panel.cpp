// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/shell/jobs_strip.h"
#include "app/gui/theme.h"
#include "kernels/base/feedback.h"

#include <QPlainTextEdit>
#include <QTime>
#include <QVBoxLayout>

namespace bitlathe::gui {

LogPanel::LogPanel(QWidget* parent) : QWidget(parent), view_(new QPlainTextEdit(this)) {
  view_->setReadOnly(true);
  view_->setMaximumBlockCount(5000);
  view_->setFont(codeFont());
  view_->setFrameShape(QFrame::NoFrame);
  view_->setAccessibleName(tr("Log"));
  view_->setPlaceholderText(tr("Notes, warnings and errors of all jobs appear here."));
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(space::s, space::xs, space::s, space::s);
  column->addWidget(view_);
}

void LogPanel::append(int level, const QString& line) {
  const char* word = level >= int(LogLevel::error)     ? "error  "
                     : level == int(LogLevel::warning) ? "warning"
                                                       : "info   ";
  view_->appendPlainText(QTime::currentTime().toString(QStringLiteral("HH:mm:ss  ")) +
                         QLatin1String(word) + QStringLiteral("  ") + line);
}

QString LogPanel::text() const { return view_->toPlainText(); }

} // namespace bitlathe::gui
