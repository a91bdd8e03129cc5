// SPDX-License-Identifier: Apache-2.0
#include "core/text/spm.h"

#include "core/text/token_list.h"
#include "core/text/unicode.h"

#include <algorithm>
#include <map>
#include <queue>

namespace bitlathe::text {

namespace {

struct Candidate {
  float score;
  std::int32_t left, right;
  std::size_t size; ///< of both together, to notice that one has grown since
  bool operator<(const Candidate& other) const {
    return score != other.score ? score < other.score : left > other.left;
  }
};

} // namespace

struct SpmBpe::Work {
  std::vector<std::int32_t>& out;
  std::vector<Symbol> symbols;
  /// How unused tokens came about: the length of their left part.
  std::map<std::string, std::size_t, std::less<>> undo;
  bool unknown_before = false;
};

void SpmBpe::prepare() {
  for (int b = 0; b < 256; ++b)
    byte_ids_[b] = find_token(vocabulary, byte_token(static_cast<unsigned char>(b)));
  for (const auto& [text, id] : vocabulary) {
    longest_token_ = std::max(longest_token_, text.size());
    std::size_t pos = 0;
    for (char32_t before = next_char(text, pos); pos < text.size();) {
      const char32_t c = next_char(text, pos);
      joints_.insert(std::uint64_t(before) << 32 | c);
      before = c;
    }
  }
}

void SpmBpe::encode(std::string_view text, std::vector<std::int32_t>& out) const {
  Work work{out, {}, {}, false};
  char32_t before = 0;
  std::size_t pos = 0, begin = 0;
  while (pos < text.size()) {
    const std::size_t at = pos;
    if (!always.empty()) {
      std::size_t length = 0;
      std::uint32_t id = 0;
      always.each_prefix(text.substr(pos), [&](std::size_t n, std::uint32_t value) {
        length = n;
        id = value;
      });
      if (length) {
        merge(text.substr(begin, at - begin), work);
        out.push_back(std::int32_t(id));
        work.unknown_before = false;
        begin = pos = at + length;
        continue;
      }
    }
    const char32_t c = next_char(text, pos);
    // Two characters that no token holds side by side are never merged across.
    if (at > begin && !joints_.count(std::uint64_t(before) << 32 | c)) {
      merge(text.substr(begin, at - begin), work);
      begin = at;
    }
    before = c;
  }
  merge(text.substr(begin), work);
}

void SpmBpe::merge(std::string_view text, Work& work) const {
  auto& symbols = work.symbols;
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
    if (size > longest_token_)
      return;
    const auto joined = text.substr(l.begin, size);
    const auto id = find_token(vocabulary, joined);
    if (id < 0)
      return;
    queue.push({scores[std::size_t(id)], left, right, size});
    if (!unused.empty() && unused[std::size_t(id)])
      work.undo.insert_or_assign(std::string(joined), l.size);
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
    emit(text.substr(symbol.begin, symbol.size), work);
  }
}

void SpmBpe::emit(std::string_view part, Work& work) const {
  if (const auto id = find_token(vocabulary, part); id >= 0) {
    if (!unused.empty() && unused[std::size_t(id)]) {
      if (const auto it = work.undo.find(part); it != work.undo.end()) {
        const std::size_t left = it->second;
        emit(part.substr(0, left), work);
        emit(part.substr(left), work);
        return;
      }
    }
    work.out.push_back(id);
    work.unknown_before = false;
    return;
  }
  const bool spelled = std::all_of(part.begin(), part.end(), [&](char c) {
    return byte_ids_[static_cast<unsigned char>(c)] >= 0;
  });
  if (spelled) {
    for (const char c : part)
      work.out.push_back(byte_ids_[static_cast<unsigned char>(c)]);
  } else if (unknown_id >= 0 && !work.unknown_before) {
    work.out.push_back(unknown_id);
  }
  work.unknown_before = !spelled;
}

} // namespace bitlathe::text
