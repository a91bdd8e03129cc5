// SPDX-License-Identifier: Apache-2.0
#include "core/judge/token_text.h"

#include "core/io/utf8.h"

#include <algorithm>

namespace bitlathe {

namespace {

constexpr std::string_view replacement = "\xef\xbf\xbd"; // U+FFFD

/// Length of the UTF-8 sequence that `lead` starts, 0 when it starts none.
std::size_t sequence_length(unsigned char lead) {
  if (lead < 0x80)
    return 1;
  if (lead >= 0xc2 && lead < 0xe0)
    return 2;
  if (lead >= 0xe0 && lead < 0xf0)
    return 3;
  return lead >= 0xf0 && lead < 0xf5 ? 4 : 0;
}

/// Bytes at the end that could still become a character.
std::size_t unfinished(std::string_view bytes) {
  for (std::size_t back = 1; back <= std::min<std::size_t>(3, bytes.size()); ++back) {
    const auto byte = static_cast<unsigned char>(bytes[bytes.size() - back]);
    if ((byte & 0xc0) == 0x80)
      continue;
    return sequence_length(byte) > back ? back : 0;
  }
  return 0;
}

} // namespace

std::string display_text(std::string_view bytes) {
  std::string out;
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t length = sequence_length(static_cast<unsigned char>(bytes[at]));
    if (length > 0 && at + length <= bytes.size() && is_utf8(bytes.substr(at, length))) {
      out += bytes.substr(at, length);
      at += length;
    } else {
      out += replacement;
      ++at;
    }
  }
  return out;
}

std::string Utf8Stream::push(std::string_view bytes) {
  rest_ += bytes;
  const std::size_t keep = unfinished(rest_);
  std::string out = display_text(std::string_view(rest_).substr(0, rest_.size() - keep));
  rest_ = rest_.substr(rest_.size() - keep);
  return out;
}

std::string Utf8Stream::finish() {
  std::string out(rest_.empty() ? std::string_view() : replacement);
  rest_.clear();
  return out;
}

std::vector<std::string> texts_of(const std::vector<std::string>& pieces) {
  std::vector<std::string> out;
  Utf8Stream stream;
  for (const std::string& piece : pieces)
    out.push_back(stream.push(piece));
  if (!out.empty())
    out.back() += stream.finish();
  return out;
}

std::string piece_text(std::string_view bytes) {
  if (is_utf8(bytes) && bytes.find(replacement) == std::string_view::npos)
    return std::string(bytes);
  constexpr char digits[] = "0123456789ABCDEF";
  std::string out;
  for (const char byte : bytes) {
    const auto value = static_cast<unsigned char>(byte);
    out += {'<', digits[value >> 4], digits[value & 15], '>'};
  }
  return out;
}

std::string visible_text(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == ' ')
      out += "\xe2\x90\xa3"; // open box
    else if (c == '\n')
      out += "\xe2\x86\xb5"; // return
    else if (c == '\t')
      out += "\xe2\x87\xa5"; // tabulator
    else
      out += c;
  }
  return out.empty() ? "\xe2\x88\x85" : out;
}

} // namespace bitlathe
