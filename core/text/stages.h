// SPDX-License-Identifier: Apache-2.0
// The stages of a tokenizer.json around its model: normalizer, pre-tokenizer, decoder. Each part of
// the file becomes one step; a part that is not known is an error that names it.
#pragma once

#include "core/base/json.h"

#include <functional>

namespace bitlathe::text {

/// A stretch of the input on its way through the stages.
struct Piece {
  std::string text;
  std::int32_t token = -1; ///< an added token found in the text; final
  bool at_start = false;   ///< begins where the input begins
};

using Normalizer = std::vector<std::function<void(std::string&)>>;
using PreTokenizer = std::vector<std::function<void(std::vector<Piece>&)>>;
/// A decoder step sees the bytes of every token and may join them. `at_start`: the first token
/// begins the text.
struct DecoderStep {
  std::function<void(std::vector<std::string>&, bool at_start)> apply;
  bool of_running_text = true; ///< false: only makes sense at the ends of a whole text
};
using Decoder = std::vector<DecoderStep>;

/// `json` null: no steps.
Result<Normalizer> parse_normalizer(const Json& json, const std::string& where);
Result<PreTokenizer> parse_pre_tokenizer(const Json& json, const std::string& where);
Result<Decoder> parse_decoder(const Json& json, const std::string& where);

std::string normalized(const Normalizer& normalizer, std::string text);

// Shared by the parsers.
Result<std::string> stage_type(const Json& json, std::string_view stage, const std::string& where);
/// The members of a "Sequence", or the one stage itself.
Result<std::vector<Json>> stage_list(const Json& json, std::string_view stage,
                                     std::string_view members, const std::string& where);
Error unknown_stage(std::string_view stage, const std::string& type, const std::string& where);

} // namespace bitlathe::text
