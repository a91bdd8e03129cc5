// SPDX-License-Identifier: Apache-2.0
// What kinds of tasks ask of a model: a continuation, or how likely one is.
#pragma once

#include "core/eval/tasks.h"

namespace bitlathe {

/// The greedy continuation of a prompt, with at most `max_new` tokens; with `options.chat` the
/// answer to it as a message.
Result<std::string> continuation(Engine& engine, const std::string& prompt, std::int64_t max_new,
                                 const TaskOptions& options, Feedback& feedback);

/// Of `text` after `prompt`. Tokens are those of both together without the prompt's own count, as
/// EleutherAI's harness has it, so that a token across the seam belongs to the text.
struct Likelihood {
  double log_likelihood = 0;
  std::int64_t tokens = 0;
  bool greedy = true; ///< every token was the likeliest
};
Result<Likelihood> likelihood(Engine& engine, const std::string& prompt, const std::string& text,
                              Feedback& feedback);

/// Tokens of a text, for an answer's length.
std::int64_t token_count(Engine& engine, const std::string& text);

/// A continuation up to the first empty line, without white space around it.
std::string first_paragraph(const std::string& text);

} // namespace bitlathe
