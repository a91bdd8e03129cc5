// SPDX-License-Identifier: Apache-2.0
#include "core/recipe/plan.h"

#include "core/engine/engine.h"
#include "core/methods/method.h"
#include "core/observers/observer.h"
#include "core/recipe/mixes.h"
#include "core/schemes/activations.h"

#include <algorithm>
#include <map>

namespace bitlathe {

namespace {

/// What a recipe says of one module before it is checked against the module.
struct Wish {
  std::string scheme, method, reason = "default", kind = "default";
  Json params;
  bool by_rule = false;
};

/// A scheme that a recipe asks for: known, and one that some method can make.
Result<Scheme> recipe_scheme(const std::string& id) {
  if (looks_like_mix(id)) {
    std::string known;
    for (const Mix& mix : all_mixes())
      known += (known.empty() ? "" : ", ") + std::string(mix.id);
    return Error{"not-available",
                 "Mix \"" + id + "\" is not available; mixes are " + known +
                     ", and schemes are in lower case",
                 {}};
  }
  auto parsed = parse_scheme(id);
  if (!parsed) {
    Error error = parsed.error();
    if (const Mix* mix = mix_spelled_otherwise(id))
      error.message += "; mixes are in upper case: " + std::string(mix->id);
    return error;
  }
  const Scheme& scheme = *parsed;
  if (scheme.quantized)
    if (const std::string why = cannot_encode(scheme); !why.empty()) {
      std::string offered;
      for (const auto example : scheme.family->examples)
        offered += (offered.empty() ? "" : ", ") + std::string(example);
      return Error{"not-available",
                   "Scheme \"" + id + "\" cannot be made: " + why +
                       (offered.empty() ? "" : "; of its kind there are " + offered),
                   {}};
    }
  return scheme;
}

/// For a person who reads why a weight gets its scheme.
std::string reason_of(const Mix& mix, const MixChoice& choice) {
  return "mix " + std::string(mix.id) + (choice.why.empty() ? "" : ": " + choice.why);
}

bool excluded_by_default(const Module& module) {
  return module.role == "embedding" || module.role == "lm_head" || module.role == "norm";
}

Scheme source_scheme(const Module& module) { return module.weight.scheme; }

class Planner {
 public:
  Planner(const Checkpoint& checkpoint, const Recipe& recipe, bool requantize, bool importance)
      : checkpoint_(checkpoint), recipe_(recipe), requantize_(requantize),
        importance_(importance || !recipe.calibration_files.empty()),
        rule_hits_(recipe.rules.size(), 0), exclude_hits_(recipe.exclude.size(), 0) {}

  Result<Plan> make() {
    TRY(check_recipe());
    plan_.recipe = recipe_;
    for (std::size_t i = 0; i < checkpoint_.modules.size(); ++i)
      TRY(plan_module(checkpoint_.modules[i], i));
    finish();
    return std::move(plan_);
  }

 private:
  Result<void> check_pair(const std::string& scheme_id, const std::string& method_id,
                          const Json& params, const std::string& where) {
    if (const Mix* mix = find_mix(scheme_id)) {
      if (mix->needs_importance && !importance_)
        return Error{"bad-argument",
                     "Mix \"" + scheme_id +
                         "\" needs to know which inputs matter: give calibration text or an "
                         "importance matrix (--calibration, --statistics)",
                     where};
      if (mixes_.find(mix) == mixes_.end())
        mixes_[mix] = expand_mix(*mix, checkpoint_, importance_);
    } else if (!scheme_id.empty()) {
      TRY(recipe_scheme(scheme_id));
    }
    if (method_id.empty())
      return {};
    const Method* method = find_method(method_id);
    if (!method) {
      std::string known;
      for (const Method* m : all_methods())
        known += (known.empty() ? "" : ", ") + std::string(m->id);
      return Error{"bad-argument", "Unknown method \"" + method_id + "\"; known: " + known, where};
    }
    return check_method_params(*method, params, where);
  }

