// SPDX-License-Identifier: Apache-2.0
#include "core/io/gguf_json.h"

#include "core/io/utf8.h"

#include <array>
#include <cmath>

namespace bitlathe {

namespace {

constexpr std::array names{"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                           "bool", "string", "array", "u64", "i64", "f64"};

std::string name_of(std::uint32_t type) {
  return type < names.size() ? names[type] : "type " + std::to_string(type);
}

std::string valid_utf8(const std::string& text) {
  if (is_utf8(text))
    return text;
  std::string out; // byte by byte: broken text is rare
  for (std::size_t at = 0; at < text.size();) {
    std::size_t length = 1;
    while (length <= 4 && at + length <= text.size() && !is_utf8(text.substr(at, length)))
      ++length;
    if (length <= 4 && at + length <= text.size()) {
      out.append(text, at, length);
      at += length;
    } else {
      out += "\xef\xbf\xbd";
      ++at;
    }
  }
  return out;
}

OrderedJson number(double value) {
  if (std::isfinite(value))
    return value;
  return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
}

/// The shortest decimal number that reads back as the same f32, not the f64 it was widened to.
OrderedJson short_number(double value) {
  if (!std::isfinite(value))
    return number(value);
  for (int digits = 1; digits <= 9; ++digits) {
    char text[40];
    std::snprintf(text, sizeof text, "%.*g", digits, value);
    if (const double back = std::strtod(text, nullptr); float(back) == float(value))
      return back;
  }
  return value;
}

OrderedJson value_json(const GgufValue& value, std::size_t longest);

OrderedJson array_json(const GgufValue& value, std::size_t longest) {
  const auto& array = std::get<std::shared_ptr<GgufArray>>(value.value);
  const std::size_t length = array ? array->size() : 0;
  const std::size_t shown = length > longest ? 8 : length;
  OrderedJson list = OrderedJson::array();
  for (std::size_t i = 0; i < shown; ++i)
    list.push_back(value_json((*array)[i], longest));
  if (length <= longest)
    return list;
  return {{"type", name_of(value.element_type)}, {"length", length}, {"first", std::move(list)}};
}

OrderedJson value_json(const GgufValue& value, std::size_t longest) {
  if (const auto* u = std::get_if<std::uint64_t>(&value.value))
    return *u;
  if (const auto* i = std::get_if<std::int64_t>(&value.value))
    return *i;
  if (const auto* d = std::get_if<double>(&value.value))
    return value.type == 6 ? short_number(*d) : number(*d);
  if (const auto* b = std::get_if<bool>(&value.value))
    return *b;
  if (const auto* text = std::get_if<std::string>(&value.value))
    return valid_utf8(*text);
  return array_json(value, longest);
}

} // namespace

OrderedJson gguf_metadata_json(const GgufMetadata& metadata, std::size_t longest) {
  OrderedJson out = OrderedJson::object();
  for (const auto& [key, value] : metadata)
    out[key] = value_json(value, longest);
  return out;
}

std::string gguf_type_text(const GgufValue& value) {
  const auto* array = std::get_if<std::shared_ptr<GgufArray>>(&value.value);
  if (!array)
    return name_of(value.type);
  return name_of(value.element_type) + "[" + std::to_string(*array ? (*array)->size() : 0) + "]";
}

} // namespace bitlathe
