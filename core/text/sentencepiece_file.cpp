// SPDX-License-Identifier: Apache-2.0
#include "core/text/sentencepiece.h"

#include "core/text/unicode.h"

#include <cmath>
#include <cstring>

namespace bitlathe::text {

namespace {

/// One field of a protocol buffer.
struct Field {
  std::uint32_t number = 0;
  int wire = 0; ///< 0 number, 1 eight bytes, 2 bytes, 5 four bytes
  std::uint64_t number_value = 0;
  std::string_view bytes;

  float as_float() const {
    const auto bits = std::uint32_t(number_value);
    float value = 0;
    std::memcpy(&value, &bits, 4);
    return value;
  }
};

class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  bool damaged() const { return damaged_; }

  /// False at the end, and when what follows is damaged.
  bool next(Field& field) {
    if (bytes_.empty())
      return false;
    std::uint64_t key = 0, size = 0;
    damaged_ = !varint(key) || key >> 3 == 0 || key >> 3 > 0x1FFFFFFF;
    field.number = std::uint32_t(key >> 3);
    field.wire = int(key & 7);
    if (damaged_)
      return false;
    switch (field.wire) {
    case 0:
      damaged_ = !varint(field.number_value);
      break;
    case 1:
    case 5:
      size = field.wire == 1 ? 8 : 4;
      damaged_ = bytes_.size() < size;
      field.number_value = 0;
      for (std::size_t i = 0; i < size && !damaged_; ++i)
        field.number_value |= std::uint64_t(static_cast<unsigned char>(bytes_[i])) << (8 * i);
      bytes_.remove_prefix(damaged_ ? 0 : std::size_t(size));
      break;
    case 2:
      damaged_ = !varint(size) || size > bytes_.size();
      if (!damaged_) {
        field.bytes = bytes_.substr(0, std::size_t(size));
        bytes_.remove_prefix(std::size_t(size));
      }
      break;
    default:
      damaged_ = true;
    }
    return !damaged_;
  }

 private:
  bool varint(std::uint64_t& value) {
    value = 0;
    for (int shift = 0; shift < 64 && !bytes_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(bytes_[0]);
      bytes_.remove_prefix(1);
      value |= std::uint64_t(byte & 0x7F) << shift;
      if (byte < 0x80)
        return true;
    }
    return false;
  }
  std::string_view bytes_;
  bool damaged_ = false;
};

bool read_piece(std::string_view bytes, SentencePieceFile& file) {
  SentencePieceFile::Piece piece;
  Reader reader(bytes);
  for (Field field; reader.next(field);) {
    if (field.number == 1 && field.wire == 2)
      piece.text = field.bytes;
    else if (field.number == 2 && field.wire == 5)
      piece.score = field.as_float();
    else if (field.number == 3 && field.wire == 0)
      piece.kind = field.number_value >= 1 && field.number_value <= 6
                       ? TokenKind(int(field.number_value))
                       : TokenKind::normal;
  }
  file.pieces.push_back(std::move(piece));
  return !reader.damaged();
}

bool read_trainer(std::string_view bytes, SentencePieceFile& file) {
  Reader reader(bytes);
  for (Field field; reader.next(field);) {
    if (field.wire == 0) {
      if (field.number == 3)
        file.model_type = int(field.number_value & 0xFF);
      else if (field.number == 24)
        file.space_as_suffix = field.number_value != 0;
      else if (field.number == 35)
        file.byte_fallback = field.number_value != 0;
    } else if (field.wire == 2 && !field.bytes.empty()) {
      if (field.number == 46)
        file.bos_piece = field.bytes;
      else if (field.number == 47)
        file.eos_piece = field.bytes;
      else if (field.number == 48)
        file.pad_piece = field.bytes;
    }
  }
  return !reader.damaged();
}

bool read_normalizer(std::string_view bytes, SentencePieceFile& file) {
  Reader reader(bytes);
  for (Field field; reader.next(field);) {
    if (field.number == 2 && field.wire == 2)
      file.charsmap = field.bytes;
    else if (field.wire == 0 && field.number == 3)
      file.add_dummy_prefix = field.number_value != 0;
    else if (field.wire == 0 && field.number == 4)
      file.remove_extra_spaces = field.number_value != 0;
    else if (field.wire == 0 && field.number == 5)
      file.escape_spaces = field.number_value != 0;
  }
  return !reader.damaged();
}

} // namespace

