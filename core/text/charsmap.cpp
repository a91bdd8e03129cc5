// SPDX-License-Identifier: Apache-2.0
#include "core/text/charsmap.h"

#include "core/text/unicode.h"

#include <algorithm>

namespace bitlathe::text {

Result<Charsmap> Charsmap::parse(std::string_view blob, const std::string& where) {
  Charsmap map;
  if (blob.empty())
    return map;
  const auto word = [&](std::size_t at) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < 4; ++i)
      value |= std::uint32_t(static_cast<unsigned char>(blob[at + i])) << (8 * i);
    return value;
  };
  const std::uint32_t bytes = blob.size() < 4 ? 0 : word(0);
  if (blob.size() < 8 || bytes == 0 || bytes % 4 != 0 || bytes > blob.size() - 4)
    return Error{"bad-file", "The precompiled character map is damaged", where};
  map.units_.resize(bytes / 4);
  for (std::size_t i = 0; i < map.units_.size(); ++i)
    map.units_[i] = word(4 + 4 * i);
  map.normal_ = blob.substr(4 + bytes);
  return map;
}

template <class F> void Charsmap::walk(std::string_view text, F&& found) const {
  const auto offset = [](std::uint32_t unit) { return (unit >> 10) << ((unit & 0x200) >> 6); };
  if (units_.empty())
    return;
  std::size_t at = offset(units_[0]);
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    at ^= byte;
    if (byte == 0 || at >= units_.size() || (units_[at] & 0x800000FFu) != byte)
      return;
    const bool leaf = (units_[at] >> 8 & 1) != 0;
    at ^= offset(units_[at]);
    if (at >= units_.size())
      return;
    if (!leaf)
      continue;
    const std::size_t begin = units_[at] & 0x7FFFFFFFu;
    if (begin >= normal_.size())
      return;
    const std::size_t end = std::min(normal_.find('\0', begin), normal_.size());
    if (!found(i + 1, std::string_view(normal_).substr(begin, end - begin)))
      return;
  }
}

Charsmap::Found Charsmap::longest_prefix(std::string_view text) const {
  Found best;
  walk(text, [&](std::size_t length, std::string_view normal) {
    best = {length, normal};
    return true;
  });
  return best;
}

Charsmap::Found Charsmap::shortest_prefix(std::string_view text) const {
  Found first;
  walk(text, [&](std::size_t length, std::string_view normal) {
    first = {length, normal};
    return false;
  });
  return first;
}

std::string Charsmap::normalized(std::string_view text) const {
  if (units_.empty())
    return std::string(text);
  std::string out;
  out.reserve(text.size());
  for_each_grapheme(text, [&](std::string_view cluster) {
    if (cluster.size() < 6) {
      if (const Found found = shortest_prefix(cluster); found.length) {
        out += found.normal;
        return;
      }
    }
    for (std::size_t pos = 0; pos < cluster.size();) {
      const auto c = cluster.substr(pos, char_bytes(cluster[pos]));
      pos += c.size();
      const Found found = shortest_prefix(c);
      out += found.length ? found.normal : c;
    }
  });
  return out;
}

Result<std::string> from_base64(std::string_view text, const std::string& where) {
  std::string out;
  out.reserve(text.size() / 4 * 3);
  std::uint32_t bits = 0;
  int count = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '=' || c == '\n' || c == '\r' || c == ' ')
      continue;
    const int value = c >= 'A' && c <= 'Z'   ? c - 'A'
                      : c >= 'a' && c <= 'z' ? c - 'a' + 26
                      : c >= '0' && c <= '9' ? c - '0' + 52
                      : c == '+'             ? 62
                      : c == '/'             ? 63
                                             : -1;
    if (value < 0)
      return Error{"bad-file", "A base64 text has a character that does not belong there", where};
    bits = bits << 6 | std::uint32_t(value);
    count += 6;
    if (count >= 8) {
      count -= 8;
      out += char(bits >> count & 0xFF);
    }
  }
  return out;
}

} // namespace bitlathe::text
