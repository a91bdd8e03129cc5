// SPDX-License-Identifier: Apache-2.0
// Functions that every template has.
#include "core/chat/jinja/objects.h"
#include "core/chat/jinja/text.h"

#include <ctime>

namespace bitlathe::jinja {
namespace {

constexpr std::int64_t longest_range = 100'000; ///< as in Jinja's sandbox

Value make_range(Interpreter& at, Arguments& a) {
  const Bound bound("range", a, {"start", "stop", "step"}, 1);
  const bool one = !bound.has(1);
  const std::int64_t start = one ? 0 : bound.integer(0, 0);
  const std::int64_t stop = one ? bound.integer(0, 0) : bound.integer(1, 0);
  const std::int64_t step = bound.integer(2, 1);
  if (step == 0)
    fail("range() arg 3 must not be zero");
  std::vector<Value> items;
  for (std::int64_t i = start; step > 0 ? i < stop : i > stop;) {
    if (std::int64_t(items.size()) == longest_range)
      fail("Range too big. Ranges in templates have at most " + std::to_string(longest_range) +
           " numbers");
    at.budget().step();
    items.emplace_back(i);
    if (__builtin_add_overflow(i, step, &i))
      break;
  }
  return make_sequence(Sequence::Kind::range, std::move(items), at.budget());
}

/// What dict(...) and namespace(...) are made of.
Dict make_entries(Interpreter& at, const Arguments& a, const char* name) {
  Dict out;
  if (a.positional.size() > 1)
    fail(std::string(name) + " takes one mapping at most");
  if (!a.positional.empty()) {
    const Value& from = a.positional[0];
    if (from.is_dict()) {
      for (const auto& [key, value] : from.dict().entries)
        out.set(key, value, at.budget());
    } else {
      for (const Value& pair : items_of(from, at.budget())) {
        const auto both = items_of(pair, at.budget());
        if (both.size() != 2)
          fail(std::string(name) + " needs pairs of a key and a value");
        out.set(both[0], both[1], at.budget());
      }
    }
  }
  for (const auto& [key, value] : a.keywords)
    out.set(Value(key), value, at.budget());
  return out;
}

Value make_namespace(Interpreter& at, Arguments& a) {
  const auto out = std::make_shared<Namespace>();
  at.keep(out);
  at.budget().items(8);
  for (auto& [key, value] : make_entries(at, a, "namespace").entries)
    if (key.is_text())
      out->attributes[key.text()] = value;
  return Value(Value::Thing(out));
}

Value strftime_now(Interpreter& at, Arguments& a) {
  const Bound bound("strftime_now", a, {"format"}, 1);
  const std::string& format = bound.text(0);
  if (format.size() > 1000)
    fail("strftime_now: the format is longer than 1000 characters");
  for (std::size_t i = 0; i + 1 < format.size(); ++i)
    if (format[i] == '%' && format[i + 1] >= '0' && format[i + 1] <= '9')
      fail("strftime_now: widths are not supported in a format");
  const auto seconds = std::time_t(at.now());
  std::tm parts{};
  localtime_r(&seconds, &parts);
  std::string out(format.size() * 32 + 64, '\0');
  // A blank at the end tells an empty result from one that did not fit.
  out.resize(std::strftime(out.data(), out.size(), (format + " ").c_str(), &parts));
  if (!out.empty())
    out.pop_back();
  return make_text(valid_utf8(out), at.budget());
}

class Cycler final : public Object {
 public:
  explicit Cycler(std::vector<Value> items) : items_(std::move(items)) {}
  std::string type_name() const override { return "Cycler"; }
  std::string text() const override { return "<Cycler>"; }
  bool get(Interpreter&, const std::string& name, Value& out) override {
    if (name == "current") {
      out = items_[at_];
      return true;
    }
    if (name != "next" && name != "reset")
      return false;
    out =
        make_function(name, [self = self_.lock(), next = name == "next"](Interpreter&, Arguments&) {
          const Value now = self->items_[self->at_];
          self->at_ = next ? (self->at_ + 1) % self->items_.size() : 0;
          return next ? now : Value(None{});
        });
    return true;
  }
  std::weak_ptr<Cycler> self_;

 private:
  std::vector<Value> items_;
  std::size_t at_ = 0;
};

Value make_cycler(Interpreter&, Arguments& a) {
  if (a.positional.empty())
    fail("cycler: at least one item has to be provided");
  const auto out = std::make_shared<Cycler>(a.positional);
  out->self_ = out;
  return Value(Value::Thing(out));
}

Value make_joiner(Interpreter&, Arguments& a) {
  const Bound bound("joiner", a, {"sep"});
  const auto used = std::make_shared<bool>(false);
  return make_function(
      "joiner", [used, between = bound.has(0) ? bound[0] : Value(", ")](Interpreter&, Arguments&) {
        return std::exchange(*used, true) ? between : Value("");
      });
}

} // namespace

void add_globals(Scope& scope) {
  const auto add = [&](const char* name, Function::Body body) {
    scope.names[name] = make_function(name, std::move(body));
  };
  add("range", make_range);
  add("namespace", make_namespace);
  add("dict", [](Interpreter& at, Arguments& a) { return make_dict(make_entries(at, a, "dict")); });
  add("cycler", make_cycler);
  add("joiner", make_joiner);
  add("strftime_now", strftime_now);
  add("raise_exception", [](Interpreter& at, Arguments& a) -> Value {
    const Bound bound("raise_exception", a, {"message"}, 1);
    fail("The template refuses this conversation: " + at.text(bound[0]));
  });
}

} // namespace bitlathe::jinja
