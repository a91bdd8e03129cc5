// SPDX-License-Identifier: Apache-2.0
// "gemma4": what "gpt2" is with the pre-tokenizer of that name.
#include "core/text/gguf_tokenizer.h"

#include <algorithm>

namespace bitlathe {

extern const GgufModelKind gguf_model_gpt2;
extern const GgufModelKind gguf_model_gemma4;

namespace {

Result<std::unique_ptr<text::GgufModel>> load(text::GgufTokenizer& t) {
  // The keys themselves stay as they are: they are written again as they were read.
  const auto kept = t.metadata;
  t.metadata.erase(std::remove_if(t.metadata.begin(), t.metadata.end(),
                                  [](const auto& e) { return e.first == "tokenizer.ggml.pre"; }),
                   t.metadata.end());
  t.metadata.emplace_back("tokenizer.ggml.pre", GgufValue::string("gemma4"));
  auto model = gguf_model_gpt2.load(t);
  t.metadata = kept;
  return model;
}

} // namespace

const GgufModelKind gguf_model_gemma4{"gemma4", load};

} // namespace bitlathe
