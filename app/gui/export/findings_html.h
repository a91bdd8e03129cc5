// SPDX-License-Identifier: GPL-3.0-or-later
// Findings of the doctor and checks of a verification as rich text, marked so that they read
// without colour.
#pragma once

#include "app/gui/export/formats_model.h"

namespace bitlathe::gui {

/// `runtime`: the reader that the export is meant for; what concerns others is shown as a remark.
QString findingsHtml(const FormatRow& row, const QString& runtime = {});
QString checksHtml(const VerifyReport& report);
/// Escapes `text` and colours it.
QString colouredHtml(const QString& text, const QColor& color);

} // namespace bitlathe::gui
