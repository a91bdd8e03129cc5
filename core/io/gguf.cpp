// SPDX-License-Identifier: Apache-2.0
// GGUF values, types and the strict reader (the checks of ggml's gguf.cpp).
#include "core/io/gguf.h"

#include "core/io/utf8.h"

#include <array>
#include <cstring>
#include <set>

namespace bitlathe {

namespace {

constexpr std::array types{GgufType{"f32", 0, 1, 4},         GgufType{"f16", 1, 1, 2},
                           GgufType{"q4_0", 2, 32, 18},      GgufType{"q4_1", 3, 32, 20},
                           GgufType{"q5_0", 6, 32, 22},      GgufType{"q5_1", 7, 32, 24},
                           GgufType{"q8_0", 8, 32, 34},      GgufType{"q8_1", 9, 32, 36},
                           GgufType{"q2_k", 10, 256, 84},    GgufType{"q3_k", 11, 256, 110},
                           GgufType{"q4_k", 12, 256, 144},   GgufType{"q5_k", 13, 256, 176},
                           GgufType{"q6_k", 14, 256, 210},   GgufType{"q8_k", 15, 256, 292},
                           GgufType{"iq2_xxs", 16, 256, 66}, GgufType{"iq2_xs", 17, 256, 74},
                           GgufType{"iq3_xxs", 18, 256, 98}, GgufType{"iq1_s", 19, 256, 50},
                           GgufType{"iq4_nl", 20, 32, 18},   GgufType{"iq3_s", 21, 256, 110},
                           GgufType{"iq2_s", 22, 256, 82},   GgufType{"iq4_xs", 23, 256, 136},
                           GgufType{"i8", 24, 1, 1},         GgufType{"i16", 25, 1, 2},
                           GgufType{"i32", 26, 1, 4},        GgufType{"i64", 27, 1, 8},
                           GgufType{"f64", 28, 1, 8},        GgufType{"iq1_m", 29, 256, 56},
                           GgufType{"bf16", 30, 1, 2},       GgufType{"tq1_0", 34, 256, 54},
                           GgufType{"tq2_0", 35, 256, 66},   GgufType{"mxfp4", 39, 32, 17},
                           GgufType{"nvfp4", 40, 64, 36}};

const GgufType* type_by_id(std::uint32_t id) {
  for (const auto& type : types)
    if (type.id == id)
      return &type;
  return nullptr;
}

/// Bytes of one value of a scalar metadata type; 0 for strings, arrays and unknown ones.
std::size_t scalar_bytes(std::uint32_t type) {
  constexpr std::array<std::size_t, 13> sizes{1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return type < sizes.size() ? sizes[type] : 0;
}

constexpr std::uint32_t string_type = 8, array_type = 9;
/// Far above any real model; they keep a hostile file from filling memory and time.
constexpr std::uint64_t max_array_elements = 1u << 23;
constexpr std::uint64_t max_string_bytes = 1u << 28;
constexpr std::int64_t max_keys = 1 << 16, max_tensors = 1 << 16;

class Reader {
 public:
  Reader(std::span<const std::byte> bytes, std::string where)
      : bytes_(bytes), where_(std::move(where)) {}

  Error bad(const std::string& what) const { return {"bad-file", what, where_}; }
  std::size_t position() const { return at_; }
  std::size_t left() const { return bytes_.size() - at_; }

  template <class T> Result<T> read(const char* what) {
    if (left() < sizeof(T))
      return bad(std::string("The file ends inside ") + what);
    T value;
    std::memcpy(&value, bytes_.data() + at_, sizeof(T));
    at_ += sizeof(T);
    return value;
  }

  Result<std::string> read_string(const char* what) {
    TRY_ASSIGN(const auto length, read<std::uint64_t>(what));
    if (length > left())
      return bad(std::string("The file ends inside ") + what + ", which claims " +
                 std::to_string(length) + " bytes");
    string_bytes_ += length;
    if (string_bytes_ > max_string_bytes)
      return bad("The texts in the header take more than " + std::to_string(max_string_bytes) +
                 " bytes");
    std::string text(reinterpret_cast<const char*>(bytes_.data() + at_), length);
    at_ += length;
    return text;
  }

  Result<GgufValue> read_value(std::uint32_t type, const std::string& key) {
    switch (type) {
    case 0:
      return scalar<std::uint8_t, std::uint64_t>(type);
    case 1:
      return scalar<std::int8_t, std::int64_t>(type);
    case 2:
      return scalar<std::uint16_t, std::uint64_t>(type);
    case 3:
      return scalar<std::int16_t, std::int64_t>(type);
    case 4:
      return scalar<std::uint32_t, std::uint64_t>(type);
    case 5:
      return scalar<std::int32_t, std::int64_t>(type);
    case 6:
      return scalar<float, double>(type);
    case 7:
      return scalar<std::uint8_t, bool>(type);
    case string_type: {
      TRY_ASSIGN(auto text, read_string("a metadata value"));
      return GgufValue{type, 0, std::move(text)};
    }
    case array_type:
      return read_array(key);
    case 10:
      return scalar<std::uint64_t, std::uint64_t>(type);
    case 11:
      return scalar<std::int64_t, std::int64_t>(type);
    case 12:
      return scalar<double, double>(type);
    default:
      return bad("The metadata key \"" + key + "\" has the unknown value type " +
                 std::to_string(type));
    }
  }

 private:
  template <class From, class To> Result<GgufValue> scalar(std::uint32_t type) {
    TRY_ASSIGN(const auto value, read<From>("a metadata value"));
    return GgufValue{type, 0, static_cast<To>(value)};
  }

  Result<GgufValue> read_array(const std::string& key) {
    GgufValue out;
    out.type = array_type;
    TRY_ASSIGN(out.element_type, read<std::uint32_t>("a metadata array"));
    TRY_ASSIGN(const auto count, read<std::uint64_t>("a metadata array"));
    if (out.element_type == array_type)
      return bad("The metadata key \"" + key + "\" is an array of arrays, which is not allowed");
    if (out.element_type > 12)
      return bad("The metadata key \"" + key + "\" is an array of the unknown type " +
                 std::to_string(out.element_type));
    const auto each = out.element_type == string_type ? 8 : scalar_bytes(out.element_type);
    if (count > left() / each)
      return bad("The metadata array \"" + key + "\" claims " + std::to_string(count) +
                 " elements, more than the file holds");
    array_elements_ += count;
    if (array_elements_ > max_array_elements)
      return bad("The metadata arrays have more than " + std::to_string(max_array_elements) +
                 " elements");
    auto values = std::make_shared<GgufArray>();
    values->reserve(count);
    for (std::uint64_t i = 0; i < count; ++i) {
      TRY_ASSIGN(auto value, read_value(out.element_type, key));
      values->push_back(std::move(value));
    }
    out.value = std::move(values);
    return out;
  }

  std::span<const std::byte> bytes_;
  std::string where_;
  std::size_t at_ = 0;
  std::uint64_t array_elements_ = 0, string_bytes_ = 0;
};

struct TensorEntry {
  StoredTensor tensor;
  std::uint64_t offset = 0, bytes = 0;
  bool known_size = true;
};

Result<TensorEntry> read_tensor_entry(Reader& reader) {
  TensorEntry entry;
  auto& tensor = entry.tensor;
  TRY_ASSIGN(tensor.name, reader.read_string("a tensor's name"));
  if (tensor.name.empty() || tensor.name.size() >= 64 || !is_utf8(tensor.name))
    return reader.bad("A tensor's name is empty, not UTF-8, or 64 bytes or longer");
  const auto bad = [&](const std::string& what) {
    return reader.bad("Tensor \"" + tensor.name + "\": " + what);
  };
  TRY_ASSIGN(const auto dimensions, reader.read<std::uint32_t>("a tensor's shape"));
  if (dimensions < 1 || dimensions > 4)
    return bad("it has " + std::to_string(dimensions) + " dimensions, not 1 to 4");
  std::uint64_t elements = 1;
  for (std::uint32_t i = 0; i < dimensions; ++i) {
    TRY_ASSIGN(const auto n, reader.read<std::int64_t>("a tensor's shape"));
    if (n < 0)
      return bad("its shape has " + std::to_string(n));
    if (__builtin_mul_overflow(elements, std::uint64_t(n), &elements) ||
        elements > (std::uint64_t(1) << 60))
      return bad("its shape has more elements than any file can hold");
    tensor.shape.insert(tensor.shape.begin(), n);
  }
  TRY_ASSIGN(const auto id, reader.read<std::uint32_t>("a tensor's type"));
  TRY_ASSIGN(entry.offset, reader.read<std::uint64_t>("a tensor's offset"));
  if (const auto* type = type_by_id(id)) {
    tensor.dtype = type->name;
    if (tensor.shape.back() % type->block != 0)
      return bad("its rows of " + std::to_string(tensor.shape.back()) +
                 " values do not divide into blocks of " + std::to_string(type->block));
    entry.bytes = elements / std::uint64_t(type->block) * std::uint64_t(type->block_bytes);
  } else { // newer than this version, or removed: its size follows from the next tensor's offset
    tensor.dtype = id == 41 ? "q1_0" : id == 42 ? "q2_0" : "type " + std::to_string(id);
    entry.known_size = false;
  }
  return entry;
}

} // namespace

std::span<const GgufType> gguf_types() { return types; }

const GgufType* find_gguf_type(std::string_view name) {
  for (const auto& type : types)
    if (type.name == name)
      return &type;
  return nullptr;
}

GgufValue GgufValue::u32(std::uint32_t v) { return {4, 0, std::uint64_t(v)}; }
GgufValue GgufValue::f32(float v) { return {6, 0, double(v)}; }
GgufValue GgufValue::boolean(bool v) { return {7, 0, v}; }
GgufValue GgufValue::string(std::string v) { return {string_type, 0, std::move(v)}; }

GgufValue GgufValue::strings(const std::vector<std::string>& v) {
  auto array = std::make_shared<GgufArray>();
  array->reserve(v.size());
  for (const auto& item : v)
    array->push_back(string(item));
  return {array_type, string_type, std::move(array)};
}

GgufValue GgufValue::i32s(const std::vector<std::int32_t>& v) {
  auto array = std::make_shared<GgufArray>();
  array->resize(v.size());
  for (std::size_t i = 0; i < v.size(); ++i) {
    (*array)[i].type = 5;
    (*array)[i].value = std::int64_t(v[i]);
  }
  return {array_type, 5, std::move(array)};
}

GgufValue GgufValue::f32s(const std::vector<float>& v) {
  auto array = std::make_shared<GgufArray>();
  array->reserve(v.size());
  for (const auto item : v)
    array->push_back(f32(item));
  return {array_type, 6, std::move(array)};
}

std::optional<std::int64_t> GgufValue::as_int() const {
  if (const auto* u = std::get_if<std::uint64_t>(&value))
    return *u <= std::uint64_t(INT64_MAX) ? std::optional(std::int64_t(*u)) : std::nullopt;
  if (const auto* i = std::get_if<std::int64_t>(&value))
    return *i;
  return std::nullopt;
}

std::optional<double> GgufValue::as_number() const {
  if (const auto* d = std::get_if<double>(&value))
    return *d;
  const auto whole = as_int();
  return whole ? std::optional(double(*whole)) : std::nullopt;
}

std::optional<std::string> GgufValue::as_string() const {
  const auto* text = std::get_if<std::string>(&value);
  return text ? std::optional(*text) : std::nullopt;
}

const GgufValue* find(const GgufMetadata& metadata, std::string_view key) {
  for (const auto& [name, value] : metadata)
    if (name == key)
      return &value;
  return nullptr;
}

Result<GgufFile> read_gguf(const fs::path& path) {
  GgufFile result;
  TRY_ASSIGN(result.file, MappedFile::open(path));
  const auto bytes = result.file->bytes();
  Reader reader(bytes, path.string());
  if (bytes.size() < 4 || std::memcmp(bytes.data(), "GGUF", 4) != 0)
    return reader.bad("The file does not start with \"GGUF\"");
  TRY(reader.read<std::uint32_t>("the header"));
  TRY_ASSIGN(const auto version, reader.read<std::uint32_t>("the header"));
  if ((version & 0xffff) == 0 && version != 0)
    return Error{"unsupported",
                 "The file is big-endian (GGUF version " +
                     std::to_string(__builtin_bswap32(version)) +
                     " for s390x and the like); only little-endian files can be opened",
                 path.string()};
  if (version == 1)
    return Error{"unsupported",
                 "This is GGUF version 1, of the first weeks of the format in 2023, which current "
                 "programs no longer read; versions 2 and 3 can be opened",
                 path.string()};
  if (version != 2 && version != 3) // the two differ only in that 3 may be big-endian
    return Error{"unsupported",
                 "GGUF version " + std::to_string(version) + " is not supported (2 and 3 are)",
                 path.string()};
  TRY_ASSIGN(const auto n_tensors, reader.read<std::int64_t>("the header"));
  TRY_ASSIGN(const auto n_metadata, reader.read<std::int64_t>("the header"));
  // The smallest possible entries bound what the rest of the file can hold.
  if (n_tensors < 0 || n_tensors > max_tensors || std::uint64_t(n_tensors) > reader.left() / 33)
    return reader.bad("The header claims " + std::to_string(n_tensors) + " tensors");
  if (n_metadata < 0 || n_metadata > max_keys || std::uint64_t(n_metadata) > reader.left() / 13)
    return reader.bad("The header claims " + std::to_string(n_metadata) + " metadata keys");

  std::set<std::string> seen;
  for (std::int64_t i = 0; i < n_metadata; ++i) {
    TRY_ASSIGN(auto key, reader.read_string("a metadata key"));
    if (key.empty() || !is_utf8(key))
      return reader.bad("A metadata key is empty or not UTF-8");
    if (!seen.insert(key).second)
      return reader.bad("The metadata key \"" + key + "\" is there twice");
    TRY_ASSIGN(const auto type, reader.read<std::uint32_t>("a metadata value"));
    TRY_ASSIGN(auto value, reader.read_value(type, key));
    result.metadata.emplace_back(std::move(key), std::move(value));
  }
  std::uint64_t alignment = 32;
  if (const auto* value = find(result.metadata, "general.alignment")) {
    const auto given = value->type == 4 ? value->as_int().value_or(0) : 0;
    if (given < 1 || (given & (given - 1)) != 0)
      return reader.bad("general.alignment is not a power of two");
    alignment = std::uint64_t(given);
  }
  const auto padded = [&](std::uint64_t n) { return (n + alignment - 1) / alignment * alignment; };

  seen.clear();
  std::vector<TensorEntry> entries;
  entries.reserve(std::size_t(n_tensors));
  for (std::int64_t i = 0; i < n_tensors; ++i) {
    TRY_ASSIGN(auto entry, read_tensor_entry(reader));
    if (!seen.insert(entry.tensor.name).second)
      return reader.bad("Tensor \"" + entry.tensor.name + "\" is there twice");
    entries.push_back(std::move(entry));
  }
  if (entries.empty())
    return result;

  const auto start = padded(reader.position());
  if (start > bytes.size())
    return reader.bad("The file ends before its tensor data");
  const auto data = bytes.subspan(start);
  std::uint64_t next = 0;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    auto& entry = entries[i];
    if (entry.offset != next)
      return reader.bad("Tensor \"" + entry.tensor.name + "\" starts at byte " +
                        std::to_string(entry.offset) + " of the data instead of " +
                        std::to_string(next));
    if (!entry.known_size) {
      const auto end = i + 1 < entries.size() ? entries[i + 1].offset : data.size();
      entry.bytes = end > entry.offset ? end - entry.offset : 0;
    }
    if (entry.offset > data.size() || entry.bytes > data.size() - entry.offset)
      return reader.bad("Tensor \"" + entry.tensor.name + "\" ends at byte " +
                        std::to_string(entry.offset + entry.bytes) +
                        " of the data, but the file holds only " + std::to_string(data.size()) +
                        ": it is cut off");
    entry.tensor.data = data.subspan(entry.offset, entry.bytes);
    entry.tensor.file = result.file;
    next = padded(entry.offset + entry.bytes);
    result.tensors.push_back(std::move(entry.tensor));
  }
  return result;
}

} // namespace bitlathe
