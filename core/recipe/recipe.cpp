// SPDX-License-Identifier: Apache-2.0
#include "core/recipe/recipe.h"

#include "core/io/files.h"

#include <regex>
#include <set>

namespace bitlathe {

namespace {

Result<void> only_keys(const Json& object, const std::set<std::string>& known,
                       const std::string& where) {
  if (!object.is_object())
    return Error{"bad-file", std::string("Expected an object, not ") + object.type_name(), where};
  for (const auto& [key, value] : object.items())
    if (!known.count(key)) {
      std::string names;
      for (const auto& name : known)
        names += (names.empty() ? "" : ", ") + name;
      return Error{"bad-file", "Unknown key \"" + key + "\"; known here: " + names, where};
    }
  return {};
}

Result<Json> params_of(const Json& object, const std::string& where) {
  const auto it = object.find("params");
  if (it == object.end() || it->is_null())
    return Json::object();
  if (!it->is_object())
    return Error{"bad-file", "\"params\" must be an object", where};
  return *it;
}

Result<std::int64_t> at_least(const Json& object, const char* key, std::int64_t otherwise,
                              std::int64_t low, const std::string& where) {
  TRY_ASSIGN(const std::int64_t value, json_int_or(object, key, otherwise, where));
  if (value < low)
    return Error{"bad-file", std::string("\"") + key + "\" must be at least " + std::to_string(low),
                 where};
  return value;
}

Result<void> read_calibration(const Json& json, Recipe& recipe, const std::string& where) {
  TRY(only_keys(json, {"files", "samples", "length", "seed", "inputs"}, where));
  if (const auto files = json.find("files"); files != json.end()) {
    if (!files->is_array())
      return Error{"bad-file", "\"files\" must be a list", where};
    for (const Json& file : *files) {
      CalibrationFile entry;
      if (file.is_string()) {
        entry.path = file.get<std::string>();
      } else {
        TRY(only_keys(file, {"path", "weight", "field", "split", "split_seed"}, where));
        TRY_ASSIGN(entry.field, json_string_or(file, "field", "", where));
        TRY_ASSIGN(entry.path, json_string(file, "path", where));
        TRY_ASSIGN(entry.split, json_string_or(file, "split", "", where));
        TRY_ASSIGN(entry.split_seed, json_int_or(file, "split_seed", 0, where));
        if (!entry.split.empty() && entry.split != "calibration" && entry.split != "selection" &&
            entry.split != "evaluation")
          return Error{"bad-file", "\"split\" is \"calibration\", \"selection\" or \"evaluation\"",
                       where + ": " + entry.path};
        TRY_ASSIGN(entry.weight, json_number_or(file, "weight", 1.0, where));
        if (!(entry.weight > 0))
          return Error{"bad-file", "A calibration file's weight must be above 0",
                       where + ": " + entry.path};
      }
      recipe.calibration_files.push_back(entry);
    }
  }
  TRY_ASSIGN(recipe.samples, at_least(json, "samples", recipe.samples, 1, where));
  TRY_ASSIGN(recipe.length, at_least(json, "length", recipe.length, 2, where));
  TRY_ASSIGN(recipe.calibration_seed, json_int_or(json, "seed", recipe.calibration_seed, where));
  TRY_ASSIGN(recipe.calibration_inputs,
             json_string_or(json, "inputs", recipe.calibration_inputs, where));
  if (recipe.calibration_inputs != "quantized" && recipe.calibration_inputs != "original")
    return Error{"bad-file", "\"inputs\" is \"quantized\" or \"original\"", where};
  return {};
}

} // namespace

Result<Recipe> recipe_from_json(const Json& json, const std::string& where) {
  Recipe recipe;
  TRY(only_keys(json,
                {"version", "default", "rules", "exclude", "activations", "observer",
                 "activation_observer", "kv", "calibration", "seed"},
                where));
  TRY_ASSIGN(const std::int64_t version, json_int(json, "version", where));
  if (version != 1)
    return Error{"unsupported",
                 "Recipe version " + std::to_string(version) + " is not known; this is version 1",
                 where};
  if (const auto it = json.find("default"); it != json.end()) {
    TRY(only_keys(*it, {"scheme", "method", "params"}, where + ": default"));
    TRY_ASSIGN(recipe.default_scheme, json_string_or(*it, "scheme", recipe.default_scheme, where));
    TRY_ASSIGN(recipe.default_method, json_string_or(*it, "method", recipe.default_method, where));
    TRY_ASSIGN(recipe.default_params, params_of(*it, where));
  }
  if (const auto it = json.find("rules"); it != json.end()) {
    if (!it->is_array())
      return Error{"bad-file", "\"rules\" must be a list", where};
    for (std::size_t i = 0; i < it->size(); ++i) {
      const std::string place = where + ": rule " + std::to_string(i + 1);
      TRY(only_keys((*it)[i], {"match", "scheme", "method", "params"}, place));
      Rule rule;
      TRY_ASSIGN(rule.match, json_string((*it)[i], "match", place));
      TRY_ASSIGN(rule.scheme, json_string_or((*it)[i], "scheme", "", place));
      TRY_ASSIGN(rule.method, json_string_or((*it)[i], "method", "", place));
      TRY_ASSIGN(rule.params, params_of((*it)[i], place));
      recipe.rules.push_back(std::move(rule));
    }
  }
  if (const auto it = json.find("exclude"); it != json.end()) {
    if (!it->is_array())
      return Error{"bad-file", "\"exclude\" must be a list", where};
    for (const Json& pattern : *it) {
      if (!pattern.is_string())
        return Error{"bad-file", "\"exclude\" must hold patterns", where};
      recipe.exclude.push_back(pattern.get<std::string>());
    }
  }
  TRY_ASSIGN(recipe.activations, json_string_or(json, "activations", recipe.activations, where));
  TRY_ASSIGN(recipe.observer, json_string_or(json, "observer", recipe.observer, where));
  TRY_ASSIGN(recipe.activation_observer,
             json_string_or(json, "activation_observer", recipe.activation_observer, where));
  if (const auto it = json.find("kv"); it != json.end()) {
    TRY(only_keys(*it, {"k", "v"}, where + ": kv"));
    TRY_ASSIGN(recipe.kv_keys, json_string_or(*it, "k", recipe.kv_keys, where));
    TRY_ASSIGN(recipe.kv_values, json_string_or(*it, "v", recipe.kv_values, where));
  }
  if (const auto it = json.find("calibration"); it != json.end())
    TRY(read_calibration(*it, recipe, where + ": calibration"));
  TRY_ASSIGN(recipe.seed, json_int_or(json, "seed", 0, where));
  return recipe;
}

OrderedJson recipe_to_json(const Recipe& recipe) {
  OrderedJson json;
  json["version"] = 1;
  json["default"] = {{"scheme", recipe.default_scheme},
                     {"method", recipe.default_method},
                     {"params", recipe.default_params}};
  json["rules"] = OrderedJson::array();
  for (const Rule& rule : recipe.rules) {
    OrderedJson entry;
    entry["match"] = rule.match;
    if (!rule.scheme.empty())
      entry["scheme"] = rule.scheme;
    if (!rule.method.empty())
      entry["method"] = rule.method;
    if (!rule.params.empty())
      entry["params"] = rule.params;
    json["rules"].push_back(std::move(entry));
  }
  json["exclude"] = recipe.exclude;
  json["activations"] = recipe.activations;
  json["observer"] = recipe.observer;
  json["activation_observer"] = recipe.activation_observer;
  json["kv"] = {{"k", recipe.kv_keys}, {"v", recipe.kv_values}};
  OrderedJson files = OrderedJson::array();
  for (const CalibrationFile& file : recipe.calibration_files) {
    OrderedJson entry{{"path", file.path}, {"weight", file.weight}};
    if (!file.field.empty())
      entry["field"] = file.field;
    if (!file.split.empty()) {
      entry["split"] = file.split;
      entry["split_seed"] = file.split_seed;
    }
    files.push_back(std::move(entry));
  }
  json["calibration"] = {{"files", files},
                         {"samples", recipe.samples},
                         {"length", recipe.length},
                         {"seed", recipe.calibration_seed},
                         {"inputs", recipe.calibration_inputs}};
  json["seed"] = recipe.seed;
  return json;
}

Result<Recipe> read_recipe(const std::filesystem::path& path) {
  TRY_ASSIGN(const Json json, read_json_file(path));
  // The manifest of an export holds the recipe that it was made by.
  if (json.is_object() && json.contains("bitlathe_export")) {
    if (const auto recipe = json.find("recipe"); recipe != json.end())
      return recipe_from_json(*recipe, path.string() + ": recipe");
    return Error{"bad-argument",
                 "This manifest has no recipe: its export was not made from a quantization",
                 path.string()};
  }
  return recipe_from_json(json, path.string());
}

Result<void> write_recipe(const std::filesystem::path& path, const Recipe& recipe) {
  return write_file(path, recipe_to_json(recipe).dump(2) + "\n");
}

Result<bool> pattern_matches(const std::string& pattern, const std::string& name) {
  if (pattern.rfind("re:", 0) == 0) {
    try {
      return std::regex_search(name, std::regex(pattern.substr(3), std::regex::ECMAScript));
    } catch (const std::regex_error& e) {
      return Error{"bad-argument", std::string("Invalid regular expression: ") + e.what(), pattern};
    }
  }
  // Glob by backtracking to the last star: linear in practice, never exponential.
  std::size_t p = 0, n = 0, star = std::string::npos, resume = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = n;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      ++p;
      ++n;
    } else if (star != std::string::npos) {
      p = star + 1;
      n = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*')
    ++p;
  return p == pattern.size();
}

} // namespace bitlathe
