// SPDX-License-Identifier: Apache-2.0
#include "core/chat/jinja/value.h"

#include "core/chat/jinja/text.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace bitlathe::jinja {

Value Object::call(Interpreter&, Arguments&) {
  fail("'" + type_name() + "' object is not callable");
}
bool Object::get(Interpreter&, const std::string&, Value&) { return false; }

std::string Value::why_undefined() const {
  const auto* undefined = std::get_if<Undefined>(&data_);
  return undefined && undefined->why ? *undefined->why : std::string("the value is undefined");
}

std::int64_t Value::integer() const {
  return is_bool() ? std::int64_t(std::get<bool>(data_)) : std::get<std::int64_t>(data_);
}

double Value::number() const { return is_float() ? std::get<double>(data_) : double(integer()); }

std::string Value::type_name() const {
  if (is_undefined())
    return "Undefined";
  if (is_none())
    return "NoneType";
  if (is_bool())
    return "bool";
  if (is_int())
    return "int";
  if (is_float())
    return "float";
  if (is_text())
    return "str";
  if (is_dict())
    return "dict";
  if (is_object())
    return object().type_name();
  switch (sequence().kind) {
  case Sequence::Kind::list:
    return "list";
  case Sequence::Kind::tuple:
    return "tuple";
  case Sequence::Kind::range:
    return "range";
  case Sequence::Kind::generator:
    return "generator";
  case Sequence::Kind::keys:
    return "dict_keys";
  case Sequence::Kind::values:
    return "dict_values";
  case Sequence::Kind::items:
    return "dict_items";
  }
  return {};
}

bool Value::truth() const {
  if (is_undefined() || is_none())
    return false;
  if (is_integral())
    return integer() != 0;
  if (is_float())
    return number() != 0;
  if (is_text())
    return !text().empty();
  if (is_dict())
    return !dict().entries.empty();
  if (is_sequence()) // a generator does not know whether it is empty
    return sequence().kind == Sequence::Kind::generator || !sequence().items.empty();
  return true;
}

bool Value::same_object(const Value& other) const {
  if (data_.index() != other.data_.index())
    return false;
  if (is_undefined() || is_none())
    return true;
  if (is_integral())
    return integer() == other.integer();
  if (is_text())
    return text() == other.text();
  if (is_float())
    return number() == other.number();
  if (is_dict())
    return &dict() == &other.dict();
  if (is_sequence())
    return &sequence() == &other.sequence();
  return &object() == &other.object();
}

int Value::depth() const { return is_sequence() ? sequence().depth : is_dict() ? dict().depth : 0; }

Value make_sequence(Sequence::Kind kind, std::vector<Value> items, Budget& budget) {
  budget.items(items.size());
  auto out = std::make_shared<Sequence>();
  out->kind = kind;
  for (const Value& item : items)
    out->depth = std::max(out->depth, item.depth() + 1);
  out->items = std::move(items);
  if (out->depth > most_nested)
    fail("Lists are nested too deeply");
  return out;
}

Value make_dict(Dict dict) { return std::make_shared<Dict>(std::move(dict)); }

Value make_text(std::string text, Budget& budget) {
  budget.bytes(text.size());
  return Value(std::move(text));
}

// --- dicts
// ----------------------------------------------------------------------------------------

std::string hash_key(const Value& value, Budget& budget) {
  budget.step();
  if (value.is_text()) {
    budget.scan(value.text().size());
    return "s" + value.text();
  }
  if (value.is_none())
    return "n";
  if (value.is_integral())
    return "i" + std::to_string(value.integer());
  if (value.is_float()) {
    const double d = value.number();
    if (std::floor(d) == d && std::abs(d) < 9.2e18)
      return "i" + std::to_string(std::int64_t(d));
    return "f" + float_text(d);
  }
  if (value.is_undefined())
    return "u";
  if (value.is_sequence() && value.sequence().kind == Sequence::Kind::tuple) {
    std::string out = "t";
    for (const Value& item : value.sequence().items) {
      const std::string key = hash_key(item, budget);
      budget.bytes(key.size());
      out += std::to_string(key.size()) + ":" + key;
    }
    return out;
  }
  if (value.is_object())
    return "o" + std::to_string(reinterpret_cast<std::uintptr_t>(&value.object()));
  fail("unhashable type: '" + value.type_name() + "'");
}

const Value* Dict::find(std::string_view key) const {
  std::string full = "s";
  full += key;
  const auto it = index.find(full);
  return it == index.end() ? nullptr : &entries[it->second].second;
}

const Value* Dict::find(const Value& key, Budget& budget) const {
  const auto it = index.find(hash_key(key, budget));
  return it == index.end() ? nullptr : &entries[it->second].second;
}

void Dict::set(const Value& key, Value value, Budget& budget) {
  budget.items(4);
  depth = std::max({depth, value.depth() + 1, key.depth() + 1});
  if (depth > most_nested)
    fail("Dicts are nested too deeply");
  std::string hashed = hash_key(key, budget);
  budget.bytes(hashed.size());
  const auto [it, fresh] = index.emplace(std::move(hashed), entries.size());
  if (fresh)
    entries.emplace_back(key, std::move(value));
  else
    entries[it->second].second = std::move(value);
}

