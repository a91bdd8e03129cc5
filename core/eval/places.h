// SPDX-License-Identifier: Apache-2.0
// One token of a judged text: what stands around it, and what a model expects in its place.
#pragma once

#include "core/eval/eval.h"

namespace bitlathe {

/// A token within the windows of an EvalText.
struct Place {
  std::int64_t window = 0, position = 0;
};

struct PlaceText {
  std::string before, token, after;
};
/// What stands around a place, at most so many tokens to each side. `before` does not go beyond the
/// window: the models did not see more. Error "mismatch" where the text ends before the place.
Result<PlaceText> text_around(const Tokenizer& tokenizer, const EvalText& text, const Place& place,
                              std::int64_t before, std::int64_t after);
/// Whether a token that was measured stands where it says: the text may be another one now.
bool stands_at(const EvalText& text, const WorstToken& token);

/// The `count` likeliest tokens in a place, given what stands before it in its window.
Result<std::vector<TopToken>> expected_at(Engine& engine, const EvalText& text, const Place& place,
                                          int count, const Feedback& feedback);

} // namespace bitlathe
