// SPDX-License-Identifier: Apache-2.0
// Filters on lists, dicts and numbers. What Jinja gives as a generator is one here: true even when
// empty, without a length, and used up by going through it.
#include "core/chat/jinja/objects.h"
#include "core/chat/jinja/text.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace bitlathe::jinja {
namespace {

using F = FilterFunction;

Value generator(std::vector<Value> items, Interpreter& at) {
  return make_sequence(Sequence::Kind::generator, std::move(items), at.budget());
}

/// Reads "a.b.0" from an item; `otherwise` replaces what is missing.
class Getter {
 public:
  Getter(Interpreter& at, const Value* attribute, const Value* otherwise = nullptr,
         bool ignore_case = false)
      : at_(at), otherwise_(otherwise), ignore_case_(ignore_case) {
    if (!attribute || attribute->is_none())
      return;
    if (!attribute->is_text()) {
      parts_.push_back(*attribute);
      return;
    }
    const std::string& path = attribute->text();
    for (std::size_t begin = 0; begin <= path.size();) {
      const std::size_t end = std::min(path.find('.', begin), path.size());
      const std::string part = path.substr(begin, end - begin);
      std::int64_t index = 0;
      const auto read = std::from_chars(part.data(), part.data() + part.size(), index);
      if (!part.empty() && part[0] != '-' && read.ec == std::errc() &&
          read.ptr == part.data() + part.size())
        parts_.emplace_back(index);
      else
        parts_.emplace_back(part);
      begin = end + 1;
    }
  }
  Value operator()(Value item) const {
    for (const Value& part : parts_) {
      item = at_.item(item, part);
      if (item.is_undefined() && otherwise_ && !otherwise_->is_none())
        item = *otherwise_;
    }
    if (ignore_case_ && item.is_text())
      return make_text(lower(item.text()), at_.budget());
    return item;
  }

 private:
  Interpreter& at_;
  const Value* otherwise_;
  bool ignore_case_;
  std::vector<Value> parts_;
};

const Value* optional(const Bound& bound, std::size_t i) {
  return bound.has(i) ? &bound[i] : nullptr;
}

/// Sorts by keys; equal ones keep their order, also in reverse.
std::vector<Value> sorted(std::vector<Value> items, const std::vector<Value>& keys, bool reverse,
                          Budget& budget) {
  std::vector<std::size_t> order(items.size());
  for (std::size_t i = 0; i < order.size(); ++i)
    order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return reverse ? less(keys[b], keys[a], "<", budget) : less(keys[a], keys[b], "<", budget);
  });
  std::vector<Value> out;
  for (const std::size_t i : order)
    out.push_back(std::move(items[i]));
  return out;
}

Value f_sort(Interpreter& at, const Value& value, Arguments& a) {
  const Bound bound("sort", a, {"reverse", "case_sensitive", "attribute"});
  std::vector<Getter> getters;
  if (bound.given(2) && bound[2].is_text()) {
    const std::string& list = bound[2].text();
    for (std::size_t begin = 0; begin <= list.size();) {
      const std::size_t end = std::min(list.find(',', begin), list.size());
      const Value one(list.substr(begin, end - begin));
      getters.emplace_back(at, &one, nullptr, !bound.truth(1, false));
      begin = end + 1;
    }
  } else {
    getters.emplace_back(at, optional(bound, 2), nullptr, !bound.truth(1, false));
  }
  auto items = items_of(value, at.budget());
  std::vector<Value> keys;
  for (const Value& item : items) {
    std::vector<Value> key;
    for (const Getter& get : getters)
      key.push_back(get(item));
    keys.push_back(make_list(std::move(key), at.budget()));
  }
  return make_list(sorted(std::move(items), keys, bound.truth(0, false), at.budget()), at.budget());
}

