// SPDX-License-Identifier: Apache-2.0
// Vocabularies of openai/tiktoken: a line for every token, its bytes in base64 and its rank.
#pragma once

#include "core/text/hf_tokenizer.h"

namespace bitlathe::text {

bool looks_like_tiktoken(std::string_view bytes);
/// The pattern is not in the file: it is chosen by the file's name and size, and said in a remark.
Result<void> load_tiktoken(HfTokenizer& t, std::string_view bytes, const std::string& file_name);

} // namespace bitlathe::text
