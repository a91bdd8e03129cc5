// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/export/use_card.h"

#include "app/gui/theme.h"
#include "core/export/exporter.h"

#include <QApplication>
#include <QClipboard>
#include <QComboBox>
#include <QPlainTextEdit>
#include <QTimer>
#include <QToolButton>

namespace bitlathe::gui {

namespace {

QString toQt(std::string_view text) {
  return QString::fromUtf8(text.data(), qsizetype(text.size()));
}

} // namespace

UseCard::UseCard(QWidget* parent)
    : Card(tr("Use with"), tr("What to type or run to load the export in other programs"),
           parent) {
  runtime_ = new QComboBox(this);
  runtime_->setFont(smallFont());
  runtime_->setSizeAdjustPolicy(QComboBox::AdjustToMinimumContentsLengthWithIcon);
  runtime_->setMinimumContentsLength(9);
  runtime_->setToolTip(tr("Programs that read this format"));
  runtime_->setAccessibleName(tr("Program to use the export with"));
  connect(runtime_, &QComboBox::currentIndexChanged, this, &UseCard::fill);
  addTool(runtime_);
  copy_ = new QToolButton(this);
  copy_->setText(tr("Copy"));
  copy_->setToolTip(tr("Copies the lines below"));
  connect(copy_, &QToolButton::clicked, this, &UseCard::copy);
  addTool(copy_);
  text_ = new QPlainTextEdit(this);
  text_->setReadOnly(true);
  text_->setFont(codeFont());
  text_->setLineWrapMode(QPlainTextEdit::WidgetWidth);
  text_->setAccessibleName(tr("Lines to use the export"));
  text_->setMinimumHeight(60);
  addBody(text_);
}

void UseCard::show(const Exporter* exporter, const QString& path, const QString& name,
                   bool written) {
  path_ = path;
  name_ = name;
  setReadout(written ? tr("as written") : tr("once it is written"));
  if (exporter != exporter_) {
    exporter_ = exporter;
    const QSignalBlocker quiet(runtime_);
    runtime_->clear();
    if (exporter_)
      for (const UseWith& use : exporter_->uses)
        runtime_->addItem(toQt(use.title), toQt(use.runtime));
  }
  const int wanted = preferred_.isEmpty() ? -1 : runtime_->findData(preferred_);
  if (wanted >= 0) {
    const QSignalBlocker quiet(runtime_);
    runtime_->setCurrentIndex(wanted);
  }
  fill();
}

void UseCard::prefer(const QString& runtime) {
  preferred_ = runtime;
  if (const int at = runtime_->findData(runtime); at >= 0)
    runtime_->setCurrentIndex(at);
}

void UseCard::fill() {
  const int at = runtime_->currentIndex();
  const bool any = exporter_ && at >= 0 && std::size_t(at) < exporter_->uses.size();
  runtime_->setVisible(any);
  copy_->setEnabled(any);
  if (!any) {
    text_->setPlainText(
        exporter_ ? tr("Read by %1: give it the path\n%2").arg(toQt(exporter_->loaders), path_)
                  : QString());
    return;
  }
  QString text = toQt(exporter_->uses[std::size_t(at)].text);
  text.replace(QStringLiteral("{path}"), path_).replace(QStringLiteral("{name}"), name_);
  text_->setPlainText(text.trimmed());
}

QString UseCard::text() const { return text_->toPlainText(); }

QStringList UseCard::runtimes() const {
  QStringList out;
  for (int i = 0; i < runtime_->count(); ++i)
    out << runtime_->itemData(i).toString();
  return out;
}

void UseCard::copy() {
  QApplication::clipboard()->setText(text());
  copy_->setText(tr("Copied \u2713"));
  QTimer::singleShot(1500, this, [this] { copy_->setText(tr("Copy")); });
}

} // namespace bitlathe::gui