// --- going through
// --------------------------------------------------------------------------------

bool iterable(const Value& value) {
  return value.is_sequence() || value.is_dict() || value.is_text() || value.is_undefined();
}

std::vector<Value> items_of(const Value& value, Budget& budget) {
  if (value.is_undefined())
    return {};
  std::vector<Value> out;
  if (value.is_sequence()) {
    Sequence& sequence = value.sequence();
    budget.items(sequence.items.size());
    if (sequence.kind != Sequence::Kind::generator)
      return sequence.items;
    out.assign(sequence.items.begin() + std::ptrdiff_t(sequence.taken), sequence.items.end());
    sequence.taken = sequence.items.size();
    return out;
  }
  if (value.is_dict()) {
    budget.items(value.dict().entries.size());
    for (const auto& entry : value.dict().entries)
      out.push_back(entry.first);
    return out;
  }
  if (value.is_text()) {
    const std::string& text = value.text();
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t size = character_size(text, at);
      budget.items(3); // a text of its own
      out.emplace_back(text.substr(at, size));
      at += size;
    }
    return out;
  }
  fail("'" + value.type_name() + "' object is not iterable");
}

std::int64_t length_of(const Value& value, Budget& budget) {
  if (value.is_undefined())
    return 0;
  if (value.is_text()) {
    budget.scan(value.text().size());
    return std::int64_t(text_length(value.text()));
  }
  if (value.is_dict())
    return std::int64_t(value.dict().entries.size());
  if (value.is_sequence() && value.sequence().kind != Sequence::Kind::generator)
    return std::int64_t(value.sequence().items.size());
  fail("object of type '" + value.type_name() + "' has no len()");
}

// --- order
// ----------------------------------------------------------------------------------------

bool equal(const Value& a, const Value& b, Budget& budget) {
  budget.step();
  if (a.is_number() && b.is_number())
    return a.is_float() || b.is_float() ? a.number() == b.number() : a.integer() == b.integer();
  if (a.is_text() && b.is_text()) {
    if (a.text().size() != b.text().size())
      return false;
    budget.scan(a.text().size());
    return a.text() == b.text();
  }
  if (a.is_sequence() && b.is_sequence()) {
    const Sequence &x = a.sequence(), &y = b.sequence();
    if (&x == &y)
      return true;
    const bool plain = x.kind == Sequence::Kind::list || x.kind == Sequence::Kind::tuple ||
                       x.kind == Sequence::Kind::range;
    const bool views = x.kind == Sequence::Kind::keys || x.kind == Sequence::Kind::items;
    if (x.kind != y.kind || !(plain || views) || x.items.size() != y.items.size())
      return false;
    for (std::size_t i = 0; i < x.items.size(); ++i)
      if (!equal(x.items[i], y.items[i], budget))
        return false;
    return true;
  }
  if (a.is_dict() && b.is_dict()) {
    if (a.dict().entries.size() != b.dict().entries.size())
      return false;
    for (const auto& [key, value] : a.dict().entries) {
      const Value* other = b.dict().find(key, budget);
      if (!other || !equal(value, *other, budget))
        return false;
    }
    return true;
  }
  return a.same_object(b);
}

namespace {

/// -1, 0, 1; 2 when a NaN is compared.
int order(const Value& a, const Value& b, const char* op, Budget& budget) {
  budget.step();
  if (a.is_undefined() || b.is_undefined())
    fail(a.is_undefined() ? a.why_undefined() : b.why_undefined());
  if (a.is_number() && b.is_number()) {
    if (a.is_float() || b.is_float()) {
      const double x = a.number(), y = b.number();
      return x < y ? -1 : x > y ? 1 : x == y ? 0 : 2;
    }
    return a.integer() < b.integer() ? -1 : a.integer() > b.integer();
  }
  if (a.is_text() && b.is_text()) { // UTF-8 keeps the order of code points
    budget.scan(std::min(a.text().size(), b.text().size()));
    const int c = a.text().compare(b.text());
    return c < 0 ? -1 : c > 0;
  }
  if (a.is_sequence() && b.is_sequence() && a.sequence().kind == b.sequence().kind &&
      (a.sequence().kind == Sequence::Kind::list || a.sequence().kind == Sequence::Kind::tuple)) {
    const auto &x = a.sequence().items, &y = b.sequence().items;
    for (std::size_t i = 0; i < std::min(x.size(), y.size()); ++i)
      if (!equal(x[i], y[i], budget))
        return order(x[i], y[i], op, budget);
    return x.size() < y.size() ? -1 : x.size() > y.size();
  }
  fail("'" + std::string(op) + "' not supported between instances of '" + a.type_name() +
       "' and '" + b.type_name() + "'");
}

} // namespace

bool less(const Value& a, const Value& b, const char* op, Budget& budget) {
  return order(a, b, op, budget) == -1;
}
bool less_or_equal(const Value& a, const Value& b, const char* op, Budget& budget) {
  const int found = order(a, b, op, budget);
  return found == -1 || found == 0;
}

} // namespace bitlathe::jinja
