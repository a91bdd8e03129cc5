// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/cli/recipe_options.h"

#include "app/cli/steps.h"

#include "core/engine/engine.h"

#include <cstdlib>

namespace bitlathe {

namespace {

/// PATTERN=SCHEME[:METHOD]; the last '=' separates, as patterns may hold one.
Result<Rule> parse_set(const std::string& text) {
  const auto equals = text.rfind('=');
  if (equals == std::string::npos || equals == 0)
    return usage_error("--set takes PATTERN=SCHEME[:METHOD], not \"" + text + "\"");
  Rule rule;
  rule.match = text.substr(0, equals);
  const std::string value = text.substr(equals + 1);
  const auto colon = value.find(':');
  rule.scheme = value.substr(0, colon);
  if (colon != std::string::npos)
    rule.method = value.substr(colon + 1);
  return rule;
}

/// METHOD.KEY=VALUE goes to the default and to every rule that use METHOD.
Result<void> apply_param(const std::string& text, Recipe& recipe) {
  const auto equals = text.find('='), dot = text.find('.');
  if (equals == std::string::npos || dot == std::string::npos || dot > equals)
    return usage_error("--param takes METHOD.KEY=VALUE, not \"" + text + "\"");
  const std::string method = text.substr(0, dot), key = text.substr(dot + 1, equals - dot - 1);
  const std::string number = text.substr(equals + 1);
  char* end = nullptr;
  const double value = std::strtod(number.c_str(), &end);
  if (number.empty() || *end)
    return usage_error("--param " + text + ": the value must be a number");
  bool used = false;
  if (recipe.default_method == method) {
    recipe.default_params[key] = value;
    used = true;
  }
  for (Rule& rule : recipe.rules)
    if (rule.method == method) {
      rule.params[key] = value;
      used = true;
    }
  if (!used)
    return usage_error("--param " + text + ": the recipe does not use method \"" + method + "\"");
  return {};
}

} // namespace

Result<Recipe> recipe_from_options(const Invocation& invocation) {
  Recipe recipe;
  if (invocation.has("recipe")) {
    TRY_ASSIGN(recipe, read_recipe(invocation.text("recipe")));
  }
  if (invocation.has("scheme"))
    recipe.default_scheme = invocation.text("scheme");
  if (invocation.has("method")) {
    recipe.default_method = invocation.text("method");
    recipe.default_params = Json::object();
  }
  for (const std::string& text : invocation.list("set")) {
    TRY_ASSIGN(Rule rule, parse_set(text));
    recipe.rules.push_back(std::move(rule));
  }
  for (const std::string& pattern : invocation.list("exclude"))
    recipe.exclude.push_back(pattern);
  recipe.activations = invocation.text("activations", recipe.activations);
  recipe.observer = invocation.text("observer", recipe.observer);
  recipe.activation_observer = invocation.text("activation-observer", recipe.activation_observer);
  if (invocation.has("kv")) {
    TRY_ASSIGN(const KvScheme kv, parse_kv(invocation.text("kv")));
    recipe.kv_keys = kv.keys;
    recipe.kv_values = kv.values;
  }
  for (const std::string& text : invocation.list("param"))
    TRY(apply_param(text, recipe));
  if (invocation.has("calibration")) {
    TRY_ASSIGN(recipe.calibration_files, calibration_files(invocation));
  }
  TRY_ASSIGN(recipe.samples, invocation.integer("samples", recipe.samples, 1));
  TRY_ASSIGN(recipe.length, invocation.integer("length", recipe.length, 2));
  TRY_ASSIGN(recipe.calibration_seed,
             invocation.integer("calibration-seed", recipe.calibration_seed, 0));
  recipe.calibration_inputs = invocation.text("calibration-inputs", recipe.calibration_inputs);
  if (recipe.calibration_inputs != "quantized" && recipe.calibration_inputs != "original")
    return usage_error("--calibration-inputs is quantized or original");
  TRY_ASSIGN(recipe.seed, invocation.integer("seed", recipe.seed, 0));
  return recipe;
}

} // namespace bitlathe
