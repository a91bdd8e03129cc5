// SPDX-License-Identifier: Apache-2.0
// The model inside a tokenizer.json: what turns a piece of text into ids. One file in models/ and
// one word in the CMake list for each kind.
#pragma once

#include "core/base/json.h"
#include "core/io/gguf.h"
#include "core/text/token_list.h"

#include <memory>
#include <span>

namespace bitlathe::text {

struct HfTokenizer;

/// What GGUF keys can say about a tokenizer.
struct GgufPlan {
  std::string model;              ///< tokenizer.ggml.model
  std::string pre;                ///< tokenizer.ggml.pre
  std::vector<std::string> notes; ///< where llama.cpp will tokenize differently
  bool scores = false;            ///< the file holds a score for every token
  GgufMetadata more;              ///< keys of this kind of model alone
};

class TokenModel {
 public:
  virtual ~TokenModel() = default;
  virtual std::string kind(bool byte_level) const = 0; ///< "byte-bpe", "unigram", ...
  /// Appends the ids of `piece` (valid UTF-8).
  virtual void encode(std::string_view piece, std::vector<std::int32_t>& out) const = 0;
  virtual std::int32_t find(std::string_view token) const = 0; ///< -1: none
  virtual std::int32_t unknown() const { return -1; }
  /// Encoding a piece again costs more than looking it up.
  virtual bool worth_caching() const { return true; }
  virtual Result<GgufPlan> plan_gguf(const HfTokenizer& tokenizer) const = 0;
  /// Scores as llama.cpp wants them, one for every token.
  virtual std::vector<float> scores(const TokenList&) const { return {}; }
};

/// An array of u8.
GgufValue gguf_bytes(std::string_view bytes);

struct LoadedModel {
  std::unique_ptr<TokenModel> model;
  std::vector<std::string> notes;
};

} // namespace bitlathe::text

namespace bitlathe {

struct TokenModelKind {
  const char* type; ///< "type" in tokenizer.json
  /// Whether a model without a "type" is of this kind.
  bool (*looks_like)(const Json& model);
  Result<text::LoadedModel> (*load)(const Json& model, text::TokenList& tokens,
                                    const std::string& where);
};
std::span<const TokenModelKind* const> all_token_models();

} // namespace bitlathe
