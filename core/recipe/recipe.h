// SPDX-License-Identifier: Apache-2.0
// A recipe: what to do to a model, independent of any one model. JSON in and out; unknown keys are
// errors.
#pragma once

#include "core/base/json.h"

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace bitlathe {

/// `match` is a glob on module names (`*` crosses dots, `?` one character) or "re:" + ECMAScript
/// regex (searched). Empty scheme or method: keep what an earlier rule or the default said.
struct Rule {
  std::string match, scheme, method;
  Json params = Json::object();
  bool operator==(const Rule&) const = default;
};

struct CalibrationFile {
  std::string path;
  double weight = 1.0;
  std::string field = {}; ///< of a .jsonl file: the key with the text, or "messages" for chats;
                          ///< empty: "text", else "prompt", else "messages"
  std::string split = {}; ///< only this part of the file: "calibration", "selection",
                          ///< "evaluation"; empty: all of it
  std::int64_t split_seed = 0; ///< another seed, other parts
  bool operator==(const CalibrationFile&) const = default;
};

struct Recipe {
  std::string default_scheme = "int4-g128-asym";
  std::string default_method = "rtn";
  Json default_params = Json::object();
  std::vector<Rule> rules;
  std::vector<std::string> exclude;
  std::string activations = "auto"; ///< what goes with the method; "none"; or a scheme
  std::string observer = "minmax";  ///< how weight ranges are chosen by methods that take one
  std::string activation_observer = "minmax"; ///< how ranges of static activations are chosen
  std::string kv_keys = "f16", kv_values = "f16";
  std::vector<CalibrationFile> calibration_files;
  std::int64_t samples = 128, length = 256;
  std::int64_t calibration_seed = 0;
  /// What calibrated methods see of a block's inputs: "quantized", as the quantized blocks before
  /// leave them, or "original".
  std::string calibration_inputs = "quantized";
  std::int64_t seed = 0;
  bool operator==(const Recipe&) const = default;
};

Result<Recipe> recipe_from_json(const Json& json, const std::string& where);
OrderedJson recipe_to_json(const Recipe& recipe);
Result<Recipe> read_recipe(const std::filesystem::path& path);
Result<void> write_recipe(const std::filesystem::path& path, const Recipe& recipe);

/// Whether a rule's pattern matches a module name; an invalid regular expression is an error.
Result<bool> pattern_matches(const std::string& pattern, const std::string& module_name);

/// Presets for the common choices, best known first.
struct RecipePreset {
  std::string_view id, title, summary;
  Recipe (*make)();
};
std::span<const RecipePreset> recipe_presets();

} // namespace bitlathe
