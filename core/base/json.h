// SPDX-License-Identifier: Apache-2.0
// Typed access to JSON that reports the path of what is missing or of the wrong type.
#pragma once

#include "kernels/base/result.h"

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace bitlathe {

using Json = nlohmann::json;
/// Keeps the order of keys; for documents that people read.
using OrderedJson = nlohmann::ordered_json;

/// Parses text; `where` names the file in the error. Duplicate keys, depth over 512 and invalid
/// UTF-8 are errors.
Result<Json> parse_json(std::string_view text, const std::string& where);
Result<Json> read_json_file(const std::filesystem::path& path);

/// Typed members of an object. The `_or` forms return the default when the key is missing or null,
/// and an error when it is there with another type.
Result<std::int64_t> json_int(const Json& object, std::string_view key, const std::string& where);
Result<std::int64_t> json_int_or(const Json& object, std::string_view key, std::int64_t otherwise,
                                 const std::string& where);
Result<double> json_number_or(const Json& object, std::string_view key, double otherwise,
                              const std::string& where);
Result<bool> json_bool_or(const Json& object, std::string_view key, bool otherwise,
                          const std::string& where);
Result<std::string> json_string(const Json& object, std::string_view key, const std::string& where);
Result<std::string> json_string_or(const Json& object, std::string_view key, std::string otherwise,
                                   const std::string& where);

/// Text of a number that JSON cannot hold (NaN, infinities) becomes null.
Json json_number(double value);

} // namespace bitlathe
