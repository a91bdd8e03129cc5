// SPDX-License-Identifier: Apache-2.0
// GGUF v3 writer: metadata, tensor list, padding, data. Every rule that loaders check is checked
// here before a byte is written.
#include "core/io/gguf.h"
#include "core/io/utf8.h"

#include <cstring>
#include <set>

namespace bitlathe {

namespace {

class HeaderWriter {
 public:
  std::string bytes;

  template <class T> void put(T value) {
    char raw[sizeof(T)];
    std::memcpy(raw, &value, sizeof(T));
    bytes.append(raw, sizeof(T));
  }
  void put_string(const std::string& text) {
    put(std::uint64_t(text.size()));
    bytes += text;
  }

  /// False when the value does not have the type it claims.
  bool put_value(const GgufValue& value, std::uint32_t type) {
    const auto whole = [&]() -> std::optional<std::uint64_t> {
      if (const auto* u = std::get_if<std::uint64_t>(&value.value))
        return *u;
      if (const auto* i = std::get_if<std::int64_t>(&value.value))
        return std::uint64_t(*i);
      return std::nullopt;
    }();
    const auto* real = std::get_if<double>(&value.value);
    switch (type) {
    case 0:
    case 1:
      return whole && (put(std::uint8_t(*whole)), true);
    case 2:
    case 3:
      return whole && (put(std::uint16_t(*whole)), true);
    case 4:
    case 5:
      return whole && (put(std::uint32_t(*whole)), true);
    case 10:
    case 11:
      return whole && (put(*whole), true);
    case 6:
      return real && (put(float(*real)), true);
    case 12:
      return real && (put(*real), true);
    case 7: {
      const auto* flag = std::get_if<bool>(&value.value);
      return flag && (put(std::uint8_t(*flag)), true);
    }
    case 8: {
      const auto* text = std::get_if<std::string>(&value.value);
      return text && (put_string(*text), true);
    }
    case 9: {
      const auto* array = std::get_if<std::shared_ptr<GgufArray>>(&value.value);
      if (!array || value.element_type == 9)
        return false;
      put(value.element_type);
      put(std::uint64_t(*array ? (*array)->size() : 0));
      if (*array)
        for (const auto& item : **array)
          if (!put_value(item, value.element_type))
            return false;
      return true;
    }
    default:
      return false;
    }
  }
};

} // namespace

Result<FileToWrite> gguf_file(fs::path name, const GgufMetadata& metadata,
                              std::vector<TensorToWrite> tensors) {
  const auto where = name.string();
  const auto wrong = [where](const std::string& what) { return Error{"internal", what, where}; };
  std::uint64_t alignment = 32;
  if (const auto* value = find(metadata, "general.alignment"))
    alignment = std::uint64_t(value->as_int().value_or(32));
  if (alignment == 0 || (alignment & (alignment - 1)) != 0)
    return wrong("general.alignment is not a power of two");
  const auto padding = [alignment](std::uint64_t n) {
    return (alignment - n % alignment) % alignment;
  };

  HeaderWriter header;
  header.bytes = "GGUF";
  header.put(std::uint32_t(3));
  header.put(std::int64_t(tensors.size()));
  header.put(std::int64_t(metadata.size()));
  std::set<std::string_view> names;
  for (const auto& [key, value] : metadata) {
    if (key.empty() || !names.insert(key).second)
      return wrong("The metadata key \"" + key + "\" is empty or there twice");
    header.put_string(key);
    header.put(value.type);
    if (!header.put_value(value, value.type))
      return wrong("The metadata key \"" + key + "\" does not have the type it claims");
  }

  names.clear();
  std::uint64_t offset = 0;
  for (const auto& tensor : tensors) {
    const auto* type = find_gguf_type(tensor.dtype);
    const auto bad = [&](const std::string& what) {
      return wrong("Tensor \"" + tensor.name + "\" " + what);
    };
    if (tensor.name.empty() || tensor.name.size() >= 64 || !is_utf8(tensor.name))
      return Error{"unsupported",
                   "The tensor name \"" + tensor.name + "\" is longer than GGUF allows (63 bytes)",
                   where};
    if (!names.insert(tensor.name).second)
      return bad("is there twice");
    if (!type)
      return bad("has the type " + tensor.dtype + ", which GGUF does not know");
    if (tensor.shape.empty() || tensor.shape.size() > 4)
      return bad("does not have 1 to 4 dimensions");
    std::uint64_t elements = 1;
    for (const auto n : tensor.shape)
      elements *= std::uint64_t(n);
    if (tensor.shape.back() % type->block != 0 ||
        elements / std::uint64_t(type->block) * std::uint64_t(type->block_bytes) != tensor.bytes)
      return bad("does not have the bytes its shape needs");
    header.put_string(tensor.name);
    header.put(std::uint32_t(tensor.shape.size()));
    for (auto it = tensor.shape.rbegin(); it != tensor.shape.rend(); ++it)
      header.put(*it);
    header.put(type->id);
    header.put(offset);
    offset += tensor.bytes + padding(tensor.bytes);
  }
  header.bytes.append(padding(header.bytes.size()), '\0');

  const std::uint64_t bytes = header.bytes.size() + offset;
  return FileToWrite{std::move(name), bytes,
                     [wrong, padding, alignment, head = std::move(header.bytes),
                      tensors = std::move(tensors)](OutputFile& file) -> Result<void> {
                       TRY(file.write(std::as_bytes(std::span(head))));
                       const std::vector<std::byte> zeros(alignment);
                       for (const auto& tensor : tensors) {
                         const auto before = file.size();
                         TRY(tensor.write(file));
                         if (file.size() - before != tensor.bytes)
                           return wrong("Tensor \"" + tensor.name +
                                        "\" was written with a wrong number of bytes");
                         TRY(file.write(std::span(zeros).first(padding(tensor.bytes))));
                       }
                       return {};
                     }};
}

Result<void> write_gguf(const fs::path& path, const GgufMetadata& metadata,
                        std::vector<TensorToWrite> tensors, Feedback* feedback) {
  TRY_ASSIGN(auto file, gguf_file(path, metadata, std::move(tensors)));
  return write_files({}, {std::move(file)}, feedback);
}

} // namespace bitlathe
