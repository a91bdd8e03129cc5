// SPDX-License-Identifier: Apache-2.0
// The common choices as recipes, for menus and for people who start.
#include "core/recipe/recipe.h"

namespace bitlathe {

namespace {

Recipe quick_win() {
  Recipe recipe;
  recipe.default_scheme = "int8-channel-sym";
  return recipe;
}

Recipe best_4_bit() {
  Recipe recipe;
  recipe.default_scheme = "int4-g32-asym";
  recipe.default_method = "gptq";
  recipe.default_params["act_order"] = 1;
  recipe.rules.push_back({"*.v_proj", "int8-g32-asym", "", Json::object()});
  recipe.rules.push_back({"*.down_proj", "int6-g32-asym", "", Json::object()});
  return recipe;
}

Recipe small_4_bit() {
  Recipe recipe;
  recipe.default_scheme = "int4-g128-asym";
  recipe.default_method = "rtn";
  return recipe;
}

Recipe portable() {
  Recipe recipe;
  recipe.default_scheme = "Q4_K_M";
  recipe.default_method = "rtn";
  return recipe;
}

Recipe w8a8() {
  Recipe recipe;
  recipe.default_scheme = "int8-channel-sym";
  recipe.default_method = "smoothquant";
  recipe.activations = "int8-token-dynamic";
  return recipe;
}

Recipe nf4() {
  Recipe recipe;
  recipe.default_scheme = "nf4-b64-dq";
  return recipe;
}

Recipe tiny() {
  Recipe recipe;
  recipe.default_scheme = "int3-g128-asym";
  recipe.default_method = "gptq";
  recipe.default_params["act_order"] = 1;
  return recipe;
}

constexpr RecipePreset presets[] = {
    {"quick-win", "Quick win", "8-bit weights per channel: half the size of bf16, hardly any loss.",
     quick_win},
    {"small-4-bit", "Small 4-bit", "4-bit weights in groups of 128: what most servers load.",
     small_4_bit},
    {"best-4-bit", "Best 4-bit",
     "4-bit weights in groups of 32 by GPTQ, which calibrates; value and down projections at 8 and "
     "6 "
     "bits.",
     best_4_bit},
    {"portable", "CPU and portable", "Q4_K_M for GGUF: runs with llama.cpp on any machine.",
     portable},
    {"w8a8", "INT8 serving (W8A8)",
     "8-bit weights per channel and 8-bit activations per token, for int8 matrix units; "
     "SmoothQuant, "
     "which calibrates, takes outliers out of the activations.",
     w8a8},
    {"nf4", "NF4 (QLoRA)", "4-bit codes for normal values in blocks of 64, their scales in 8 bits.",
     nf4},
    {"tiny", "As small as sensible",
     "3-bit weights by GPTQ, which calibrates; look at the loss before you ship it.", tiny},
};

} // namespace

std::span<const RecipePreset> recipe_presets() { return presets; }

} // namespace bitlathe
