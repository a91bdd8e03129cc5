// SPDX-License-Identifier: Apache-2.0
// object.name and object[key]: attributes come first in the one, items in the other, and what is
// missing is undefined.
#include "core/chat/jinja/objects.h"
#include "core/chat/jinja/text.h"

namespace bitlathe::jinja {
namespace {

class Method final : public Object {
 public:
  Method(Value self, std::string name, FilterFunction function)
      : self_(std::move(self)), name_(std::move(name)), function_(function) {}
  std::string type_name() const override { return "builtin_function_or_method"; }
  std::string text() const override {
    return "<built-in method " + name_ + " of " + self_.type_name() + " object>";
  }
  bool callable() const override { return true; }
  Value call(Interpreter& interpreter, Arguments& arguments) override {
    if (self_.is_text())
      interpreter.budget().scan(self_.text().size());
    return function_(interpreter, self_, arguments);
  }

 private:
  Value self_;
  std::string name_;
  FilterFunction function_;
};

/// An attribute in Python's sense; false when there is none.
bool find_attribute(Interpreter& interpreter, const Value& object, const std::string& name,
                    Value& out) {
  if (object.is_object())
    return object.object().get(interpreter, name, out);
  if (object.is_sequence() && object.sequence().group && (name == "grouper" || name == "list")) {
    out = object.sequence().items[name == "list"];
    return true;
  }
  if (const FilterFunction method = find_method(object, name)) {
    out = Value(Value::Thing(std::make_shared<Method>(object, name, method)));
    return true;
  }
  if (!changes_object(object, name))
    return false;
  out = Value::undefined("access to attribute '" + name + "' of '" + object.type_name() +
                         "' object is unsafe: templates must not change their data");
  return true;
}

/// An item in Python's sense; false when there is none or the object has no items.
bool find_item(const Value& object, const Value& key, Value& out, Budget& budget) {
  if (object.is_dict()) {
    if (key.is_dict() ||
        (key.is_sequence() && key.sequence().kind != Sequence::Kind::tuple)) // unhashable
      return false;
    const Value* found = object.dict().find(key, budget);
    if (found)
      out = *found;
    return found;
  }
  if (!key.is_integral())
    return false;
  std::int64_t at = key.integer();
  if (object.is_text()) {
    budget.scan(object.text().size());
    const auto size = std::int64_t(text_length(object.text()));
    at += at < 0 ? size : 0;
    if (at < 0 || at >= size)
      return false;
    const std::size_t byte = byte_of(object.text(), std::size_t(at));
    out = object.text().substr(byte, character_size(object.text(), byte));
    return true;
  }
  if (!object.is_sequence())
    return false;
  const Sequence& sequence = object.sequence();
  if (sequence.kind != Sequence::Kind::list && sequence.kind != Sequence::Kind::tuple &&
      sequence.kind != Sequence::Kind::range)
    return false;
  const auto size = std::int64_t(sequence.items.size());
  at += at < 0 ? size : 0;
  if (at < 0 || at >= size)
    return false;
  out = sequence.items[std::size_t(at)];
  return true;
}

Value missing(const Value& object, const Value& key, Budget& budget) {
  const std::string owner = object.is_none() ? "None" : object.type_name() + " object";
  if (key.is_text())
    return Value::undefined("'" + owner + "' has no attribute '" + key.text() + "'");
  return Value::undefined("'" + owner + "' has no element " + to_repr(key, budget));
}

} // namespace

Value Interpreter::attribute(const Value& object, const std::string& name) {
  if (object.is_undefined())
    fail(object.why_undefined());
  Value out;
  if (find_attribute(*this, object, name, out) || find_item(object, Value(name), out, budget_))
    return out;
  return missing(object, Value(name), budget_);
}

Value Interpreter::item(const Value& object, const Value& key) {
  if (object.is_undefined())
    fail(object.why_undefined());
  Value out;
  if (find_item(object, key, out, budget_) ||
      (key.is_text() && find_attribute(*this, object, key.text(), out)))
    return out;
  return missing(object, key, budget_);
}

} // namespace bitlathe::jinja
