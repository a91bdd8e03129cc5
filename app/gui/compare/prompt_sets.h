// SPDX-License-Identifier: GPL-3.0-or-later
// Which sets of prompts are offered: the one beside the model, those that come with the program,
// and what was imported.
#pragma once

#include "core/judge/prompts.h"

#include <QList>
#include <QString>

namespace bitlathe::gui {

struct PromptSetOffer {
  QString title, path;
};

/// The shipped general prompts; empty when they are not there.
QString generalPromptsPath();
/// For a model at `folder`: its own set if it has one, then the shipped ones. Looks for files only.
QList<PromptSetOffer> offeredPromptSets(const QString& folder);

/// One line of at most `length` characters, for menus.
QString promptTitle(const Prompt& prompt, int length = 72);

} // namespace bitlathe::gui