Value f_dictsort(Interpreter& at, const Value& value, Arguments& a) {
  const Bound bound("dictsort", a, {"case_sensitive", "by", "reverse"});
  const std::string by = bound.has(1) ? bound.text(1) : "key";
  if (by != "key" && by != "value")
    fail("dictsort: You can only sort by either \"key\" or \"value\"");
  if (!value.is_dict())
    fail("dictsort needs a dict, not " + value.type_name());
  std::vector<Value> items, keys;
  for (const auto& [key, one] : value.dict().entries) {
    items.push_back(make_tuple({key, one}, at.budget()));
    Value sort_key = by == "key" ? key : one;
    if (!bound.truth(0, false) && sort_key.is_text())
      sort_key = make_text(lower(sort_key.text()), at.budget());
    keys.push_back(std::move(sort_key));
  }
  return make_list(sorted(std::move(items), keys, bound.truth(2, false), at.budget()), at.budget());
}

Value f_groupby(Interpreter& at, const Value& value, Arguments& a) {
  const Bound bound("groupby", a, {"attribute", "default", "case_sensitive"}, 1);
  const Getter shown(at, &bound[0], optional(bound, 1));
  const Getter compared(at, &bound[0], optional(bound, 1), !bound.truth(2, false));
  auto items = items_of(value, at.budget());
  std::vector<Value> keys;
  for (const Value& item : items)
    keys.push_back(compared(item));
  items = sorted(std::move(items), keys, false, at.budget());
  std::vector<Value> out;
  for (std::size_t begin = 0; begin < items.size();) {
    const Value key = compared(items[begin]);
    std::vector<Value> group;
    std::size_t end = begin;
    while (end < items.size() && equal(compared(items[end]), key, at.budget()))
      group.push_back(items[end++]);
    if (end == begin) // a NaN equals nothing, not even itself
      group.push_back(items[end++]);
    const Value pair =
        make_tuple({shown(items[begin]), make_list(std::move(group), at.budget())}, at.budget());
    pair.sequence().group = true;
    out.push_back(pair);
    begin = end;
  }
  return make_list(std::move(out), at.budget());
}

Value f_unique(Interpreter& at, const Value& value, Arguments& a) {
  const Bound bound("unique", a, {"case_sensitive", "attribute"});
  const Getter get(at, optional(bound, 1), nullptr, !bound.truth(0, false));
  std::unordered_map<std::string, bool> seen;
  std::vector<Value> out;
  for (const Value& item : items_of(value, at.budget()))
    if (seen.emplace(hash_key(get(item), at.budget()), true).second)
      out.push_back(item);
  return generator(std::move(out), at);
}

Value extreme(Interpreter& at, const Value& value, Arguments& a, bool largest) {
  const Bound bound(largest ? "max" : "min", a, {"case_sensitive", "attribute"});
  const Getter get(at, optional(bound, 1), nullptr, !bound.truth(0, false));
  const auto items = items_of(value, at.budget());
  if (items.empty())
    return Value::undefined("No aggregated item, sequence was empty.");
  std::size_t best = 0;
  Value best_key = get(items[0]);
  for (std::size_t i = 1; i < items.size(); ++i) {
    const Value key = get(items[i]);
    if (largest ? less(best_key, key, ">", at.budget()) : less(key, best_key, "<", at.budget())) {
      best = i;
      best_key = key;
    }
  }
  return items[best];
}

Value f_map(Interpreter& at, const Value& value, Arguments& a) {
  std::vector<Value> out;
  if (!value.truth())
    return generator({}, at);
  if (a.positional.empty()) {
    const Bound bound("map", a, {"attribute", "default"}, 1);
    const Getter get(at, &bound[0], optional(bound, 1));
    for (const Value& item : items_of(value, at.budget()))
      out.push_back(get(item));
    return generator(std::move(out), at);
  }
  if (!a.positional[0].is_text())
    fail("map needs the name of a filter");
  const std::string name = a.positional[0].text();
  Arguments rest = a;
  rest.positional.erase(rest.positional.begin());
  for (const Value& item : items_of(value, at.budget())) {
    Arguments given = rest;
    at.budget().items(given.positional.size() + given.keywords.size());
    out.push_back(at.filter(name, item, given));
  }
  return generator(std::move(out), at);
}

