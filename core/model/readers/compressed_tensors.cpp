// SPDX-License-Identifier: Apache-2.0
// Hugging Face folders with compressed-tensors weights: packed integers and 8-bit floats stay
// mapped as they are; signed weights, zero points and 4-bit floats are brought into the project's
// form when they are used.
#include "core/model/assemble.h"
#include "core/model/readers/compressed_weights.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

namespace bitlathe {

namespace {

constexpr std::array<std::string_view, 1> methods{"compressed-tensors"};

/// Files of 2024 have no quant_method, but groups.
const Json* settings_of(const Json& config) {
  if (const Json* settings = quantization_config(config, methods))
    return settings;
  for (const char* key : {"quantization_config", "compression_config"}) {
    const auto it = config.find(key);
    if (it != config.end() && it->is_object() && it->contains("config_groups") &&
        !it->contains("quant_method"))
      return &*it;
  }
  return nullptr;
}

bool recognises(const fs::path& path) {
  std::error_code failed;
  if (!fs::is_directory(path, failed) || !fs::is_regular_file(path / "config.json", failed))
    return false;
  const auto config = read_json_file(path / "config.json");
  return config && config->is_object() && settings_of(*config);
}

/// Whether a tensor may be the scale of keys or values.
bool names_kv_scale(const std::string& name) {
  for (const std::string_view tail :
       {".k_scale", ".v_scale", ".kv_scale", ".k_proj.output_scale", ".v_proj.output_scale"})
    if (name.size() > tail.size() &&
        name.compare(name.size() - tail.size(), tail.size(), tail) == 0)
      return true;
  return false;
}

/// The scales of keys and values, by any of the names in use, among the candidates. Those that are
/// not used go to the model's other tensors.
Result<void> read_kv_scales(Checkpoint& checkpoint, const Json& scheme,
                            std::vector<StoredTensor> candidates, const std::string& where) {
  const auto is = [&](const char* key, const Json& value) {
    const auto it = scheme.find(key);
    return it != scheme.end() && *it == value;
  };
  if (!is("num_bits", 8) || !is("type", "float") || is("dynamic", true) ||
      (!is("strategy", "tensor") && scheme.contains("strategy")) || is("symmetric", false) ||
      !checkpoint.spec) {
    checkpoint.others.insert(checkpoint.others.end(), candidates.begin(), candidates.end());
    checkpoint.notes.push_back("The KV cache scheme in config.json is not used here (known: f8 "
                               "with one static scale for keys and one for values)");
    return {};
  }
  std::set<std::string> used;
  const auto find = [&](const std::string& attention, char side) -> Result<std::optional<float>> {
    const std::string s(1, side);
    for (const std::string& tail :
         {"." + s + "_scale", "." + s + "_proj." + s + "_scale", "." + s + "_proj.output_scale",
          ".qkv_proj." + s + "_scale", std::string(".kv_scale")})
      for (const StoredTensor& tensor : candidates)
        if (tensor.name == attention + tail) {
          const auto value = single_float(tensor);
          if (!value || !(*value > 0) || !std::isfinite(*value))
            return Error{"bad-file", tensor.name + " is not one number above 0", where};
          used.insert(tensor.name);
          return value;
        }
    return std::optional<float>();
  };
  std::int64_t missing = 0;
  for (int layer = 0; layer < int(checkpoint.spec->layers); ++layer) {
    std::string name;
    for (const char* part : {"k", "qkv"})
      if (const Module* module = checkpoint.find_part(layer, part))
        name = module->hf_name().substr(0, module->hf_name().rfind('.'));
    TRY_ASSIGN(const auto keys, find(name, 'k'));
    TRY_ASSIGN(const auto values, find(name, 'v'));
    missing += !keys && !values;
    // As vLLM has it: one for both when only one is there, 1 when none is.
    checkpoint.kv_scales.push_back(
        {keys.value_or(values.value_or(1.0f)), values.value_or(keys.value_or(1.0f))});
  }
  if (missing > 0)
    checkpoint.notes.push_back("The scales of keys and values are missing in " +
                               std::to_string(missing) + " layers; they are 1 there");
  checkpoint.kv_keys = checkpoint.kv_values = "f8_e4m3-static";
  for (StoredTensor& tensor : candidates)
    if (used.count(tensor.name) == 0) {
      checkpoint.notes.push_back(tensor.name + " belongs to no layer and is not used");
      checkpoint.others.push_back(std::move(tensor));
    }
  return {};
}

/// A weight that needs settings to be understood.
bool is_compressed(const Parts& parts) {
  const auto weight = parts.find("weight");
  return parts.count("weight_packed") > 0 ||
         (weight != parts.end() &&
          (weight->second->dtype == "I8" || weight->second->dtype == "F8_E4M3"));
}

std::string modules_text(std::int64_t count) {
  return std::to_string(count) + (count == 1 ? " module" : " modules");
}

void add_notes(const CompressedReading& reading, std::vector<std::string>& notes) {
  const auto bytes = [](std::uint64_t count) { return "(" + std::to_string(count) + " bytes)"; };
  if (reading.copied > 0)
    notes.push_back("Signed weights, zero points and reordered columns " + bytes(reading.copied) +
                    " are brought into this program's form one module at a time, when it is used");
  if (reading.repacked > 0)
    notes.push_back("The codes are packed as before 2026; " + std::to_string(reading.repacked) +
                    " bytes are packed densely when they are used");
  if (reading.blocks > 0)
    notes.push_back("4-bit floats " + bytes(reading.blocks) +
                    " are brought into blocks when they are used, without a loss");
  if (reading.widened > 0)
    notes.push_back("The weights of " + modules_text(reading.widened) +
                    " have no packed form here; their values are used as floats");
  for (const auto& [settings, count] : reading.float_inputs)
    notes.push_back("The inputs of " + modules_text(count) +
                    " stay in floating point: the activation settings of the file (" + settings +
                    ") cannot be run");
}

Result<std::shared_ptr<Checkpoint>> open(const fs::path& path) {
  auto checkpoint = start_folder(path, "compressed-tensors");
  const auto where = (path / "config.json").string();
  const Json* settings = settings_of(checkpoint->config);
  if (!settings)
    return Error{"bad-file", "config.json has no quantization_config", where};
  TRY_ASSIGN(const auto config, CompressedConfig::parse(*settings, where));
  TRY_ASSIGN(const auto file, read_safetensors_folder(path));

  CompressedReading reading{where};
  const ReadParts read = [&](const std::string& name, const Parts& parts, Module& module,
                             std::vector<std::string>& used) -> Result<bool> {
    if (!is_compressed(parts))
      return false;
    const auto* settings_of_module = config.find(name);
    if (!settings_of_module)
      return bad_module(name,
                        config.ignored(name) ? "it is on the ignore list, but stored quantized"
                                             : "no group of the quantization_config covers it",
                        where);
    TRY(read_compressed_weight(name, parts, *settings_of_module, reading, module));
    used = compressed_parts();
    return true;
  };
  TRY_ASSIGN(auto found, collect_modules(*checkpoint, file.tensors, read));
  const auto kv = settings->find("kv_cache_scheme");
  const bool has_kv = kv != settings->end() && kv->is_object();
  std::vector<StoredTensor> kv_scales;
  if (has_kv) {
    auto& others = checkpoint->others;
    const auto first =
        std::stable_partition(others.begin(), others.end(),
                              [](const StoredTensor& t) { return !names_kv_scale(t.name); });
    kv_scales.assign(std::make_move_iterator(first), std::make_move_iterator(others.end()));
    others.erase(first, others.end());
  }
  assemble(*checkpoint, std::move(found), file.tensors, where);
  add_notes(reading, checkpoint->notes);
  if (has_kv) {
    checkpoint->kv_scales.clear(); // what other programs read comes first
    TRY(read_kv_scales(*checkpoint, *kv, std::move(kv_scales), where));
  }
  return checkpoint;
}

} // namespace

extern const CheckpointReader checkpoint_reader_compressed_tensors;
const CheckpointReader checkpoint_reader_compressed_tensors{
    "compressed-tensors",
    "A Hugging Face folder with compressed-tensors weights: integers, f8, nvfp4, mxfp4.",
    recognises, open};

} // namespace bitlathe
