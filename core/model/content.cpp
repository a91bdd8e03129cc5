// SPDX-License-Identifier: Apache-2.0
#include "core/model/content.h"

#include "core/io/utf8.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <fstream>

namespace bitlathe {

namespace {

bool starts_with(std::string_view text, std::string_view head) {
  return text.substr(0, head.size()) == head;
}

std::uint64_t read_u64(const std::string& bytes, std::size_t at) {
  std::uint64_t value = 0;
  std::memcpy(&value, bytes.data() + at, 8);
  return value;
}

/// The first member of a zip archive tells who wrote it.
std::string_view zip_kind(const std::string& head) {
  std::uint16_t length = 0;
  if (head.size() < 30)
    return "zip";
  std::memcpy(&length, head.data() + 26, 2);
  const auto name = std::string_view(head).substr(30, length);
  const auto ends_with = [&](std::string_view tail) {
    return name.size() >= tail.size() && name.substr(name.size() - tail.size()) == tail;
  };
  if (ends_with(".npy"))
    return "numpy";
  const bool torch = ends_with("/data.pkl") || ends_with("/version") || ends_with("/byteorder") ||
                     ends_with("/.format_version") || ends_with("/.storage_alignment") ||
                     name.find("/.data/") != std::string_view::npos || name == "data.pkl";
  return torch ? "pytorch" : "zip";
}

std::string_view text_kind(std::string_view head) {
  const auto start = head.find_first_not_of(" \t\r\n");
  if (start == std::string_view::npos)
    return "text";
  const auto text = head.substr(start);
  if (starts_with(text, "version https://git-lfs"))
    return "lfs";
  std::string lower(text.substr(0, 16));
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
  if (starts_with(lower, "<!doctype html") || starts_with(lower, "<html"))
    return "html";
  return text.front() == '{' || text.front() == '[' ? "json" : "text";
}

struct FileType {
  int id;
  std::string_view name;
};
/// LLAMA_FTYPE of llama.cpp.
constexpr std::array file_types{
    FileType{0, "F32"},      FileType{1, "F16"},     FileType{2, "Q4_0"},    FileType{3, "Q4_1"},
    FileType{7, "Q8_0"},     FileType{8, "Q5_0"},    FileType{9, "Q5_1"},    FileType{10, "Q2_K"},
    FileType{11, "Q3_K_S"},  FileType{12, "Q3_K_M"}, FileType{13, "Q3_K_L"}, FileType{14, "Q4_K_S"},
    FileType{15, "Q4_K_M"},  FileType{16, "Q5_K_S"}, FileType{17, "Q5_K_M"}, FileType{18, "Q6_K"},
    FileType{19, "IQ2_XXS"}, FileType{20, "IQ2_XS"}, FileType{21, "Q2_K_S"}, FileType{22, "IQ3_XS"},
    FileType{23, "IQ3_XXS"}, FileType{24, "IQ1_S"},  FileType{25, "IQ4_NL"}, FileType{26, "IQ3_S"},
    FileType{27, "IQ3_M"},   FileType{28, "IQ2_S"},  FileType{29, "IQ2_M"},  FileType{30, "IQ4_XS"},
    FileType{31, "IQ1_M"},   FileType{32, "BF16"},   FileType{36, "TQ1_0"},  FileType{37, "TQ2_0"},
    FileType{38, "MXFP4"},   FileType{39, "NVFP4"},  FileType{40, "Q1_0"},   FileType{41, "Q2_0"}};

/// Walks metadata inside a piece of a file; everything fails once the piece ends.
class Walker {
 public:
  explicit Walker(std::string_view bytes) : bytes_(bytes) {}