bool looks_like_sentencepiece(std::string_view bytes) {
  // The pieces come first, and the first of them with its text.
  return bytes.size() > 4 && bytes[0] == 0x0A && static_cast<unsigned char>(bytes[1]) < 0x80 &&
         bytes[2] == 0x0A;
}

Result<SentencePieceFile> parse_sentencepiece(std::string_view bytes, const std::string& where) {
  const auto bad = [&](const std::string& message) { return Error{"bad-file", message, where}; };
  SentencePieceFile file;
  Reader reader(bytes);
  bool whole = true;
  for (Field field; whole && reader.next(field);) {
    if (field.wire != 2)
      continue;
    if (field.number == 1)
      whole = read_piece(field.bytes, file);
    else if (field.number == 2)
      whole = read_trainer(field.bytes, file);
    else if (field.number == 3)
      whole = read_normalizer(field.bytes, file);
  }
  if (!whole || reader.damaged())
    return bad("The SentencePiece model is damaged or cut off");
  if (file.pieces.empty())
    return bad("The SentencePiece model has no pieces");
  for (std::size_t id = 0; id < file.pieces.size(); ++id) {
    const auto& piece = file.pieces[id];
    if (piece.text.empty() || std::isnan(piece.score) || valid_utf8(piece.text) != piece.text)
      return bad("Piece " + std::to_string(id) + " is empty, no UTF-8, or has no proper score");
  }
  return file;
}

std::string sentencepiece_normalized(std::string_view text, const SentencePieceFile& file,
                                     const Charsmap& charsmap, const ByteTrie& user_defined,
                                     bool dummy_prefix) {
  constexpr std::string_view mark = "\u2581";
  const std::string_view space = file.escape_spaces ? mark : std::string_view(" ");
  const auto next = [&](std::string_view rest, std::size_t& used) -> std::string_view {
    std::size_t user = 0;
    if (!user_defined.empty())
      user_defined.each_prefix(rest, [&](std::size_t n, std::uint32_t) { user = n; });
    if (user) {
      used = user;
      return rest.substr(0, user);
    }
    if (const auto found = charsmap.longest_prefix(rest); found.length) {
      used = found.length;
      return found.normal;
    }
    used = std::min(char_bytes(rest[0]), rest.size());
    return rest.substr(0, used);
  };
  std::size_t used = 0;
  if (file.remove_extra_spaces)
    while (!text.empty() && next(text, used) == " ")
      text.remove_prefix(used);
  std::string out;
  if (text.empty())
    return out;
  out.reserve(text.size() * 5 / 4);
  if (!file.space_as_suffix && dummy_prefix)
    out += space;
  bool after_space = file.remove_extra_spaces;
  while (!text.empty()) {
    std::string_view part = next(text, used);
    while (after_space && !part.empty() && part[0] == ' ')
      part.remove_prefix(1);
    for (const char c : part)
      if (c == ' ')
        out += space;
      else
        out += c;
    if (!part.empty())
      after_space = part.back() == ' ';
    text.remove_prefix(used);
    if (!file.remove_extra_spaces)
      after_space = false;
  }
  if (file.remove_extra_spaces)
    while (out.size() >= space.size() &&
           out.compare(out.size() - space.size(), space.size(), space) == 0)
      out.resize(out.size() - space.size());
  if (file.space_as_suffix && dummy_prefix)
    out += space;
  return out;
}

} // namespace bitlathe::text
