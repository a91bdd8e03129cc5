// SPDX-License-Identifier: Apache-2.0
#include "core/base/json.h"

#include <cmath>
#include <fstream>
#include <sstream>
#include <vector>

namespace bitlathe {

namespace {

/// Builds the document, and rejects duplicate keys and deep nesting, which the library's own parser
/// lets through. (Its callbacks could tell, but look through the whole parent at the end of every
/// object: quadratic for the header of a checkpoint with many tensors.)
class Builder {
 public:
  Json document;
  std::string problem;

  bool null() { return add(nullptr); }
  bool boolean(bool value) { return add(value); }
  bool number_integer(Json::number_integer_t value) { return add(value); }
  bool number_unsigned(Json::number_unsigned_t value) { return add(value); }
  bool number_float(Json::number_float_t value, const std::string&) { return add(value); }
  bool string(std::string& value) { return add(std::move(value)); }
  bool binary(Json::binary_t&) { return fail("binary data"); } // not in text
  bool start_object(std::size_t) { return open(Json::object()); }
  bool start_array(std::size_t) { return open(Json::array()); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }
  bool key(std::string& name) {
    const auto [it, fresh] = open_.back()->get_ref<Json::object_t&>().emplace(name, nullptr);
    if (!fresh)
      return fail("the key \"" + name + "\" appears twice in one object");
    member_ = &it->second;
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const Json::exception& error) {
    return fail(error.what());
  }

 private:
  bool fail(std::string text) {
    problem = std::move(text);
    return false;
  }
  Json* put(Json value) {
    if (open_.empty()) {
      document = std::move(value);
      return &document;
    }
    if (open_.back()->is_array()) {
      auto& list = open_.back()->get_ref<Json::array_t&>();
      list.push_back(std::move(value));
      return &list.back();
    }
    *member_ = std::move(value);
    return member_;
  }
  bool add(Json value) {
    put(std::move(value));
    return true;
  }
  bool open(Json value) {
    if (open_.size() >= 512)
      return fail("nested more than 512 levels deep");
    open_.push_back(put(std::move(value)));
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  std::vector<Json*> open_; ///< objects and arrays around the current place, outermost first
  Json* member_ = nullptr;  ///< where the value of the last key goes
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
  Builder builder;
  try {
    if (Json::sax_parse(text, &builder))
      return std::move(builder.document);
  } catch (const Json::exception& e) {
    builder.problem = e.what();
  }
  auto& what = builder.problem; // "[json.exception.parse_error.101] parse error at line 1, ..."
  if (what.rfind("[json.", 0) == 0)
    if (const auto end = what.find("] "); end != std::string::npos)
      what.erase(0, end + 2);
  return Error{"bad-file", "Invalid JSON: " + what, where};
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
