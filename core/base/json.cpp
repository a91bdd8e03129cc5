// SPDX-License-Identifier: Apache-2.0
#include "core/base/json.h"

#include <cmath>
#include <fstream>
#include <set>
#include <sstream>
#include <vector>

namespace bitlathe {

namespace {

/// Builds the document like the library's own DOM parser, and rejects duplicate keys and deep
/// nesting, which that parser lets through.
class CheckedHandler {
 public:
  std::string problem;

  bool operator()(int depth, Json::parse_event_t event, Json& parsed) {
    switch (event) {
    case Json::parse_event_t::object_start:
      keys_.emplace_back();
      break;
    case Json::parse_event_t::object_end:
      if (!keys_.empty())
        keys_.pop_back();
      break;
    case Json::parse_event_t::key:
      if (!keys_.empty() && !keys_.back().insert(parsed.get_ref<const std::string&>()).second &&
          problem.empty())
        problem =
            "the key \"" + parsed.get_ref<const std::string&>() + "\" appears twice in one object";
      break;
    default:
      break;
    }
    if (depth > 512 && problem.empty())
      problem = "nested more than 512 levels deep";
    return problem.empty();
  }

 private:
  std::vector<std::set<std::string>> keys_;
};

Error type_error(std::string_view key, std::string_view wanted, const Json& got,
                 const std::string& where) {
  return {"bad-file",
          "\"" + std::string(key) + "\" must be " + std::string(wanted) + ", not " +
              got.type_name(),
          where};
}

const Json* member(const Json& object, std::string_view key) {
  if (!object.is_object())
    return nullptr;
  const auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

Error missing(std::string_view key, const std::string& where) {
  return {"bad-file", "\"" + std::string(key) + "\" is missing", where};
}

} // namespace

Result<Json> parse_json(std::string_view text, const std::string& where) {
  CheckedHandler handler;
  try {
    auto json = Json::parse(text, std::ref(handler));
    if (!handler.problem.empty())
      return Error{"bad-file", "Invalid JSON: " + handler.problem, where};
    return json;
  } catch (const Json::exception& e) {
    if (!handler.problem.empty())
      return Error{"bad-file", "Invalid JSON: " + handler.problem, where};
    std::string what = e.what(); // "[json.exception.parse_error.101] parse error at line 1, ..."
    if (const auto end = what.find("] "); end != std::string::npos)
      what.erase(0, end + 2);
    return Error{"bad-file", "Invalid JSON: " + what, where};
  }
}

Result<Json> read_json_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  if (!in || !(text << in.rdbuf()))
    return Error{std::filesystem::exists(path) ? "io" : "not-found", "Cannot read the file",
                 path.string()};
  return parse_json(text.str(), path.string());
}

Result<std::int64_t> json_int(const Json& object, std::string_view key, const std::string& where) {
  const Json* value = member(object, key);
  if (!value)
    return missing(key, where);
  if (value->is_number_unsigned()) {
    const auto u = value->get<std::uint64_t>();
    if (u > std::uint64_t(INT64_MAX))
      return Error{"bad-file", "\"" + std::string(key) + "\" is too large", where};
    return std::int64_t(u);
  }
  if (value->is_number_integer())
    return value->get<std::int64_t>();
  return type_error(key, "a whole number", *value, where);
}

Result<std::int64_t> json_int_or(const Json& object, std::string_view key, std::int64_t otherwise,
                                 const std::string& where) {
  return member(object, key) ? json_int(object, key, where) : Result<std::int64_t>(otherwise);
}

Result<double> json_number_or(const Json& object, std::string_view key, double otherwise,
                              const std::string& where) {
  const Json* value = member(object, key);
  if (!value)
    return otherwise;
  if (!value->is_number())
    return type_error(key, "a number", *value, where);
  return value->get<double>();
}

Result<bool> json_bool_or(const Json& object, std::string_view key, bool otherwise,
                          const std::string& where) {
  const Json* value = member(object, key);
  if (!value)
    return otherwise;
  if (!value->is_boolean())
    return type_error(key, "true or false", *value, where);
  return value->get<bool>();
}

Result<std::string> json_string(const Json& object, std::string_view key,
                                const std::string& where) {
  const Json* value = member(object, key);
  if (!value)
    return missing(key, where);
  if (!value->is_string())
    return type_error(key, "a text", *value, where);
  return value->get<std::string>();
}

Result<std::string> json_string_or(const Json& object, std::string_view key, std::string otherwise,
                                   const std::string& where) {
  return member(object, key) ? json_string(object, key, where)
                             : Result<std::string>(std::move(otherwise));
}

Json json_number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

} // namespace bitlathe