Value chosen(Interpreter& at, const Value& value, Arguments& a, bool wanted, bool by_attribute) {
  if (!value.truth())
    return generator({}, at);
  Arguments rest = a;
  Value attribute = None{};
  if (by_attribute) {
    if (rest.positional.empty())
      fail("Missing parameter for attribute name");
    attribute = rest.positional[0];
    rest.positional.erase(rest.positional.begin());
  }
  const Getter get(at, by_attribute ? &attribute : nullptr);
  std::string test;
  if (!rest.positional.empty()) {
    if (!rest.positional[0].is_text())
      fail("The test to select by must be named by a text");
    test = rest.positional[0].text();
    rest.positional.erase(rest.positional.begin());
  }
  std::vector<Value> out;
  for (const Value& item : items_of(value, at.budget())) {
    const Value looked_at = get(item);
    Arguments given = rest;
    at.budget().items(given.positional.size() + given.keywords.size());
    if ((test.empty() ? looked_at.truth() : at.test(test, looked_at, given)) == wanted)
      out.push_back(item);
  }
  return generator(std::move(out), at);
}

Value f_join(Interpreter& at, const Value& value, Arguments& a) {
  const Bound bound("join", a, {"d", "attribute"});
  const std::string between = bound.has(0) ? at.text(bound[0]) : std::string();
  const Getter get(at, optional(bound, 1));
  std::string out;
  bool first = true;
  for (const Value& item : items_of(value, at.budget())) {
    if (!first) {
      at.budget().bytes(between.size());
      out += between;
    }
    first = false;
    out += at.text(get(item));
  }
  return out;
}

Value f_reverse(Interpreter& at, const Value& value, Arguments&) {
  if (value.is_text()) {
    std::u32string text = wide(value.text());
    std::reverse(text.begin(), text.end());
    return make_text(narrow(text), at.budget());
  }
  auto items = items_of(value, at.budget());
  std::reverse(items.begin(), items.end());
  return generator(std::move(items), at);
}

Value f_batch(Interpreter& at, const Value& value, Arguments& a) {
  const Bound bound("batch", a, {"linecount", "fill_with"}, 1);
  const std::int64_t size = bound.integer(0, 1);
  std::vector<Value> out, row;
  for (const Value& item : items_of(value, at.budget())) {
    if (std::int64_t(row.size()) == size)
      out.push_back(make_list(std::exchange(row, {}), at.budget()));
    row.push_back(item);
  }
  if (!row.empty()) {
    while (bound.given(1) && std::int64_t(row.size()) < size) {
      at.budget().items(1);
      row.push_back(bound[1]);
    }
    out.push_back(make_list(std::move(row), at.budget()));
  }
  return generator(std::move(out), at);
}

Value f_slice(Interpreter& at, const Value& value, Arguments& a) {
  const Bound bound("slice", a, {"slices", "fill_with"}, 1);
  const std::int64_t slices = bound.integer(0, 1);
  if (slices == 0)
    fail("slice: integer division by zero");
  const auto items = items_of(value, at.budget());
  std::vector<Value> out;
  std::size_t from = 0;
  for (std::int64_t i = 0; i < slices; ++i) {
    const bool extra = i < std::int64_t(items.size()) % slices;
    const std::size_t to = from + items.size() / std::size_t(slices) + extra;
    std::vector<Value> one(items.begin() + std::ptrdiff_t(from),
                           items.begin() + std::ptrdiff_t(to));
    if (bound.given(1) && !extra)
      one.push_back(bound[1]);
    at.budget().items(2);
    out.push_back(make_list(std::move(one), at.budget()));
    from = to;
  }
  return generator(std::move(out), at);
}

} // namespace

