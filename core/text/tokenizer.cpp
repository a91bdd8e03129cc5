// SPDX-License-Identifier: Apache-2.0
#include "core/text/tokenizer.h"

#include "core/text/gguf_tokenizer.h"
#include "core/text/hf_tokenizer.h"

namespace bitlathe {

Result<std::shared_ptr<const Tokenizer>>
Tokenizer::from_folder(const std::filesystem::path& folder) {
  return text::load_hf_tokenizer(folder);
}

Result<std::shared_ptr<const Tokenizer>> Tokenizer::from_gguf(const GgufMetadata& metadata,
                                                              const std::string& where) {
  return text::load_gguf_tokenizer(metadata, where);
}

} // namespace bitlathe
