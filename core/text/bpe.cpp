// SPDX-License-Identifier: Apache-2.0
#include "core/text/bpe.h"

#include "core/text/token_list.h"
#include "core/text/unicode.h"

#include <algorithm>
#include <queue>

namespace bitlathe::text {

namespace {

std::uint64_t pair_key(std::int32_t left, std::int32_t right) {
  return std::uint64_t(std::uint32_t(left)) << 32 | std::uint32_t(right);
}

constexpr std::size_t short_piece = 32;

struct Candidate {
  std::int32_t rank, position, id;
  bool operator>(const Candidate& other) const {
    return rank != other.rank ? rank > other.rank : position > other.position;
  }
};

} // namespace

std::size_t MergeTable::slot(std::uint64_t key) const {
  std::uint64_t hash = key * 0x9E3779B97F4A7C15u;
  hash ^= hash >> 32;
  std::size_t i = hash & (slots_.size() - 1);
  while (slots_[i].merge.rank >= 0 && slots_[i].key != key)
    i = (i + 1) & (slots_.size() - 1);
  return i;
}

void MergeTable::reserve(std::size_t pairs) {
  std::size_t size = 16;
  while (size < pairs * 2 + 1)
    size *= 2;
  if (size <= slots_.size())
    return;
  std::vector<Slot> old(size);
  old.swap(slots_);
  for (const auto& s : old)
    if (s.merge.rank >= 0)
      slots_[slot(s.key)] = s;
}

void MergeTable::insert(std::int32_t left, std::int32_t right, Merge merge) {
  reserve(used_ + 1);
  Slot& s = slots_[slot(pair_key(left, right))];
  used_ += s.merge.rank < 0;
  s = {pair_key(left, right), merge};
}

Merge MergeTable::find(std::int32_t left, std::int32_t right) const {
  return slots_.empty() ? Merge{} : slots_[slot(pair_key(left, right))].merge;
}

std::int32_t Bpe::find(std::string_view token) const { return find_token(vocabulary, token); }

void Bpe::prepare() {
  for (char32_t c = 0; c < 0x800; ++c) {
    std::string text;
    append_char(text, c);
    small_chars_[c] = find(text);
  }
  for (int b = 0; b < 256; ++b)
    byte_tokens_[b] = find(byte_token(static_cast<unsigned char>(b)));

  // Where no merge joins two characters, what lies left and right of them is independent.
  cuts_ = continuing_prefix.empty() && end_suffix.empty();
  const auto is_symbol_of_its_own = [&](std::int32_t id) {
    return id == unknown || std::find(byte_tokens_, byte_tokens_ + 256, id) != byte_tokens_ + 256;
  };
  std::unordered_map<std::int32_t, std::string_view> texts;
  for (const auto& [text, id] : vocabulary)
    texts[id] = text;
  merges.for_each([&](std::int32_t left, std::int32_t right) {
    const auto l = texts[left], r = texts[right];
    if (l.empty() || r.empty() || is_symbol_of_its_own(left) || is_symbol_of_its_own(right)) {
      cuts_ = false;
      return;
    }
    const auto last = find_char(l.substr(previous_char(l, l.size())));
    const auto first = find_char(r.substr(0, char_bytes(r[0])));
    joints_.insert(last, first, {0, 0});
  });
}

std::int32_t Bpe::find_char(std::string_view character) const {
  if (character.size() <= 2) {
    std::size_t pos = 0;
    return small_chars_[next_char(character, pos) & 0x7FF];
  }
  return find(character);
}

void Bpe::first_symbols(std::string_view piece, std::vector<std::int32_t>& ids) const {
  const bool affixes = !continuing_prefix.empty() || !end_suffix.empty();
  bool unknown_pending = false;
  std::string affixed;
  for (std::size_t pos = 0; pos < piece.size();) {
    const std::size_t bytes = std::min(char_bytes(piece[pos]), piece.size() - pos);
    std::string_view character = piece.substr(pos, bytes);
    const bool first = pos == 0;
    pos += bytes;
    std::int32_t id;
    if (affixes) {
      affixed = first ? std::string() : continuing_prefix;
      affixed += character;
      if (pos == piece.size())
        affixed += end_suffix;
      character = affixed;
      id = find(character);
    } else {
      id = find_char(character);
    }
    if (id >= 0) {
      if (unknown_pending)
        ids.push_back(unknown);
      unknown_pending = false;
      ids.push_back(id);
      continue;
    }
    if (byte_fallback && std::all_of(character.begin(), character.end(), [&](char c) {
          return byte_tokens_[static_cast<unsigned char>(c)] >= 0;
        })) {
      // The reference leaves a pending unknown token pending here, so it comes after the bytes.
      for (const char c : character)
        ids.push_back(byte_tokens_[static_cast<unsigned char>(c)]);
      continue;
    }
    if (unknown < 0)
      continue;
    if (unknown_pending && !fuse_unknown)
      ids.push_back(unknown);
    unknown_pending = true;
  }
  if (unknown_pending)
    ids.push_back(unknown);
}

/// Looks through all pairs for the best one each time: faster than a queue for a word.
void Bpe::merge_short(const std::int32_t* ids, std::size_t count,
                      std::vector<std::int32_t>& out) const {
  std::int32_t symbols[short_piece];
  Merge pairs[short_piece]; // of symbols i and i + 1
  std::copy_n(ids, count, symbols);
  for (std::size_t i = 0; i + 1 < count; ++i)
    pairs[i] = merges.find(symbols[i], symbols[i + 1]);
  while (count > 1) {
    std::size_t best = count;
    for (std::size_t i = 0; i + 1 < count; ++i)
      if (pairs[i].rank >= 0 && (best == count || pairs[i].rank < pairs[best].rank))
        best = i;
    if (best == count)
      break;
    symbols[best] = pairs[best].id;
    --count;
    std::copy(symbols + best + 2, symbols + count + 1, symbols + best + 1);
    std::copy(pairs + best + 1, pairs + count, pairs + best);
    if (best > 0)
      pairs[best - 1] = merges.find(symbols[best - 1], symbols[best]);
    if (best + 1 < count)
      pairs[best] = merges.find(symbols[best], symbols[best + 1]);
  }
  out.insert(out.end(), symbols, symbols + count);
}

void Bpe::merge_long(const std::int32_t* ids, std::size_t count,
                     std::vector<std::int32_t>& out) const {
  std::vector<Symbol> symbols;
  symbols.reserve(count);
  for (std::size_t i = 0; i < count; ++i)
    symbols.push_back({ids[i], std::int32_t(i) - 1, std::int32_t(i) + 1, false});
  symbols.back().next = -1;

  std::vector<Candidate> seeds;
  for (std::size_t i = 0; i + 1 < count; ++i)
    if (const auto merge = merges.find(ids[i], ids[i + 1]); merge.rank >= 0)
      seeds.push_back({merge.rank, std::int32_t(i), merge.id});
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue(std::greater<>{},
                                                                               std::move(seeds));
  const auto propose = [&](std::int32_t position) {
    const Symbol& left = symbols[std::size_t(position)];
    const auto merge = merges.find(left.id, symbols[std::size_t(left.next)].id);
    if (merge.rank >= 0)
      queue.push({merge.rank, position, merge.id});
  };
  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    Symbol& left = symbols[std::size_t(top.position)];
    if (left.merged_away || left.next < 0)
      continue;
    Symbol& right = symbols[std::size_t(left.next)];
    // A candidate is stale when one of its two symbols has grown since.
    if (const auto merge = merges.find(left.id, right.id); merge.rank < 0 || merge.id != top.id)
      continue;
    left.id = top.id;
    left.next = right.next;
    right.merged_away = true;
    if (right.next >= 0)
      symbols[std::size_t(right.next)].previous = top.position;
    if (left.previous >= 0)
      propose(left.previous);
    if (left.next >= 0)
      propose(top.position);
  }
  for (std::int32_t i = 0; i >= 0; i = symbols[std::size_t(i)].next)
    out.push_back(symbols[std::size_t(i)].id);
}

void Bpe::encode(std::string_view piece, std::vector<std::int32_t>& out) const {
  if (piece.empty())
    return;
  if (whole_words_first) {
    if (const auto id = find(piece); id >= 0 && id < whole_word_limit) {
      out.push_back(id);
      return;
    }
  }
  std::vector<std::int32_t> ids;
  ids.reserve(piece.size());
  first_symbols(piece, ids);
  for (std::size_t begin = 0; begin < ids.size();) {
    std::size_t end = begin + 1;
    while (end < ids.size() && (!cuts_ || joints_.find(ids[end - 1], ids[end]).rank >= 0))
      ++end;
    if (end - begin <= short_piece)
      merge_short(ids.data() + begin, end - begin, out);
    else
      merge_long(ids.data() + begin, end - begin, out);
    begin = end;
  }
}

} // namespace bitlathe::text
