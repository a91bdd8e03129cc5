// SPDX-License-Identifier: Apache-2.0
#include "core/eval/references.h"

#include "core/eval/task_runs.h"

#include <algorithm>

namespace bitlathe {

Result<TaskItem> read_references(const Json& line, const std::string& where) {
  TaskItem item;
  TRY_ASSIGN(item.prompt, json_string(line, "prompt", where));
  const Json references = line.value("references", Json());
  if (references.is_array())
    for (const Json& reference : references)
      if (reference.is_string())
        item.answers.push_back(reference.get<std::string>());
  if (references.is_null()) {
    TRY_ASSIGN(const std::string answer, json_string(line, "answer", where));
    item.answers = {answer};
  }
  if (item.answers.empty() || (references.is_array() && item.answers.size() != references.size()))
    return Error{"bad-file", "The references are not a list of texts", where};
  return item;
}

Result<std::string> paragraph(Engine& engine, const TaskItem& item, const TaskOptions& options,
                              Feedback& feedback) {
  std::int64_t room = options.max_new;
  if (room == 0) { // twice the longest reference
    for (const std::string& reference : item.answers)
      room = std::max(room, 2 * token_count(engine, reference));
    room = std::clamp<std::int64_t>(room, 16, 512);
  }
  TRY_ASSIGN(const std::string said, continuation(engine, item.prompt, room, options, feedback));
  return first_paragraph(said);
}

} // namespace bitlathe
