// SPDX-License-Identifier: Apache-2.0
#include "core/text/hf_tokenizer.h"

#include "core/text/unicode.h"

#include <algorithm>
#include <cstring>

namespace bitlathe::text {

namespace {

/// Ids of pieces that came before in the same text, found again by one look-up. A later piece takes
/// the place of an older one.
class PieceCache {
 public:
  PieceCache(const std::vector<Piece>& pieces, const TokenModel& model)
      : pieces_(pieces), model_(model) {
    std::size_t size = 64;
    while (size < pieces.size() && size < 1 << 16)
      size *= 2;
    slots_.resize(size);
  }

  void encode(std::size_t index, std::vector<std::int32_t>& ids) {
    const std::string& text = pieces_[index].text;
    const std::size_t begin = ids.size();
    if (text.size() > longest) {
      model_.encode(text, ids);
      return;
    }
    const std::uint64_t hash = hash_of(text);
    Slot& slot = slots_[hash & (slots_.size() - 1)];
    if (slot.piece != none && pieces_[slot.piece].text == text) {
      ids.resize(begin + slot.count);
      std::copy_n(ids.begin() + std::ptrdiff_t(slot.begin), slot.count,
                  ids.begin() + std::ptrdiff_t(begin));
      return;
    }
    model_.encode(text, ids);
    slot = {std::uint32_t(index), std::uint32_t(ids.size() - begin), begin};
  }

 private:
  static constexpr std::size_t longest = 64;
  static constexpr std::uint32_t none = ~std::uint32_t(0);
  struct Slot {
    std::uint32_t piece = none, count = 0;
    std::size_t begin = 0; ///< of its ids in the result
  };
  static std::uint64_t hash_of(std::string_view text) {
    std::uint64_t hash = text.size() * 0x9E3779B97F4A7C15u;
    std::size_t i = 0;
    for (; i + 8 <= text.size(); i += 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, text.data() + i, 8);
      hash = (hash ^ word) * 0xFF51AFD7ED558CCDu;
      hash ^= hash >> 32;
    }
    std::uint64_t word = 0;
    std::memcpy(&word, text.data() + i, text.size() - i);
    hash = (hash ^ word) * 0xFF51AFD7ED558CCDu;
    return hash ^ hash >> 29;
  }

  const std::vector<Piece>& pieces_;
  const TokenModel& model_;
  std::vector<Slot> slots_;
};

} // namespace

std::vector<std::int32_t> HfTokenizer::encode(std::string_view text,
                                              const EncodeOptions& options) const {
  std::vector<std::int32_t> ids;
  if (options.add_special)
    ids = prefix;
  auto pieces = added.split(valid_utf8(text), normalizer, options.parse_special);
  for (const auto& step : pre_tokenizer)
    step(pieces);
  PieceCache cache(pieces, *model);
  const bool cached = model->worth_caching();
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (pieces[i].token >= 0)
      ids.push_back(pieces[i].token);
    else if (pieces[i].text.empty())
      continue;
    else if (cached)
      cache.encode(i, ids);
    else
      model->encode(pieces[i].text, ids);
  }
  if (options.add_special)
    ids.insert(ids.end(), suffix.begin(), suffix.end());
  return ids;
}

std::string HfTokenizer::decode(std::span<const std::int32_t> ids, bool skip_special) const {
  std::vector<std::string> texts;
  texts.reserve(ids.size());
  for (const auto id : ids) {
    if (!list.has(id))
      continue;
    const AddedToken* special = added.find(id);
    if (!(skip_special && special && special->special))
      texts.push_back(list.tokens[std::size_t(id)]);
  }
  for (const auto& step : decoder)
    step.apply(texts, true);
  std::string out;
  for (const auto& part : texts)
    out += part;
  return out;
}

std::string HfTokenizer::piece(std::int32_t id) const {
  const AddedToken* token = added.find(id);
  if (!list.has(id) || (token && token->special))
    return {};
  std::vector<std::string> texts{list.tokens[std::size_t(id)]};
  for (const auto& step : decoder)
    if (step.of_running_text)
      step.apply(texts, false);
  return texts.empty() ? std::string() : texts[0];
}

std::string HfTokenizer::token(std::int32_t id) const {
  return id >= 0 && std::size_t(id) < list.size() ? list.tokens[std::size_t(id)] : std::string();
}

TokenKind HfTokenizer::token_kind(std::int32_t id) const {
  return id >= 0 && std::size_t(id) < list.size() ? list.kinds[std::size_t(id)] : TokenKind::unused;
}

bool HfTokenizer::adds_bos() const {
  return bos_id >= 0 && std::find(prefix.begin(), prefix.end(), bos_id) != prefix.end();
}

bool HfTokenizer::adds_eos() const {
  return eos_id >= 0 && std::find(suffix.begin(), suffix.end(), eos_id) != suffix.end();
}

std::int32_t HfTokenizer::find(std::string_view token) const {
  const auto* known = added.find(token);
  return known ? known->id : model->find(token);
}

} // namespace bitlathe::text
