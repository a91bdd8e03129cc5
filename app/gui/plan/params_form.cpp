// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/plan/params_form.h"

#include "app/gui/theme.h"

#include <cmath>
#include <QDoubleSpinBox>
#include <QFormLayout>
#include <QLabel>
#include <QSpinBox>

namespace bitlathe::gui {

namespace {

QString text(std::string_view s) { return QString::fromUtf8(s.data(), qsizetype(s.size())); }

} // namespace

ParamsForm::ParamsForm(QWidget* parent) : QWidget(parent), form_(new QFormLayout(this)) {
  form_->setContentsMargins(0, 0, 0, 0);
  form_->setHorizontalSpacing(space::m);
  form_->setVerticalSpacing(space::xs);
}

int ParamsForm::fields() const { return form_->rowCount(); }

void ParamsForm::show(const Method* method, const Json& params) {
  if (method != method_) {
    while (form_->rowCount() > 0)
      form_->removeRow(0);
    method_ = method;
    for (const auto& param : method ? method->params : std::span<const MethodParam>()) {
      QAbstractSpinBox* box = nullptr;
      if (param.integer) {
        auto* spin = new QSpinBox(this);
        spin->setRange(int(param.low), int(param.high));
        connect(spin, &QSpinBox::valueChanged, this, &ParamsForm::emitEdited);
        box = spin;
      } else {
        auto* spin = new QDoubleSpinBox(this);
        spin->setDecimals(4);
        spin->setRange(param.low, param.high);
        spin->setSingleStep((param.high - param.low) / 50);
        connect(spin, &QDoubleSpinBox::valueChanged, this, &ParamsForm::emitEdited);
        box = spin;
      }
      box->setObjectName(text(param.key));
      box->setKeyboardTracking(false); // one undo step per number, not per digit
      box->setToolTip(text(param.summary));
      box->setAccessibleName(text(param.key));
      auto* label = new QLabel(text(param.key), this);
      label->setToolTip(text(param.summary));
      label->setBuddy(box);
      form_->addRow(label, box);
    }
    setVisible(form_->rowCount() > 0);
  }
  if (!method)
    return;
  for (const auto& param : method->params) {
    const double value = method_param(*method, params, param.key);
    if (auto* spin = findChild<QSpinBox*>(text(param.key))) {
      const QSignalBlocker quiet(spin);
      spin->setValue(int(value));
    } else if (auto* real = findChild<QDoubleSpinBox*>(text(param.key))) {
      const QSignalBlocker quiet(real);
      real->setValue(value);
    }
  }
}

void ParamsForm::emitEdited() {
  Json params = Json::object();
  for (const auto& param : method_->params) {
    const std::string key(param.key);
    if (const auto* spin = findChild<QSpinBox*>(text(param.key))) {
      if (spin->value() != int(param.standard))
        params[key] = spin->value();
    } else if (const auto* real = findChild<QDoubleSpinBox*>(text(param.key))) {
      if (std::abs(real->value() - param.standard) > 1e-9)
        params[key] = real->value();
    }
  }
  Q_EMIT edited(params);
}

} // namespace bitlathe::gui
