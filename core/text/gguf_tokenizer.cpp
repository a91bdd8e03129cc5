// SPDX-License-Identifier: Apache-2.0
#include "core/text/gguf_tokenizer.h"

#include "core/text/pattern.h"
#include "core/text/token_list.h"
#include "core/text/unicode.h"

#include <algorithm>

namespace bitlathe::text {

namespace {

constexpr std::string_view space_mark = "\u2581";

} // namespace

std::string with_marks(std::string_view text) {
  std::string out;
  out.reserve(text.size() * 5 / 4);
  for (const char c : text)
    if (c == ' ')
      out += space_mark;
    else
      out += c;
  return out;
}

std::string with_spaces(std::string_view text) {
  return replaced(
      text, [](std::string_view t) { return cut_literal(t, space_mark); }, " ");
}

std::vector<Piece> GgufTokenizer::split(std::string_view text, bool parse_special) const {
  std::vector<Piece> pieces;
  if (text.empty())
    return pieces;
  pieces.push_back({std::string(text), -1, true});
  // Longest texts first, over the whole input each, as llama.cpp does it.
  std::vector<std::size_t> found = specials.all_in(text);
  std::stable_sort(found.begin(), found.end(), [&](std::size_t a, std::size_t b) {
    return tokens[a].size() > tokens[b].size();
  });
  for (const auto id : found) {
    if (!parse_special && kinds[id] != TokenKind::user_defined)
      continue;
    const std::string& special = tokens[id];
    const bool strip =
        strip_after_special && special != "<unk>" && special != "<s>" && special != "<|endoftext|>";
    std::vector<Piece> next;
    for (auto& piece : pieces) {
      if (piece.token >= 0 || piece.text.find(special) == std::string::npos) {
        next.push_back(std::move(piece));
        continue;
      }
      std::size_t done = 0;
      for (const auto& span : cut_literal(piece.text, special)) {
        if (span.match) {
          next.push_back({special, std::int32_t(id), false});
          done = span.end;
          while (strip && done < piece.text.size() && is_space(char32_t(piece.text[done] & 0x7F)) &&
                 static_cast<unsigned char>(piece.text[done]) < 0x80)
            ++done;
        } else if (span.end > std::max(done, span.begin)) {
          const auto begin = std::max(done, span.begin);
          next.push_back({piece.text.substr(begin, span.end - begin), -1, false});
        }
      }
    }
    pieces = std::move(next);
  }
  return pieces;
}

std::vector<std::int32_t> GgufTokenizer::encode(std::string_view text,
                                                const EncodeOptions& options) const {
  std::vector<std::int32_t> ids;
  if (options.add_special && add_bos)
    ids.push_back(bos_id);
  bool after_special = true;
  for (const auto& piece : split(valid_utf8(text), options.parse_special)) {
    if (piece.token >= 0)
      ids.push_back(piece.token);
    else
      model->encode(piece.text, after_special, ids);
    after_special = piece.token >= 0;
  }
  if (options.add_special && add_eos)
    ids.push_back(eos_id);
  if (options.add_special && add_sep)
    ids.push_back(sep_id);
  return ids;
}

std::string GgufTokenizer::piece(std::int32_t id) const {
  switch (token_kind(id)) {
  case TokenKind::control:
  case TokenKind::unknown:
  case TokenKind::unused:
    return {};
  case TokenKind::user_defined:
    return tokens[std::size_t(id)];
  case TokenKind::byte:
    if (const int byte = byte_of_token(tokens[std::size_t(id)]); byte >= 0)
      return std::string(1, char(byte));
    return tokens[std::size_t(id)];
  case TokenKind::normal:
    break;
  }
  return model->piece(tokens[std::size_t(id)]);
}

std::string GgufTokenizer::decode(std::span<const std::int32_t> ids, bool skip_special) const {
  std::string out;
  for (const auto id : ids) {
    const auto kind = token_kind(id);
    if (kind == TokenKind::control || kind == TokenKind::unknown)
      out += skip_special ? std::string() : tokens[std::size_t(id)];
    else
      out += piece(id);
  }
  if (model->adds_space() && !out.empty() && out[0] == ' ')
    out.erase(0, 1);
  return out;
}

std::string GgufTokenizer::token(std::int32_t id) const {
  return id >= 0 && std::size_t(id) < tokens.size() ? tokens[std::size_t(id)] : std::string();
}

TokenKind GgufTokenizer::token_kind(std::int32_t id) const {
  return id >= 0 && std::size_t(id) < kinds.size() ? kinds[std::size_t(id)] : TokenKind::unused;
}

std::string filler_token(std::int64_t id, const Vocabulary& taken) {
  std::string name = "[PAD" + std::to_string(id) + "]";
  while (taken.find(name) != taken.end())
    name.insert(name.size() - 1, 1, '_');
  return name;
}

Result<GgufMetadata> GgufTokenizer::to_gguf(std::int64_t rows) const {
  const auto have = std::int64_t(tokens.size());
  if (rows < have)
    return Error{"mismatch",
                 "The tokenizer has " + std::to_string(have) + " tokens, but the model only " +
                     std::to_string(rows) + " embedding rows",
                 where};
  GgufMetadata out = metadata;
  if (rows == have)
    return out;
  for (auto& [key, value] : out) {
    const auto* array = std::get_if<std::shared_ptr<GgufArray>>(&value.value);
    if (!array)
      continue;
    // The lists with an entry per token grow; copies, because the arrays are shared.
    auto longer = std::make_shared<GgufArray>(**array);
    for (std::int64_t id = have; id < rows; ++id) {
      if (key == "tokenizer.ggml.tokens")
        longer->push_back(GgufValue::string(filler_token(id, vocabulary)));
      else if (key == "tokenizer.ggml.scores")
        longer->push_back(GgufValue::f32(-1e9f));
      else if (key == "tokenizer.ggml.token_type")
        longer->push_back({5, 0, std::int64_t(TokenKind::unused)});
    }
    value.value = std::move(longer);
  }
  return out;
}

} // namespace bitlathe::text
