// SPDX-License-Identifier: Apache-2.0
// Methods of dicts, lists and tuples, and where methods are looked up.
#include "core/chat/jinja/objects.h"

#include <algorithm>

namespace bitlathe::jinja {
namespace {

using Table = std::unordered_map<std::string, FilterFunction>;

Value view(Interpreter& at, const Value& value, Sequence::Kind kind) {
  std::vector<Value> items;
  for (const auto& [key, one] : value.dict().entries)
    items.push_back(kind == Sequence::Kind::keys     ? key
                    : kind == Sequence::Kind::values ? one
                                                     : make_tuple({key, one}, at.budget()));
  return make_sequence(kind, std::move(items), at.budget());
}

const Table& dict_methods() {
  static const Table all{
      {"get",
       [](Interpreter& at, const Value& self, Arguments& a) {
         const Bound bound("get", a, {"key", "default"}, 1);
         const Value* found = self.dict().find(bound[0], at.budget());
         return found ? *found : bound.has(1) ? bound[1] : Value(None{});
       }},
      {"items", [](Interpreter& at, const Value& self,
                   Arguments&) { return view(at, self, Sequence::Kind::items); }},
      {"keys", [](Interpreter& at, const Value& self,
                  Arguments&) { return view(at, self, Sequence::Kind::keys); }},
      {"values", [](Interpreter& at, const Value& self,
                    Arguments&) { return view(at, self, Sequence::Kind::values); }},
      {"copy", [](Interpreter&, const Value& self, Arguments&) { return self; }},
  };
  return all;
}

const Table& list_methods() {
  static const Table all{
      {"count",
       [](Interpreter& at, const Value& self, Arguments& a) {
         const Bound bound("count", a, {"value"}, 1);
         std::int64_t count = 0;
         for (const Value& item : self.sequence().items)
           count += equal(item, bound[0], at.budget());
         return Value(count);
       }},
      {"index",
       [](Interpreter& at, const Value& self, Arguments& a) {
         const Bound bound("index", a, {"value", "start", "stop"}, 1);
         const auto& items = self.sequence().items;
         const auto size = std::int64_t(items.size());
         const auto place = [&](std::int64_t i) {
           return std::clamp<std::int64_t>(i < 0 ? i + size : i, 0, size);
         };
         for (std::int64_t i = place(bound.integer(1, 0)); i < place(bound.integer(2, size)); ++i)
           if (equal(items[std::size_t(i)], bound[0], at.budget()))
             return Value(i);
         fail(to_repr(bound[0], at.budget()) + " is not in list");
       }},
      {"copy", [](Interpreter& at, const Value& self,
                  Arguments&) { return make_list(self.sequence().items, at.budget()); }},
  };
  return all;
}

FilterFunction in(const Table& table, const std::string& name) {
  const auto it = table.find(name);
  return it == table.end() ? nullptr : it->second;
}

bool one_of(const std::string& name, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

} // namespace

FilterFunction find_method(const Value& object, const std::string& name) {
  if (object.is_text())
    return find_text_method(name);
  if (object.is_dict())
    return in(dict_methods(), name);
  if (!object.is_sequence())
    return nullptr;
  switch (object.sequence().kind) {
  case Sequence::Kind::list:
    return in(list_methods(), name);
  case Sequence::Kind::tuple:
  case Sequence::Kind::range:
    return name == "copy" ? nullptr : in(list_methods(), name);
  default:
    return nullptr;
  }
}

bool changes_object(const Value& object, const std::string& name) {
  if (object.is_dict())
    return one_of(name, {"clear", "pop", "popitem", "setdefault", "update"});
  if (object.is_sequence() && object.sequence().kind == Sequence::Kind::list)
    return one_of(name,
                  {"append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"});
  return false;
}

} // namespace bitlathe::jinja
