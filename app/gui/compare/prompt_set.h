// SPDX-License-Identifier: GPL-3.0-or-later
// Prompts from a JSON Lines file: one object per line with a "prompt" (or "text", or the first of
// "turns"), or a bare string; an "id" is kept for the title.
#pragma once

#include "kernels/base/result.h"

#include <QByteArray>
#include <QList>
#include <QString>

namespace bitlathe::gui {

struct Prompt {
  QString id, text;
};

/// Errors name the line. `where` is the file's name for messages.
Result<QList<Prompt>> parsePrompts(const QByteArray& jsonl, const QString& where);
Result<QList<Prompt>> readPrompts(const QString& path);

/// One line of at most `length` characters, for menus.
QString promptTitle(const Prompt& prompt, int length = 72);

} // namespace bitlathe::gui
