// SPDX-License-Identifier: Apache-2.0
#include "core/text/unigram.h"

#include "core/text/unicode.h"

#include <algorithm>

namespace bitlathe::text {

namespace {

/// The best path that ends at a place.
template <class Score> struct Best {
  Score score = 0;
  std::uint32_t length = 0; ///< of its last part; 0: no path yet
  std::int32_t id = -1;
};

} // namespace

template <class Score>
void Unigram<Score>::cut(std::string_view text, bool fuse,
                         const std::function<void(std::string_view, std::int32_t)>& f) const {
  if (text.empty())
    return;
  std::vector<Best<Score>> ends(text.size() + 1);
  const auto offer = [&](std::size_t begin, std::size_t length, Score score, std::int32_t id) {
    auto& best = ends[begin + length];
    const Score total = score + ends[begin].score;
    if (best.length == 0 || total > best.score)
      best = {total, std::uint32_t(length), id};
  };
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t char_size = std::min(char_bytes(text[begin]), text.size() - begin);
    bool single = false; // some token is this character alone
    trie.each_prefix(text.substr(begin), [&](std::size_t length, std::uint32_t id) {
      const bool user = !always.empty() && always[id];
      offer(begin, length, user ? Score(length) * always_score - Score(0.1) : scores[id],
            std::int32_t(id) == unknown_id ? -1 : std::int32_t(id));
      single = single || length == char_size;
    });
    if (!single)
      offer(begin, char_size, unknown_score, -1);
    begin += char_size;
  }
  std::vector<std::pair<std::size_t, std::int32_t>> parts; // ends and ids, from the last
  for (std::size_t end = text.size(); end > 0; end -= ends[end].length) {
    const auto id = ends[end].id;
    if (!(fuse && id < 0 && !parts.empty() && parts.back().second < 0))
      parts.emplace_back(end, id);
  }
  std::size_t begin = 0;
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
    f(text.substr(begin, part->first - begin), part->second);
    begin = part->first;
  }
}

template class Unigram<float>;
template class Unigram<double>;

} // namespace bitlathe::text
