// SPDX-License-Identifier: Apache-2.0
// Sets of prompts to judge models on.
//
// .jsonl: one object per line with a "prompt" (or "text", "question", "instruction", the first of
// "turns", or the first message of a user in "messages"), or a bare string; "id", "question_id" or
// "name" names it, "category" or "kind" says what it tries. .json: the same as one list, or an
// object with a list "prompts". Any other file is text: where it has empty lines between texts they
// separate the prompts, which may then have several lines; else every line is a prompt.
#pragma once

#include "core/base/json.h"

#include <string>
#include <string_view>
#include <vector>

namespace bitlathe {

struct Prompt {
  std::string id, text;
  std::string kind; ///< what it tries ("arithmetic"); may be empty
};

struct PromptSet {
  std::string name;
  std::vector<Prompt> prompts;    ///< ids are different from each other
  std::vector<std::string> notes; ///< how the file was read, where it could be doubted
};

/// Errors name the line. `file` names the file in messages and says by its ending how to read it.
Result<PromptSet> parse_prompts(std::string_view content, const std::string& file);
Result<PromptSet> read_prompts(const std::filesystem::path& path);

} // namespace bitlathe
