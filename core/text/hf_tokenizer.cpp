// SPDX-License-Identifier: Apache-2.0
#include "core/text/hf_tokenizer.h"

#include "core/text/unicode.h"

#include <algorithm>

namespace bitlathe::text {

std::vector<std::int32_t> HfTokenizer::encode(std::string_view text,
                                              const EncodeOptions& options) const {
  std::vector<std::int32_t> ids;
  if (options.add_special)
    ids = prefix;
  auto pieces = added.split(valid_utf8(text), normalizer, options.parse_special);
  for (const auto& step : pre_tokenizer)
    step(pieces);
  for (const auto& part : pieces) {
    if (part.token >= 0)
      ids.push_back(part.token);
    else
      bpe.encode(part.text, ids);
  }
  if (options.add_special)
    ids.insert(ids.end(), suffix.begin(), suffix.end());
  return ids;
}

std::string HfTokenizer::decode(std::span<const std::int32_t> ids, bool skip_special) const {
  std::vector<std::string> texts;
  texts.reserve(ids.size());
  for (const auto id : ids) {
    if (id < 0 || std::size_t(id) >= tokens.size())
      continue;
    const AddedToken* special = added.find(id);
    if (!(skip_special && special && special->special))
      texts.push_back(tokens[std::size_t(id)]);
  }
  for (const auto& step : decoder)
    step.apply(texts);
  std::string out;
  for (const auto& part : texts)
    out += part;
  return out;
}

std::string HfTokenizer::piece(std::int32_t id) const {
  const AddedToken* token = added.find(id);
  if (token_kind(id) == TokenKind::unused || (token && token->special))
    return {};
  std::vector<std::string> texts{tokens[std::size_t(id)]};
  for (const auto& step : decoder)
    if (step.of_running_text)
      step.apply(texts);
  return texts.empty() ? std::string() : texts[0];
}

std::string HfTokenizer::token(std::int32_t id) const {
  return id >= 0 && std::size_t(id) < tokens.size() ? tokens[std::size_t(id)] : std::string();
}

TokenKind HfTokenizer::token_kind(std::int32_t id) const {
  return id >= 0 && std::size_t(id) < kinds.size() ? kinds[std::size_t(id)] : TokenKind::unused;
}

bool HfTokenizer::adds_bos() const {
  return bos_id >= 0 && std::find(prefix.begin(), prefix.end(), bos_id) != prefix.end();
}

bool HfTokenizer::adds_eos() const {
  return eos_id >= 0 && std::find(suffix.begin(), suffix.end(), eos_id) != suffix.end();
}

} // namespace bitlathe::text
