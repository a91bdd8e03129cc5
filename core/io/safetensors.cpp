// SPDX-License-Identifier: Apache-2.0
// Reader. Every check of the reference loader (safetensors/src/tensor.rs) is an error here too.
#include "core/io/safetensors.h"

#include "core/base/json.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <set>

namespace bitlathe {

namespace {

constexpr std::uint64_t header_limit = 100'000'000;

struct DtypeBits {
  std::string_view name;
  int bits;
};
constexpr std::array dtypes{
    DtypeBits{"BOOL", 8},        DtypeBits{"F4", 4},          DtypeBits{"F6_E2M3", 6},
    DtypeBits{"F6_E3M2", 6},     DtypeBits{"U8", 8},          DtypeBits{"I8", 8},
    DtypeBits{"F8_E5M2", 8},     DtypeBits{"F8_E4M3", 8},     DtypeBits{"F8_E8M0", 8},
    DtypeBits{"F8_E4M3FNUZ", 8}, DtypeBits{"F8_E5M2FNUZ", 8}, DtypeBits{"I16", 16},
    DtypeBits{"U16", 16},        DtypeBits{"F16", 16},        DtypeBits{"BF16", 16},
    DtypeBits{"I32", 32},        DtypeBits{"U32", 32},        DtypeBits{"F32", 32},
    DtypeBits{"C64", 64},        DtypeBits{"F64", 64},        DtypeBits{"I64", 64},
    DtypeBits{"U64", 64}};

std::string in_quotes(const std::string& name) { return "\"" + name + "\""; }

/// A whole number that is not negative and fits 63 bits.
bool read_count(const Json& value, std::uint64_t& out) {
  if (!value.is_number_unsigned())
    return false;
  out = value.get<std::uint64_t>();
  return out <= std::uint64_t(std::numeric_limits<std::int64_t>::max());
}

struct Entry {
  StoredTensor tensor;
  std::uint64_t begin = 0, end = 0;
};

Result<Entry> read_entry(const std::string& name, const Json& json, const std::string& where) {
  const auto bad = [&](const std::string& what) {
    return Error{"bad-file", "Tensor " + in_quotes(name) + ": " + what, where};
  };
  if (!json.is_object())
    return bad("its header entry is not an object");
  const auto dtype = json.find("dtype"), shape = json.find("shape"),
             offsets = json.find("data_offsets");
  if (dtype == json.end() || !dtype->is_string())
    return bad("\"dtype\" is missing");
  if (shape == json.end() || !shape->is_array())
    return bad("\"shape\" is missing");
  if (offsets == json.end() || !offsets->is_array() || offsets->size() != 2)
    return bad("\"data_offsets\" is not a pair");

  Entry entry;
  entry.tensor.name = name;
  entry.tensor.dtype = dtype->get<std::string>();
  const int bits = safetensors_dtype_bits(entry.tensor.dtype);
  if (bits == 0)
    return bad("unknown dtype " + in_quotes(entry.tensor.dtype));

  std::uint64_t elements = 1, total_bits = 0;
  for (const auto& dimension : *shape) {
    std::uint64_t n = 0;
    if (!read_count(dimension, n))
      return bad("its shape has " + dimension.dump() +
                 ", which is not a whole number of zero or more");
    if (__builtin_mul_overflow(elements, n, &elements))
      return bad("its shape has more elements than any file can hold");
    entry.tensor.shape.push_back(std::int64_t(n));
  }
  if (__builtin_mul_overflow(elements, std::uint64_t(bits), &total_bits))
    return bad("its shape has more elements than any file can hold");
  if (total_bits % 8 != 0)
    return bad("its values do not end on a whole byte");
  if (!read_count((*offsets)[0], entry.begin) || !read_count((*offsets)[1], entry.end) ||
      entry.begin > entry.end)
    return bad("its data offsets " + offsets->dump() + " are not a range");
  if (entry.end - entry.begin != total_bits / 8)
    return bad("its data has " + std::to_string(entry.end - entry.begin) +
               " bytes, but its shape and dtype need " + std::to_string(total_bits / 8));
  return entry;
}

} // namespace

int safetensors_dtype_bits(std::string_view dtype) {
  for (const auto& entry : dtypes)
    if (entry.name == dtype)
      return entry.bits;
  return 0;
}

Result<SafetensorsFile> read_safetensors(const fs::path& path) {
  TRY_ASSIGN(auto file, MappedFile::open(path));
  const auto where = path.string();
  const auto bytes = file->bytes();
  const auto bad = [&](const std::string& what) { return Error{"bad-file", what, where}; };
  if (bytes.size() < 8)
    return bad("The file has only " + std::to_string(bytes.size()) +
               " bytes and no safetensors header");
  static_assert(std::endian::native == std::endian::little);
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  if (length > header_limit)
    return bad("The header claims " + std::to_string(length) + " bytes; at most " +
               std::to_string(header_limit) + " are allowed. This is not a safetensors file");
  if (length > bytes.size() - 8)
    return bad("The header claims " + std::to_string(length) + " bytes, but the file has only " +
               std::to_string(bytes.size()) + ": it is cut off or not a safetensors file");
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + 8, length);
  if (text.empty() || text.front() != '{')
    return bad("The header does not start with '{': this is not a safetensors file");
  auto parsed = parse_json(text, where);
  if (!parsed)
    return bad("The header is not valid. " + parsed.error().message);
  if (!parsed->is_object())
    return bad("The header is not a JSON object");

