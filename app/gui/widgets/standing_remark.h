// SPDX-License-Identifier: GPL-3.0-or-later
// A standing remark in a banner: said once while it holds, taken back when it no longer does,
// without disturbing other messages.
#pragma once

#include "app/gui/widgets/card.h"

namespace bitlathe::gui {

inline void keepSaying(Banner& banner, bool holds, int level, const QString& text) {
  if (holds && banner.text() != text)
    banner.say(level, text);
  else if (!holds && banner.text() == text)
    banner.clear();
}

} // namespace bitlathe::gui
