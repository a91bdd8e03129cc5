// SPDX-License-Identifier: GPL-3.0-or-later
// A form for the parameters of a method, built from what the method declares.
#pragma once

#include "core/methods/method.h"

#include <QWidget>

class QFormLayout;

namespace bitlathe::gui {

class ParamsForm : public QWidget {
  Q_OBJECT
 public:
  explicit ParamsForm(QWidget* parent = nullptr);
  void show(const Method* method, const Json& params);
  int fields() const;

 Q_SIGNALS:
  void edited(const bitlathe::Json& params); ///< only values that differ from the standard ones

 private:
  void emitEdited();
  QFormLayout* form_;
  const Method* method_ = nullptr;
};

} // namespace bitlathe::gui