  Result<void> check_recipe() {
    TRY(check_pair(recipe_.default_scheme, recipe_.default_method, recipe_.default_params,
                   "default"));
    for (std::size_t i = 0; i < recipe_.rules.size(); ++i) {
      const Rule& rule = recipe_.rules[i];
      const std::string where = "rule " + std::to_string(i + 1) + ": " + rule.match;
      if (auto checked = check_pair(rule.scheme, rule.method,
                                    rule.method.empty() ? Json::object() : rule.params, where);
          !checked) {
        auto error = checked.error();
        error.where = where;
        return error;
      }
    }
    if (recipe_.activations != "auto")
      TRY(parse_activation_scheme(recipe_.activations));
    for (const std::string& observer : {recipe_.observer, recipe_.activation_observer})
      if (!find_observer(observer)) {
        std::string known;
        for (const Observer* o : all_observers())
          known += (known.empty() ? "" : ", ") + std::string(o->id);
        return Error{"bad-argument", "Unknown observer \"" + observer + "\"; known: " + known, {}};
      }
    TRY(parse_kv(recipe_.kv_keys + "," + recipe_.kv_values));
    return {};
  }

  Result<Wish> wish_for(const Module& module, bool& excluded, std::string& exclude_pattern) {
    Wish wish{recipe_.default_scheme,
              recipe_.default_method,
              "default",
              "default",
              recipe_.default_params,
              false};
    for (std::size_t i = 0; i < recipe_.rules.size(); ++i) {
      const Rule& rule = recipe_.rules[i];
      TRY_ASSIGN(const bool hit, pattern_matches(rule.match, module.name));
      if (!hit)
        continue;
      ++rule_hits_[i];
      if (!rule.scheme.empty())
        wish.scheme = rule.scheme;
      if (!rule.method.empty()) {
        wish.method = rule.method;
        wish.params = Json::object();
      }
      for (const auto& [key, value] : rule.params.items())
        wish.params[key] = value;
      wish.reason = "rule " + std::to_string(i + 1) + ": " + rule.match;
      wish.kind = "rule";
      wish.by_rule = true;
    }
    for (std::size_t i = 0; i < recipe_.exclude.size(); ++i) {
      TRY_ASSIGN(const bool hit, pattern_matches(recipe_.exclude[i], module.name));
      if (hit) {
        ++exclude_hits_[i];
        excluded = true;
        exclude_pattern = recipe_.exclude[i];
      }
    }
    return wish;
  }

  void keep(PlannedModule& planned, const Module& module, std::string reason, std::string kind) {
    planned.scheme = source_scheme(module);
    planned.method.clear();
    planned.reason = std::move(reason);
    planned.reason_kind = std::move(kind);
    planned.bytes_after = planned.bytes_before;
    planned.activations = module.activations;
  }

  Result<void> plan_module(const Module& module, std::size_t index) {
    PlannedModule planned;
    planned.name = module.name;
    planned.role = module.role;
    planned.layer = module.layer;
    planned.rows = module.weight.rows;
    planned.cols = module.weight.cols;
    planned.bytes_before = module.bytes();
    bool excluded = false;
    std::string pattern;
    TRY_ASSIGN(Wish wish, wish_for(module, excluded, pattern));
    const Mix* mix = find_mix(wish.scheme);
    const MixChoice choice = mix ? mixes_.at(mix)[index] : MixChoice();

    if (module.tied_to_embedding) {
      keep(planned, module, "kept: shares the embedding's weight", "kept");
    } else if (!module.weight.scheme.family) {
      keep(planned, module, "kept: its stored type cannot be decoded", "kept");
    } else if (excluded) {
      keep(planned, module, "excluded: " + pattern, "excluded");
    } else if (module.shape.size() < 2) {
      keep(planned, module, "kept: vectors keep their type", "kept");
    } else if (!mix && !wish.by_rule && (excluded_by_default(module) || !module.linear)) {
      keep(planned, module, "excluded by default: " + module.role, "excluded");
    } else if (mix && choice.scheme.empty()) {
      keep(planned, module, "kept: " + reason_of(*mix, choice), "kept");
    } else {
      if (mix) {
        wish.scheme = choice.scheme;
        wish.reason = (wish.by_rule ? wish.reason + ": " : "") + reason_of(*mix, choice);
        wish.kind = wish.by_rule ? "rule" : "mix";
      }
      TRY(apply(planned, module, wish));
    }
    plan_.modules.push_back(std::move(planned));
    return {};
  }

