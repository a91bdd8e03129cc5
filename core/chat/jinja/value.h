// SPDX-License-Identifier: Apache-2.0
// Values of a template, with Python's meaning: what is true, what is equal, how it prints.
// Containers never change once made (templates run as in an immutable sandbox), so they are shared.
#pragma once

#include "core/base/json.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace bitlathe::jinja {

/// Why a template cannot be rendered. Thrown inside core/chat/jinja only; Template::render and
/// Template::parse turn it into an Error.
struct TemplateError {
  std::string message;
  int line = 0; ///< 0: not known yet
};
[[noreturn]] inline void fail(std::string message, int line = 0) {
  throw TemplateError{std::move(message), line};
}

/// What a template may use up. Everything that can grow or repeat asks here first.
class Budget {
 public:
  void step(std::uint64_t count = 1) {
    if (count > steps_)
      fail("The template does too much work (more than 20 million steps)");
    steps_ -= count;
  }
  /// Before this many bytes are made.
  void bytes(std::uint64_t count) {
    if (count > bytes_)
      fail("The template makes too much text (more than 128 MiB)");
    bytes_ -= count;
    step(count / 512);
  }
  void items(std::uint64_t count) {
    if (count > bytes_ / 32)
      fail("The template makes lists that are too long");
    bytes(count * 32);
  }
  void scan(std::uint64_t count) { step(count / 512); } ///< reading text

 private:
  std::uint64_t steps_ = 20'000'000, bytes_ = std::uint64_t(128) << 20;
};

class Value;
class Interpreter;
struct Sequence;
struct Dict;

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> keywords;
};

/// Functions, macros, namespaces, the loop variable.
class Object {
 public:
  virtual ~Object() = default;
  virtual std::string type_name() const = 0;
  virtual std::string text() const = 0; ///< how it prints
  virtual bool callable() const { return false; }
  virtual Value call(Interpreter& interpreter, Arguments& arguments);
  /// Attribute `name`; false when there is none.
  virtual bool get(Interpreter& interpreter, const std::string& name, Value& out);
  virtual void release() {} ///< lets go of other values: breaks rings at the end
};

struct Undefined {
  std::shared_ptr<const std::string> why; ///< "'x' is undefined"
};
struct None {};

class Value {
 public:
  using Text = std::shared_ptr<const std::string>;
  using List = std::shared_ptr<Sequence>;
  using Map = std::shared_ptr<Dict>;
  using Thing = std::shared_ptr<Object>;

  Value() = default; ///< undefined, without a reason
  Value(None) : data_(None{}) {}
  Value(bool b) : data_(b) {}
  Value(std::int64_t i) : data_(i) {}
  Value(int i) : data_(std::int64_t(i)) {}
  Value(double d) : data_(d) {}
  Value(std::string text) : data_(std::make_shared<const std::string>(std::move(text))) {}
  Value(const char* text) : Value(std::string(text)) {}
  Value(List list) : data_(std::move(list)) {}
  Value(Map map) : data_(std::move(map)) {}
  Value(Thing thing) : data_(std::move(thing)) {}
  static Value undefined(std::string why) {
    Value out;
    out.data_ = Undefined{std::make_shared<const std::string>(std::move(why))};
    return out;
  }

  bool is_undefined() const { return std::holds_alternative<Undefined>(data_); }
  bool is_none() const { return std::holds_alternative<None>(data_); }
  bool is_bool() const { return std::holds_alternative<bool>(data_); }
  bool is_int() const { return std::holds_alternative<std::int64_t>(data_); }
  bool is_integral() const { return is_int() || is_bool(); } ///< Python: bool is an int
  bool is_float() const { return std::holds_alternative<double>(data_); }
  bool is_number() const { return is_integral() || is_float(); }
  bool is_text() const { return std::holds_alternative<Text>(data_); }
  bool is_sequence() const { return std::holds_alternative<List>(data_); }
  bool is_dict() const { return std::holds_alternative<Map>(data_); }
  bool is_object() const { return std::holds_alternative<Thing>(data_); }

  std::string why_undefined() const;
  std::int64_t integer() const; ///< of an int or a bool
  double number() const;        ///< of any number
  const std::string& text() const { return *std::get<Text>(data_); }
  Sequence& sequence() const { return *std::get<List>(data_); }
  const Dict& dict() const { return *std::get<Map>(data_); }
  Object& object() const { return *std::get<Thing>(data_); }
  template <class T> T* as() const {
    return is_object() ? dynamic_cast<T*>(std::get<Thing>(data_).get()) : nullptr;
  }

  std::string type_name() const; ///< "str", "list", ... for messages
  bool truth() const;
  bool same_object(const Value& other) const; ///< Python's `is`
  int depth() const;                          ///< of nested containers

 private:
  std::variant<Undefined, None, bool, std::int64_t, double, Text, List, Map, Thing> data_;
};

struct Sequence {
  enum class Kind { list, tuple, range, generator, keys, values, items };
  Kind kind = Kind::list;
  std::vector<Value> items;
  std::size_t taken = 0; ///< generators give every item once
  bool group = false;    ///< of the filter groupby: (grouper, list) by name too
  int depth = 1;
};

/// Keeps the order of insertion.
struct Dict {
  std::vector<std::pair<Value, Value>> entries;
  std::unordered_map<std::string, std::size_t> index; ///< by hash_key
  int depth = 1;

  const Value* find(std::string_view key) const; ///< by text
  const Value* find(const Value& key, Budget& budget) const;
  void set(const Value& key, Value value, Budget& budget);
};

/// Depth of containers beyond which nothing is made; Python stops at a similar one.
constexpr int most_nested = 400;

Value make_sequence(Sequence::Kind kind, std::vector<Value> items, Budget& budget);
inline Value make_list(std::vector<Value> items, Budget& budget) {
  return make_sequence(Sequence::Kind::list, std::move(items), budget);
}
inline Value make_tuple(std::vector<Value> items, Budget& budget) {
  return make_sequence(Sequence::Kind::tuple, std::move(items), budget);
}
Value make_dict(Dict dict);
Value make_text(std::string text, Budget& budget);
/// Equal values have equal keys: 1, 1.0 and True are one. Lists and dicts are an error.
std::string hash_key(const Value& value, Budget& budget);

/// Python's str() and repr().
std::string to_text(const Value& value, Budget& budget);
std::string to_repr(const Value& value, Budget& budget);
std::string float_text(double value);

bool equal(const Value& a, const Value& b, Budget& budget);
/// a < b; values that have no order are an error that names `op`.
bool less(const Value& a, const Value& b, const char* op, Budget& budget);
bool less_or_equal(const Value& a, const Value& b, const char* op, Budget& budget);

/// What a for loop goes through; "'int' object is not iterable" when it cannot.
std::vector<Value> items_of(const Value& value, Budget& budget);
/// Takes the rest out of a generator.
bool iterable(const Value& value);
std::int64_t length_of(const Value& value, Budget& budget);

Value from_json(const OrderedJson& json, Budget& budget);
struct JsonStyle {
  int indent = -1; ///< below 0: one line
  std::string indent_text;
  std::string item_separator = ", ", key_separator = ": ";
  bool sort_keys = false, ascii = false;
};
std::string to_json(const Value& value, const JsonStyle& style, Budget& budget);

} // namespace bitlathe::jinja
