// SPDX-License-Identifier: Apache-2.0
#include "core/methods/method.h"

#include <cmath>

namespace bitlathe {

const Method* find_method(std::string_view id) {
  for (const Method* method : all_methods())
    if (method->id == id)
      return method;
  return nullptr;
}

const Method* encoder_of(const Scheme& scheme) {
  const Method* found = nullptr;
  for (const Method* method : all_methods())
    if (method->declines(scheme).empty() && (!found || (found->calibrated && !method->calibrated)))
      found = method;
  return found;
}

MethodInput with_params(const MethodInput& input, const Json& params) {
  return {.weight = input.weight,
          .scheme = input.scheme,
          .params = params,
          .observer = input.observer,
          .importance = input.importance,
          .compute = input.compute,
          .feedback = input.feedback,
          .where = input.where,
          .part = input.part,
          .seed = input.seed,
          .inputs = input.inputs};
}

std::string cannot_encode(const Scheme& scheme) {
  std::string why;
  for (const Method* method : all_methods()) {
    const std::string reason = method->declines(scheme);
    if (reason.empty())
      return {};
    if (why.empty())
      why = reason;
  }
  return why;
}

double method_param(const Method& method, const Json& params, std::string_view key) {
  for (const MethodParam& param : method.params)
    if (param.key == key) {
      const auto it = params.find(key);
      return it == params.end() ? param.standard : it->get<double>();
    }
  assert(false && "a method asked for a parameter it does not declare");
  return 0;
}

Result<void> check_method_params(const Method& method, const Json& params,
                                 const std::string& where) {
  if (!params.is_object())
    return Error{"bad-argument", "Method parameters must be an object", where};
  for (const auto& [key, value] : params.items()) {
    const MethodParam* known = nullptr;
    std::string names;
    for (const MethodParam& param : method.params) {
      if (param.key == key)
        known = &param;
      names += (names.empty() ? "" : ", ") + std::string(param.key);
    }
    if (!known)
      return Error{"bad-argument",
                   "Method \"" + std::string(method.id) + "\" has no parameter \"" + key +
                       "\"; it has " + (names.empty() ? "none" : names),
                   where};
    if (!value.is_number() || !(value.get<double>() >= known->low) ||
        !(value.get<double>() <= known->high) ||
        (known->integer && std::floor(value.get<double>()) != value.get<double>()))
      return Error{"bad-argument",
                   "Parameter " + std::string(method.id) + "." + key + " must be a " +
                       (known->integer ? "whole " : "") + "number from " + Json(known->low).dump() +
                       " to " + Json(known->high).dump() + ", not " + value.dump(),
                   where};
  }
  return {};
}

} // namespace bitlathe