  Result<void> apply(PlannedModule& planned, const Module& module, const Wish& wish) {
    TRY_ASSIGN(Scheme scheme, recipe_scheme(wish.scheme));
    const auto fit = scheme.family->fit(scheme, module.weight.rows, module.weight.cols);
    std::string reason = wish.reason, kind = wish.kind;
    if (!fit.ok) {
      reason = (wish.kind == "mix" ? wish.reason + "; " : "") + "fallback: " + fit.reason;
      kind = "fallback";
      if (fit.fallback.empty()) {
        keep(planned, module, reason, kind);
        note_fallback(module,
                      module.weight.scheme.id + " instead of " + scheme.id + ": " + fit.reason);
        return {};
      }
      note_fallback(module, fit.fallback + " instead of " + scheme.id + ": " + fit.reason);
      TRY_ASSIGN(scheme, recipe_scheme(fit.fallback));
    }
    planned.scheme = scheme;
    planned.reason = reason;
    planned.reason_kind = kind;
    planned.bytes_after =
        scheme.family->bytes(scheme, module.weight.rows, module.weight.cols).total() +
        module.bias.bytes();
    if (!scheme.quantized) {
      planned.convert = !(scheme == module.weight.scheme);
      return {};
    }
    if (module.weight.scheme.quantized && !requantize_)
      return Error{
          "bad-argument",
          "The source is already quantized (" + module.weight.scheme.id +
              "); quantizing again adds its errors to the new ones. Use --requantize to do it all "
              "the same",
          module.name};
    if (module.weight.scheme.quantized && !module.tied_to_embedding) {
      ++again_[module.weight.scheme.id];
      ++again_count_;
    }
    planned.quantize = true;
    planned.method = wish.method;
    planned.params = wish.params;
    const Method* method = find_method(wish.method);
    if (const std::string why = method->declines(scheme); !why.empty()) {
      const Method* instead = encoder_of(scheme); // recipe_scheme() made sure there is one
      const std::string what = std::string(instead->id) + " instead of " + wish.method + ": " + why;
      planned.method = instead->id;
      planned.params = Json::object();
      planned.reason += "; " + what;
      planned.reason_kind = "fallback";
      note_fallback(module, what);
    } else if (auto checked = check_method_params(*method, planned.params, module.name); !checked) {
      return checked.error();
    }
    if (planned.quantize && scheme.group > 0 && scheme.group < module.weight.cols)
      if (const auto reorders = find_method(planned.method)->reorders_columns;
          reorders && reorders(planned.params)) {
        planned.reordered = true;
        planned.bytes_after += std::uint64_t(module.weight.cols) * sizeof(std::int32_t);
      }
    set_activations(planned, module);
    return {};
  }

  /// What the recipe says, else what goes with the method.
  void set_activations(PlannedModule& planned, const Module& module) {
    const std::string_view wanted = recipe_.activations == "auto"
                                        ? find_method(planned.method)->activations
                                        : std::string_view(recipe_.activations);
    const ActivationScheme* scheme = find_activation_scheme(wanted);
    if (!scheme)
      return;
    const std::string why = !module.linear ? module.role + " takes part in no product"
                                           : scheme->declines(planned.scheme);
    if (why.empty())
      planned.activations = scheme->id;
    else
      float_inputs_[std::string(scheme->id) + ": " + why].push_back(module.name);
    if (scheme->simulated && why.empty())
      simulated_ = scheme;
  }

  void note_fallback(const Module& module, const std::string& what) {
    Fallen& fallen = fallen_[what];
    ++fallen.modules;
    fallen.bytes += module.bytes();
    fallen.first = fallen.modules == 1 ? module.name : fallen.first;
  }

