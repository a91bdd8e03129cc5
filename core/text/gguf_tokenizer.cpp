// SPDX-License-Identifier: Apache-2.0
#include "core/text/gguf_tokenizer.h"

#include "core/text/pattern.h"
#include "core/text/unicode.h"

#include <algorithm>
#include <queue>
#include <set>

namespace bitlathe::text {

namespace {

constexpr std::string_view space_mark = "\u2581";

std::string with_marks(std::string_view text) {
  return replaced(
      text, [](std::string_view t) { return cut_literal(t, " "); }, std::string(space_mark));
}

std::string with_spaces(std::string_view text) {
  return replaced(
      text, [](std::string_view t) { return cut_literal(t, space_mark); }, " ");
}

struct Candidate {
  float score;
  std::int32_t left, right;
  std::size_t size; ///< of both together, to notice that one has grown since
  bool operator<(const Candidate& other) const {
    return score != other.score ? score < other.score : left > other.left;
  }
};

} // namespace

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

void GgufTokenizer::encode_spm(std::string_view text, std::vector<std::int32_t>& out) const {
  std::vector<Symbol> symbols;
  bool unknown_before = false;
  char32_t before = 0;
  std::size_t pos = 0, begin = 0;
  while (pos < text.size()) {
    const std::size_t at = pos;
    const char32_t c = next_char(text, pos);
    // Two characters that no token holds side by side are never merged across.
    if (at > begin && !joints.count(std::uint64_t(before) << 32 | c)) {
      merge_spm(text.substr(begin, at - begin), symbols, unknown_before, out);
      begin = at;
    }
    before = c;
  }
  merge_spm(text.substr(begin), symbols, unknown_before, out);
}

void GgufTokenizer::merge_spm(std::string_view text, std::vector<Symbol>& symbols,
                              bool& unknown_before, std::vector<std::int32_t>& out) const {
  symbols.clear();
  for (std::size_t pos = 0; pos < text.size();) {
    const std::size_t size = std::min(char_bytes(text[pos]), text.size() - pos);
    const auto index = std::int32_t(symbols.size());
    symbols.push_back({pos, size, index - 1, index + 1});
    pos += size;
  }
  if (symbols.empty())
    return;
  symbols.back().next = -1;

  std::priority_queue<Candidate> queue;
  const auto propose = [&](std::int32_t left, std::int32_t right) {
    if (left < 0 || right < 0)
      return;
    const Symbol& l = symbols[std::size_t(left)];
    const std::size_t size = l.size + symbols[std::size_t(right)].size;
    if (size > longest_token)
      return;
    if (const auto id = bpe.find(text.substr(l.begin, size)); id >= 0)
      queue.push({scores[std::size_t(id)], left, right, size});
  };
  for (std::int32_t i = 1; i < std::int32_t(symbols.size()); ++i)
    propose(i - 1, i);
  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    Symbol& left = symbols[std::size_t(top.left)];
    Symbol& right = symbols[std::size_t(top.right)];
    if (left.size == 0 || right.size == 0 || left.size + right.size != top.size)
      continue;
    left.size += right.size;
    right.size = 0;
    left.next = right.next;
    if (right.next >= 0)
      symbols[std::size_t(right.next)].previous = top.left;
    propose(left.previous, top.left);
    propose(top.left, left.next);
  }
  for (std::int32_t i = 0; i >= 0; i = symbols[std::size_t(i)].next) {
    const Symbol& symbol = symbols[std::size_t(i)];
    const auto part = text.substr(symbol.begin, symbol.size);
    if (const auto id = bpe.find(part); id >= 0) {
      out.push_back(id);
      unknown_before = false;
      continue;
    }
    const bool spelled = std::all_of(part.begin(), part.end(), [&](char c) {
      return byte_tokens[static_cast<unsigned char>(c)] >= 0;
    });
    if (spelled) {
      for (const char c : part)
        out.push_back(byte_tokens[static_cast<unsigned char>(c)]);
    } else if (unk_id >= 0 && !unknown_before) {
      // llama.cpp stops with an error here; one unknown token for a run is what the models know.
      out.push_back(unk_id);
    }
    unknown_before = !spelled;
  }
}

void GgufTokenizer::encode_bpe(std::string_view text, std::vector<std::int32_t>& out) const {
  std::vector<Piece> pieces{{std::string(text), -1, true}};
  for (const auto& step : pre_tokenizer)
    step(pieces);
  std::vector<std::int32_t> ids;
  for (const auto& part : pieces) {
    ids.clear();
    bpe.encode(part.text, ids);
    for (const auto id : ids)
      if (std::size_t(id) < tokens.size()) // others are merge results without a token
        out.push_back(id);
  }
}

std::vector<std::int32_t> GgufTokenizer::encode(std::string_view text,
                                                const EncodeOptions& options) const {
  std::vector<std::int32_t> ids;
  if (options.add_special && add_bos)
    ids.push_back(bos_id);
  bool after_special = true;
  for (const auto& piece : split(valid_utf8(text), options.parse_special)) {
    if (piece.token >= 0) {
      ids.push_back(piece.token);
    } else if (spm) {
      encode_spm(with_marks((add_space_prefix && after_special ? " " : "") + piece.text), ids);
    } else {
      encode_bpe(piece.text, ids);
    }
    after_special = piece.token >= 0;
  }
  if (options.add_special && add_eos)
    ids.push_back(eos_id);
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
    for (int b = 0; b < 256; ++b)
      if (byte_tokens[b] == id)
        return std::string(1, char(b));
    return tokens[std::size_t(id)];
  case TokenKind::normal:
    break;
  }
  return spm ? with_spaces(tokens[std::size_t(id)]) : from_printable(tokens[std::size_t(id)]);
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
  if (spm && add_space_prefix && !out.empty() && out[0] == ' ')
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
        longer->push_back(GgufValue::string(filler_token(id, bpe.vocabulary)));
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