FilterFunction find_filter(const std::string& name) {
  static const F length = [](Interpreter& at, const Value& v, Arguments&) {
    return Value(length_of(v, at.budget()));
  };
  static const F otherwise = [](Interpreter&, const Value& v, Arguments& a) {
    const Bound bound("default", a, {"default_value", "boolean"});
    if (v.is_undefined() || (bound.truth(1, false) && !v.truth()))
      return bound.has(0) ? bound[0] : Value("");
    return v;
  };
  static const std::unordered_map<std::string, F> all{
      {"length", length},
      {"count", length},
      {"default", otherwise},
      {"d", otherwise},
      {"first",
       [](Interpreter& at, const Value& v, Arguments&) {
         if (v.is_sequence() && v.sequence().kind == Sequence::Kind::generator) {
           Sequence& rest = v.sequence();
           if (rest.taken < rest.items.size())
             return rest.items[rest.taken++];
         } else if (v.is_text() && !v.text().empty()) {
           return Value(v.text().substr(0, character_size(v.text(), 0)));
         } else if (const auto items = items_of(v, at.budget()); !items.empty()) {
           return items.front();
         }
         return Value::undefined("No first item, sequence was empty.");
       }},
      {"last",
       [](Interpreter& at, const Value& v, Arguments&) {
         if (v.is_sequence() && v.sequence().kind == Sequence::Kind::generator)
           fail("'generator' object is not reversible: put |list in front of |last");
         const auto items = items_of(v, at.budget());
         return items.empty() ? Value::undefined("No last item, sequence was empty.")
                              : items.back();
       }},
      {"list", [](Interpreter& at, const Value& v,
                  Arguments&) { return make_list(items_of(v, at.budget()), at.budget()); }},
      {"items",
       [](Interpreter& at, const Value& v, Arguments& a) {
         if (v.is_undefined())
           return generator({}, at);
         if (!v.is_dict())
           fail("Can only get item pairs from a mapping.");
         return generator(items_of(find_method(v, "items")(at, v, a), at.budget()), at);
       }},
      {"attr",
       [](Interpreter& at, const Value& v, Arguments& a) {
         const Bound bound("attr", a, {"name"}, 1);
         if (v.is_dict() && !find_method(v, bound.text(0)))
           return Value::undefined("'dict object' has no attribute '" + bound.text(0) + "'");
         return at.attribute(v, bound.text(0));
       }},
      {"sum",
       [](Interpreter& at, const Value& v, Arguments& a) {
         const Bound bound("sum", a, {"attribute", "start"});
         const Getter get(at, optional(bound, 0));
         Value out = bound.has(1) ? bound[1] : Value(0);
         for (const Value& item : items_of(v, at.budget()))
           out = at.binary("+", out, get(item));
         return out;
       }},
      {"min",
       [](Interpreter& at, const Value& v, Arguments& a) { return extreme(at, v, a, false); }},
      {"max",
       [](Interpreter& at, const Value& v, Arguments& a) { return extreme(at, v, a, true); }},
      {"select",
       [](Interpreter& at, const Value& v, Arguments& a) { return chosen(at, v, a, true, false); }},
      {"reject", [](Interpreter& at, const Value& v,
                    Arguments& a) { return chosen(at, v, a, false, false); }},
      {"selectattr",
       [](Interpreter& at, const Value& v, Arguments& a) { return chosen(at, v, a, true, true); }},
      {"rejectattr",
       [](Interpreter& at, const Value& v, Arguments& a) { return chosen(at, v, a, false, true); }},
      {"map", f_map},
      {"join", f_join},
      {"sort", f_sort},
      {"dictsort", f_dictsort},
      {"groupby", f_groupby},
      {"unique", f_unique},
      {"reverse", f_reverse},
      {"batch", f_batch},
      {"slice", f_slice},
  };
  const auto it = all.find(name);
  if (it != all.end())
    return it->second;
  const FilterFunction number = find_number_filter(name);
  return number ? number : find_text_filter(name);
}

} // namespace bitlathe::jinja