  void finish() {
    for (const auto& [what, fallen] : fallen_)
      plan_.notes.push_back(
          fallen.first +
          (fallen.modules > 1 ? " and " + std::to_string(fallen.modules - 1) + " more" : "") +
          " (" + std::to_string(fallen.bytes) + " bytes): " + what);
    for (const auto& [why, names] : float_inputs_) {
      std::string list;
      for (std::size_t i = 0; i < names.size() && i < 4; ++i)
        list += (i ? ", " : "") + names[i];
      plan_.notes.push_back(
          "Inputs stay in floating point instead of " + why + " (" + std::to_string(names.size()) +
          " modules: " + list +
          (names.size() > 4 ? " and " + std::to_string(names.size() - 4) + " more)" : ")"));
    }
    if (again_count_ > 0) {
      std::string schemes;
      for (const auto& [scheme, count] : again_)
        schemes += (schemes.empty() ? "" : ", ") + std::to_string(count) + " in " + scheme;
      plan_.notes.push_back(
          "Quantized again: " + std::to_string(again_count_) +
          (again_count_ == 1 ? " module was" : " modules were") + " quantized already (" + schemes +
          "). The new errors add to theirs, and the figures here compare with the "
          "quantized source, not with the original model");
    }
    if (simulated_)
      plan_.notes.push_back("Activations in " + std::string(simulated_->id) +
                            " are simulated: values are rounded as coding would, then multiplied "
                            "as floats");
    for (std::size_t i = 0; i < rule_hits_.size(); ++i)
      if (rule_hits_[i] == 0)
        plan_.notes.push_back("Rule " + std::to_string(i + 1) + " (" + recipe_.rules[i].match +
                              ") matches no module");
    for (std::size_t i = 0; i < exclude_hits_.size(); ++i)
      if (exclude_hits_[i] == 0)
        plan_.notes.push_back("Exclusion " + recipe_.exclude[i] + " matches no module");
    std::uint64_t quantized_bytes = 0;
    for (std::size_t i = 0; i < plan_.modules.size(); ++i) {
      const PlannedModule& planned = plan_.modules[i];
      const Module& module = checkpoint_.modules[i];
      plan_.bytes_before += planned.bytes_before;
      plan_.bytes_after += planned.bytes_after;
      if (module.tied_to_embedding)
        continue;
      plan_.parameters += module.parameters();
      if (planned.scheme.quantized) {
        plan_.quantized_parameters += module.weight.rows * module.weight.cols;
        quantized_bytes += planned.bytes_after - module.bias.bytes();
      }
    }
    for (const StoredTensor& other : checkpoint_.others) {
      plan_.bytes_before += other.data.size();
      plan_.bytes_after += other.data.size();
    }
    if (plan_.parameters > 0)
      plan_.bits_per_weight = 8.0 * double(plan_.bytes_after) / double(plan_.parameters);
    if (plan_.quantized_parameters > 0)
      plan_.bits_per_quantized_weight =
          8.0 * double(quantized_bytes) / double(plan_.quantized_parameters);
    if (plan_.quantized_parameters == 0)
      plan_.notes.push_back("Nothing is quantized by this recipe");
  }

  const Checkpoint& checkpoint_;
  const Recipe& recipe_;
  bool requantize_, importance_;
  std::map<const Mix*, std::vector<MixChoice>> mixes_; ///< those that the recipe names
  struct Fallen {
    std::int64_t modules = 0;
    std::uint64_t bytes = 0;
    std::string first;
  };
  std::map<std::string, Fallen> fallen_; ///< by what happened
  std::vector<std::int64_t> rule_hits_, exclude_hits_;
  std::map<std::string, std::vector<std::string>> float_inputs_; ///< modules by scheme and reason
  const ActivationScheme* simulated_ = nullptr;
  std::map<std::string, std::int64_t> again_; ///< modules quantized already, by scheme
  std::int64_t again_count_ = 0;
  Plan plan_;
};

} // namespace

const PlannedModule* Plan::find(const std::string& name) const {
  for (const PlannedModule& module : modules)
    if (module.name == name)
      return &module;
  return nullptr;
}

Result<Plan> make_plan(const Checkpoint& checkpoint, const Recipe& recipe, bool requantize,
                       bool importance) {
  return Planner(checkpoint, recipe, requantize, importance).make();
}

OrderedJson plan_to_json(const Plan& plan) {
  OrderedJson json;
  json["recipe"] = recipe_to_json(plan.recipe);
  json["parameters"] = plan.parameters;
  json["bytes_before"] = plan.bytes_before;
  json["bytes_after"] = plan.bytes_after;
  json["bits_per_weight"] = plan.bits_per_weight;
  json["bits_per_quantized_weight"] = plan.bits_per_quantized_weight;
  json["modules"] = OrderedJson::array();
  for (const PlannedModule& module : plan.modules)
    json["modules"].push_back({{"name", module.name},
                               {"role", module.role},
                               {"shape", {module.rows, module.cols}},
                               {"scheme", module.scheme.id},
                               {"method", module.method},
                               {"activations", module.activations},
                               {"reason", module.reason},
                               {"bytes_before", module.bytes_before},
                               {"bytes", module.bytes_after}});
  json["notes"] = plan.notes;
  return json;
}

} // namespace bitlathe
