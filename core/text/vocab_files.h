// SPDX-License-Identifier: Apache-2.0
// Older files that say in parts what a tokenizer.json says as a whole.
#pragma once

#include "core/base/json.h"

#include <filesystem>
#include <vector>

namespace bitlathe::text {

struct AsTokenizerJson {
  Json root;
  std::vector<std::string> notes;
  bool has_post_processor = false;
};

/// vocab.json and merges.txt (GPT-2, Qwen, RoBERTa, ...).
Result<AsTokenizerJson> from_vocab_and_merges(const std::filesystem::path& folder);
/// vocab.txt (BERT).
Result<AsTokenizerJson> from_vocab_txt(const std::filesystem::path& folder);

} // namespace bitlathe::text
