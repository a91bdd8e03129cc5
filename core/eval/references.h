// SPDX-License-Identifier: Apache-2.0
// Tasks whose answers are texts to come near to.
#pragma once

#include "core/eval/tasks.h"

namespace bitlathe {

/// A prompt with an "answer" or several "references".
Result<TaskItem> read_references(const Json& line, const std::string& where);
/// What the model says to the item, up to an empty line.
Result<std::string> paragraph(Engine& engine, const TaskItem& item, const TaskOptions& options,
                              Feedback& feedback);

} // namespace bitlathe
