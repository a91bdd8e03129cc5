// SPDX-License-Identifier: Apache-2.0
// A plan: a recipe resolved against one checkpoint. Every module has its scheme, method, predicted
// bytes and the reason. Nothing is silent: fallbacks and patterns that match nothing are listed.
#pragma once

#include "core/model/checkpoint.h"
#include "core/recipe/recipe.h"

namespace bitlathe {

struct PlannedModule {
  std::string name, role;
  int layer = -1;
  std::int64_t rows = 0, cols = 0;
  Scheme scheme;      ///< the source's own when kept
  std::string method; ///< "" when kept
  Json params = Json::object();
  std::string activations = "none";
  std::string reason;      ///< "default", "rule 2: *.v_proj", "excluded: lm_head", "fallback: ..."
  std::string reason_kind; ///< "default", "rule", "mix", "excluded", "kept", "fallback"
  bool quantize = false;   ///< coded anew by `method`
  bool convert = false;    ///< only the float type changes
  bool reordered = false;  ///< stored with an order of columns (act-order)
  std::uint64_t bytes_before = 0, bytes_after = 0;
};

struct Plan {
  Recipe recipe;
  std::vector<PlannedModule> modules;              ///< same order as Checkpoint::modules
  std::vector<std::string> notes;                  ///< warnings for people
  std::uint64_t bytes_before = 0, bytes_after = 0; ///< tensors outside modules included
  std::int64_t parameters = 0, quantized_parameters = 0;
  double bits_per_weight = 0, bits_per_quantized_weight = 0;

  const PlannedModule* find(const std::string& name) const;
};

/// Errors: unknown scheme or method, malformed pattern or parameter, an already quantized source
/// without `requantize`. Everything else resolves, with reasons. `importance`: statistics will be
/// at hand that the recipe does not name; mixes depend on it.
Result<Plan> make_plan(const Checkpoint& checkpoint, const Recipe& recipe, bool requantize = false,
                       bool importance = false);
OrderedJson plan_to_json(const Plan& plan);

} // namespace bitlathe
