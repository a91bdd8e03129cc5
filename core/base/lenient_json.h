// SPDX-License-Identifier: Apache-2.0
// Members of JSON that the program wrote itself, in this version or an older one: what is missing
// or of another type gives a default instead of an error.
#pragma once

#include "core/base/json.h"

#include <limits>
#include <vector>

namespace bitlathe::lenient {

/// The member, or null when `json` is no object or has none of that name.
inline const Json& member(const Json& json, const char* key) {
  static const Json nothing;
  if (!json.is_object())
    return nothing;
  const auto it = json.find(key);
  return it == json.end() ? nothing : *it;
}

/// NaN is what json_number() writes as null.
inline double number(const Json& json, const char* key,
                     double otherwise = std::numeric_limits<double>::quiet_NaN()) {
  const Json& value = member(json, key);
  return value.is_number() ? value.get<double>() : otherwise;
}

inline std::int64_t integer(const Json& json, const char* key, std::int64_t otherwise = 0) {
  const Json& value = member(json, key);
  if (value.is_number_integer())
    return value.get<std::int64_t>();
  constexpr double most = 9e15; // beyond it a double does not name one integer
  const double x = value.is_number() ? value.get<double>() : most;
  return x > -most && x < most ? std::int64_t(x) : otherwise;
}

inline bool flag(const Json& json, const char* key, bool otherwise = false) {
  const Json& value = member(json, key);
  return value.is_boolean() ? value.get<bool>() : otherwise;
}

inline std::string text(const Json& json, const char* key, std::string otherwise = {}) {
  const Json& value = member(json, key);
  return value.is_string() ? value.get<std::string>() : std::move(otherwise);
}

/// The elements of a list that are text.
inline std::vector<std::string> texts(const Json& json, const char* key) {
  std::vector<std::string> out;
  if (const Json& list = member(json, key); list.is_array())
    for (const Json& entry : list)
      if (entry.is_string())
        out.push_back(entry.get<std::string>());
  return out;
}

/// The elements of a list; NaN for those that are no numbers.
inline std::vector<double> numbers(const Json& json, const char* key) {
  std::vector<double> out;
  if (const Json& list = member(json, key); list.is_array())
    for (const Json& entry : list)
      out.push_back(entry.is_number() ? entry.get<double>()
                                      : std::numeric_limits<double>::quiet_NaN());
  return out;
}

/// The elements of a list, to be read one by one; nothing when it is no list.
inline const Json::array_t& list(const Json& json, const char* key) {
  static const Json::array_t nothing;
  const Json& value = member(json, key);
  return value.is_array() ? value.get_ref<const Json::array_t&>() : nothing;
}

} // namespace bitlathe::lenient