  SafetensorsFile result;
  std::vector<Entry> entries;
  for (const auto& [name, json] : parsed->items()) {
    if (name == "__metadata__") {
      if (!json.is_object())
        return bad("\"__metadata__\" is not an object");
      for (const auto& [key, value] : json.items()) {
        if (!value.is_string())
          return bad("\"__metadata__\" has " + in_quotes(key) + ", which is not a text");
        result.metadata.emplace(key, value.get<std::string>());
      }
      continue;
    }
    TRY_ASSIGN(auto entry, read_entry(name, json, where));
    entries.push_back(std::move(entry));
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });

  const auto data = bytes.subspan(8 + length);
  std::uint64_t next = 0;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    auto& entry = entries[i];
    if (entry.begin != next) {
      const bool overlap = entry.begin < next;
      return bad(
          "Tensor " + in_quotes(entry.tensor.name) + " starts at byte " +
          std::to_string(entry.begin) + " of the data, " +
          (overlap ? "inside the tensor before it, which ends at " : "leaving a gap after ") +
          std::to_string(next));
    }
    if (entry.end > data.size())
      return bad("Tensor " + in_quotes(entry.tensor.name) + " ends at byte " +
                 std::to_string(entry.end) + " of the data, but the file holds only " +
                 std::to_string(data.size()) + ": it is cut off");
    next = entry.end;
    entry.tensor.data = data.subspan(entry.begin, entry.end - entry.begin);
    entry.tensor.file = file;
  }
  if (next != data.size())
    return bad("The file has " + std::to_string(data.size() - next) +
               " bytes after its last tensor");
  result.tensors.reserve(entries.size());
  for (auto& entry : entries)
    result.tensors.push_back(std::move(entry.tensor));
  return result;
}

namespace {

Result<SafetensorsFile> read_sharded(const fs::path& folder, const fs::path& index_path) {
  const auto where = index_path.string();
  const auto bad = [&](const std::string& what) { return Error{"bad-file", what, where}; };
  TRY_ASSIGN(const auto text, read_file(index_path));
  TRY_ASSIGN(const auto index, parse_json(text, where));
  const auto map = index.is_object() ? index.find("weight_map") : index.end();
  if (!index.is_object() || map == index.end() || !map->is_object())
    return bad("The index has no \"weight_map\"");

  std::map<std::string, std::set<std::string>> names_of_file;
  for (const auto& [name, file] : map->items()) {
    if (!file.is_string())
      return bad("The file of tensor " + in_quotes(name) + " is not a text");
    const auto file_name = file.get<std::string>();
    const bool outside = file_name.empty() || file_name == "." || file_name == ".." ||
                         file_name.find_first_of(std::string_view("/\\\0", 3)) != std::string::npos;
    if (outside)
      return bad("The index names the file " + in_quotes(file_name) +
                 ", which is outside the checkpoint's folder");
    names_of_file[file_name].insert(name);
  }

  SafetensorsFile all;
  for (auto& [file_name, names] : names_of_file) {
    const auto path = folder / file_name;
    std::error_code failed;
    if (!fs::exists(path, failed))
      return Error{"not-found",
                   "The index lists the shard " + in_quotes(file_name) + ", which is missing",
                   path.string()};
    TRY_ASSIGN(auto shard, read_safetensors(path));
    for (auto& tensor : shard.tensors) {
      if (names.erase(tensor.name) == 0)
        return bad("Tensor " + in_quotes(tensor.name) + " is in " + in_quotes(file_name) +
                   ", but the index " +
                   (map->contains(tensor.name) ? "places it in another file" : "does not list it"));
      all.tensors.push_back(std::move(tensor));
    }
    if (!names.empty())
      return bad("The index places tensor " + in_quotes(*names.begin()) + " in " +
                 in_quotes(file_name) + ", which does not hold it");
    all.metadata.merge(shard.metadata);
  }
  return all;
}

} // namespace

Result<SafetensorsFile> read_safetensors_folder(const fs::path& folder) {
  std::error_code failed;
  const auto single = folder / "model.safetensors";
  const auto index = folder / "model.safetensors.index.json";
  // The same precedence as transformers: one whole file first, then the index.
  if (fs::exists(single, failed) && !fs::exists(index, failed))
    return read_safetensors(single);
  if (fs::exists(index, failed)) {
    if (!fs::exists(single, failed))
      return read_sharded(folder, index);
    TRY_ASSIGN(const auto text, read_file(index));
    const bool index_uses_it = text.find("\"model.safetensors\"") != std::string::npos;
    return index_uses_it ? read_sharded(folder, index) : read_safetensors(single);
  }

  std::vector<fs::path> found;
  for (fs::directory_iterator it(folder, failed), end; !failed && it != end; it.increment(failed))
    if (it->path().extension() == ".safetensors")
      found.push_back(it->path());
  if (failed)
    return Error{"io", "Cannot list the folder: " + failed.message(), folder.string()};
  if (found.size() == 1)
    return read_safetensors(found.front());
  if (found.empty())
    return Error{"not-found", "The folder holds no .safetensors file", folder.string()};
  return Error{"bad-file",
               "The folder holds " + std::to_string(found.size()) +
                   " .safetensors files, but no model.safetensors and no "
                   "model.safetensors.index.json that says which belong to the model",
               folder.string()};
}

} // namespace bitlathe
