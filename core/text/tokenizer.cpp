// SPDX-License-Identifier: Apache-2.0
#include "core/text/hf_tokenizer.h"

namespace bitlathe {

Result<std::shared_ptr<const Tokenizer>>
Tokenizer::from_folder(const std::filesystem::path& folder) {
  return text::load_hf_tokenizer(folder);
}

Result<std::shared_ptr<const Tokenizer>> Tokenizer::from_gguf(const GgufMetadata&,
                                                              const std::string& where) {
  return Error{"unsupported", "Tokenizers of GGUF files are not read yet", where};
}

Result<GgufMetadata> text::HfTokenizer::to_gguf(std::int64_t) const {
  return Error{"unsupported", "Tokenizers are not written to GGUF yet", where};
}

} // namespace bitlathe
