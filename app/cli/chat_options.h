// SPDX-License-Identifier: GPL-3.0-or-later
// Options of verbs that put a conversation through a chat template.
#pragma once

#include "app/cli/verb.h"
#include "core/chat/chat.h"

namespace bitlathe {

/// The conversation in `file` (empty: a message of the user with `text`, behind --system), through
/// --chat-template FILE or the model's own template, with --chat-template-kwargs.
Result<ChatPrompt> chat_prompt_of(const Invocation& invocation, const Checkpoint& model,
                                  const std::string& file, const std::string& text);

} // namespace bitlathe