  template <class T> bool read(T& out) {
    if (bytes_.size() - at_ < sizeof(T))
      return false;
    std::memcpy(&out, bytes_.data() + at_, sizeof(T));
    at_ += sizeof(T);
    return true;
  }
  bool read_string(std::string& out) {
    std::uint64_t length = 0;
    if (!read(length) || length > bytes_.size() - at_)
      return false;
    out.assign(bytes_.substr(at_, length));
    at_ += length;
    return true;
  }
  bool skip(std::uint64_t count) {
    if (count > bytes_.size() - at_)
      return false;
    at_ += count;
    return true;
  }
  /// Passes over a value; keeps it when it is a text or a whole number.
  bool value(std::uint32_t type, std::string& text, std::optional<std::int64_t>& number) {
    static constexpr std::array<std::size_t, 13> sizes{1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    if (type == 8)
      return read_string(text);
    if (type == 9) {
      std::uint32_t element = 0;
      std::uint64_t count = 0;
      if (!read(element) || !read(count) || element > 12 || element == 9)
        return false;
      if (element != 8)
        return count <= bytes_.size() && skip(count * sizes[element]);
      std::string ignored;
      for (std::uint64_t i = 0; i < count; ++i)
        if (!read_string(ignored))
          return false;
      return true;
    }
    if (type > 12)
      return false;
    std::uint64_t raw = 0;
    if (bytes_.size() - at_ < sizes[type])
      return false;
    std::memcpy(&raw, bytes_.data() + at_, sizes[type]);
    at_ += sizes[type];
    if (type == 0 || type == 2 || type == 4 || type == 5 || type == 10 || type == 11)
      number = std::int64_t(raw);
    return true;
  }

 private:
  std::string_view bytes_;
  std::size_t at_ = 0;
};

} // namespace

std::string first_bytes(const fs::path& path, std::size_t count) {
  std::error_code failed;
  if (!fs::is_regular_file(path, failed))
    return {};
  std::string bytes(count, '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(bytes.data(), std::streamsize(count));
  bytes.resize(std::size_t(std::max<std::streamsize>(file.gcount(), 0)));
  return bytes;
}

std::string_view content_kind(const fs::path& path) {
  std::error_code failed;
  if (!fs::is_regular_file(path, failed))
    return "none";
  const std::uint64_t size = fs::file_size(path, failed);
  if (failed)
    return "none";
  if (size == 0)
    return "empty";
  constexpr std::size_t looked_at = 512;
  const std::string head = first_bytes(path, looked_at);
  if (head.empty())
    return "none"; // no permission to read it
  if (starts_with(head, "GGUF"))
    return "gguf";
  for (const char* magic : {"lmgg", "fmgg", "tjgg", "algg"})
    if (starts_with(head, magic))
      return "ggml";
  if (head.size() > 8 && head[8] == '{') {
    const auto length = read_u64(head, 0);
    if (length >= 2 && length <= 100'000'000 && length <= size - 8)
      return "safetensors";
  }
  if (starts_with(head, "PK\x03\x04"))
    return zip_kind(head);
  if (head.size() > 2 && head[0] == '\x80' && head[1] >= 2 && head[1] <= 5)
    return "pytorch";
  if (starts_with(head, "\x89HDF"))
    return "hdf5";
  if (head.size() > 262 && head.compare(257, 5, "ustar") == 0)
    return "tar";
  if (head.size() > 3 && head[0] == 8 && head[1] > 0 && head[1] < 32 &&
      (head[2] == 0x12 || head[2] == 0x3a))
    return "onnx";
  // Text may be cut inside a character: three bytes less are whole again.
  const std::size_t most_cut = head.size() < looked_at ? 0 : 3;
  for (std::size_t cut = 0; cut <= most_cut; ++cut)
    if (const auto text = std::string_view(head).substr(0, head.size() - cut);
        is_utf8(text) && text.find('\0') == std::string_view::npos)
      return text_kind(text);
  return "unknown";
}

std::optional<GgufPeek> peek_gguf(const fs::path& path) {
  const std::string head = first_bytes(path, 64 << 10);
  Walker walker(head);
  GgufPeek out;
  std::uint32_t version = 0;
  if (!starts_with(head, "GGUF") || !walker.skip(4) || !walker.read(version) ||
      !walker.read(out.tensors) || !walker.read(out.metadata))
    return std::nullopt;
  for (std::uint64_t i = 0; i < out.metadata; ++i) {
    std::string key, text;
    std::uint32_t type = 0;
    std::optional<std::int64_t> number;
    if (!walker.read_string(key) || !walker.read(type) || !walker.value(type, text, number))
      break; // a long list: what follows is not worth reading it
    if (key == "general.architecture")
      out.architecture = text;
    else if (key == "general.name")
      out.name = text;
    else if (key == "general.type")
      out.type = text;
    else if (key == "general.file_type")
      out.file_type = number;
    else if (key == "split.count" && number)
      out.parts = *number;
  }
  return out;
}

std::string_view gguf_file_type_name(std::int64_t file_type) {
  for (const auto& type : file_types)
    if (type.id == (file_type & ~std::int64_t(1024))) // 1024: guessed by the writer
      return type.name;
  return {};
}

std::string quant_of_name(const std::string& file_name) {
  std::string stem = fs::path(file_name).stem().string();
  if (const auto split = split_name(file_name))
    stem = split->base;
  std::transform(stem.begin(), stem.end(), stem.begin(),
                 [](char c) { return c >= 'a' && c <= 'z' ? char(c - 32) : c; });
  std::string_view found;
  for (const auto& type : file_types) {
    const auto at = stem.rfind(type.name);
    if (at == std::string::npos || at == 0 || type.name.size() <= found.size())
      continue;
    const auto letter = [](char c) { return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); };
    const auto end = at + type.name.size();
    if (!letter(stem[at - 1]) && (end == stem.size() || !letter(stem[end])))
      found = type.name;
  }
  return std::string(found);
}

bool is_folder(const fs::path& path) {
  std::error_code failed;
  return fs::is_directory(path, failed);
}

bool is_file(const fs::path& path) {
  std::error_code failed;
  return fs::is_regular_file(path, failed);
}

std::optional<SplitName> split_name(const fs::path& path) {
  const auto stem = path.stem().string();
  SplitName out;
  int used = 0;
  if (stem.size() < 16)
    return std::nullopt;
  const auto tail = stem.substr(stem.size() - 15);
  if (std::sscanf(tail.c_str(), "-%5d-of-%5d%n", &out.part, &out.parts, &used) != 2 || used != 15)
    return std::nullopt;
  out.base = stem.substr(0, stem.size() - 15);
  return out;
}

std::string part_name(const SplitName& name, int part, const std::string& extension) {
  char tail[32];
  std::snprintf(tail, sizeof tail, "-%05d-of-%05d", part, name.parts);
  return name.base + tail + extension;
}

} // namespace bitlathe
