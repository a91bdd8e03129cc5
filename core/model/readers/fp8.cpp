// SPDX-License-Identifier: Apache-2.0
// Hugging Face folders with 8-bit float weights in their own container: "quant_method": "fp8"
// (tiles of 128 x 128 with weight_scale_inv, or one scale per tensor), "fbgemm_fp8" (one per output
// channel) and ModelOpt's FP8. Codes and scales stay mapped.
#include "core/model/assemble.h"
#include "core/model/readers/quantized_folder.h"
#include "core/model/readers/recorded.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace bitlathe {

namespace {

constexpr std::array<std::string_view, 2> methods{"fp8", "fbgemm_fp8"};
constexpr std::array<std::string_view, 1> modelopt{"modelopt"};
constexpr std::int64_t tile = 128;

const Json* settings_of(const Json& config) {
  if (const Json* settings = quantization_config(config, methods))
    return settings;
  const Json* settings = quantization_config(config, modelopt);
  return settings && settings->value("quant_algo", Json()) == "FP8" ? settings : nullptr;
}

bool recognises(const fs::path& path) {
  std::error_code failed;
  if (!fs::is_directory(path, failed) || !fs::is_regular_file(path / "config.json", failed))
    return false;
  const auto config = read_json_file(path / "config.json");
  return config && config->is_object() && settings_of(*config);
}

struct Settings {
  std::int64_t block_rows = 0, block_cols = 0; ///< 0: no tiles
  bool static_inputs = false;
  std::string activations = "f8_e4m3-token-dynamic";
};

Result<Settings> read_settings(const Json& json, const std::string& where) {
  Settings out;
  if (const auto block = json.find("weight_block_size"); block != json.end() && !block->is_null()) {
    if (!block->is_array() || block->size() != 2 || !(*block)[0].is_number_integer() ||
        !(*block)[1].is_number_integer())
      return Error{"bad-file", "weight_block_size is " + block->dump() + ", not two whole numbers",
                   where};
    out.block_rows = (*block)[0].get<std::int64_t>();
    out.block_cols = (*block)[1].get<std::int64_t>();
    if (out.block_rows != tile || out.block_cols != tile)
      return Error{"unsupported",
                   "The scales are for tiles of " + std::to_string(out.block_rows) + " x " +
                       std::to_string(out.block_cols) + "; only 128 x 128 can be read",
                   where};
  }
  const bool is_modelopt = json.value("quant_method", Json()) == "modelopt";
  TRY_ASSIGN(const auto scheme,
             json_string_or(json, "activation_scheme", is_modelopt ? "static" : "dynamic", where));
  if (scheme != "dynamic" && scheme != "static")
    return Error{"unsupported",
                 "The activation_scheme \"" + scheme + "\" is not known (static, dynamic)", where};
  out.static_inputs = scheme == "static";
  if (out.static_inputs)
    out.activations = "f8_e4m3-tensor-static";
  return out;
}

struct Reading {
  const Settings& settings;
  const std::string& where;
  const Recorded& recorded;
  std::int64_t tiled = 0;
};

Result<float> one_number(const std::string& name, const std::string& part,
                         const StoredTensor& tensor, const std::string& where) {
  const auto type = float_type_of(tensor, name, where);
  if (!type || tensor.data.size() != float_size(*type))
    return bad_module(name, part + " is not one number of a float type", where);
  const float value = load_float(*type, tensor.data.data(), 0);
  if (!(value > 0) || !std::isfinite(value))
    return bad_module(name, part + " is " + Json(value).dump() + ", not a number above 0", where);
  return value;
}

Result<void> read_inputs(const std::string& name, const Parts& parts, Reading& reading,
                         Module& module) {
  const StoredTensor* scale = nullptr;
  std::string part;
  for (const char* known : {"input_scale", "activation_scale"})
    if (const auto it = parts.find(known); it != parts.end() && !scale) {
      scale = it->second;
      part = known;
    }
  if (reading.settings.static_inputs) {
    if (!scale)
      return bad_module(name, "the activation_scheme is static, but input_scale is missing",
                        reading.where);
    TRY_ASSIGN(module.activation_scale, one_number(name, part, *scale, reading.where));
  }
  if (!reading.recorded.float_inputs(name, module.weight.scheme))
    module.activations = reading.settings.activations;
  return {};
}

Result<void> read_scales(const std::string& name, const Parts& parts, const std::string& type,
                         Reading& reading, QTensor& out) {
  const auto& where = reading.where;
  const StoredTensor* scale = nullptr;
  std::string part;
  for (const char* known : {"weight_scale_inv", "weight_scale"})
    if (const auto it = parts.find(known); it != parts.end()) {
      if (scale)
        return bad_module(name, "it has both weight_scale and weight_scale_inv", where);
      scale = it->second;
      part = known;
    }
  if (!scale)
    return bad_module(name,
                      "its weight is stored in 8 bits, but weight_scale (or weight_scale_inv) is "
                      "missing",
                      where);
  TRY_ASSIGN(const FloatType stored, float_type_of(*scale, name, where));
  const auto count = std::int64_t(scale->data.size() / float_size(stored));
  const auto& shape = scale->shape;
  const std::int64_t down = (out.rows + tile - 1) / tile, across = (out.cols + tile - 1) / tile;
  std::string id = type;
  if (reading.settings.block_rows > 0 && shape.size() == 2 && shape[0] == down &&
      shape[1] == across) {
    id += "-b128x128";
    ++reading.tiled;
  } else if (count == 1) {
    id += "-tensor";
  } else if (reading.settings.block_rows == 0 && count == out.rows &&
             (shape.size() == 1 || (shape.size() == 2 && shape[1] == 1))) {
    id += "-channel";
  } else {
    std::string text;
    for (const auto n : shape)
      text += (text.empty() ? "" : ", ") + std::to_string(n);
    return bad_module(name,
                      part + " has the shape [" + text + "], which does not fit a weight of " +
                          std::to_string(out.rows) + " x " + std::to_string(out.cols) +
                          (reading.settings.block_rows > 0 ? " in tiles of 128 x 128" : ""),
                      where);
  }
  id += stored == FloatType::bf16 ? "-sbf16" : stored == FloatType::f32 ? "-sf32" : "";
  TRY_ASSIGN(out.scheme, parse_scheme(id));
  out.scales = scale->data;
  keep_alive(out, {parts.at("weight"), scale});
  return {};
}

Result<std::shared_ptr<Checkpoint>> open(const fs::path& path) {
  auto checkpoint = start_folder(path, "fp8");
  const auto where = (path / "config.json").string();
  const Json* json = settings_of(checkpoint->config);
  if (!json)
    return Error{"bad-file", "config.json has no quantization_config", where};
  TRY_ASSIGN(const Settings settings, read_settings(*json, where));
  TRY_ASSIGN(const auto file, read_safetensors_folder(path));
  const Recorded recorded(path);
  const std::string folder = path.string();
  Reading reading{settings, folder, recorded};

  const ReadParts read = [&](const std::string& name, const Parts& parts, Module& module,
                             std::vector<std::string>& used) -> Result<bool> {
    const auto weight = parts.find("weight");
    if (weight == parts.end())
      return false;
    const auto& tensor = *weight->second;
    const bool e4m3 = tensor.dtype == "F8_E4M3";
    if ((!e4m3 && tensor.dtype != "F8_E5M2") || tensor.shape.size() != 2 || tensor.data.empty())
      return false;
    QTensor& out = module.weight;
    out.rows = tensor.shape[0];
    out.cols = tensor.shape[1];
    out.codes = tensor.data;
    TRY(read_scales(name, parts, e4m3 ? "f8_e4m3" : "f8_e5m2", reading, out));
    TRY(read_inputs(name, parts, reading, module));
    module.shape = tensor.shape;
    used = {"weight",      "weight_scale",     "weight_scale_inv",
            "input_scale", "activation_scale", "input_scale_ub"};
    return true;
  };
  TRY_ASSIGN(auto found, collect_modules(*checkpoint, file.tensors, read));
  assemble(*checkpoint, std::move(found), file.tensors, where);
  const auto coded =
      std::any_of(checkpoint->modules.begin(), checkpoint->modules.end(),
                  [](const Module& m) { return m.activations == "f8_e4m3-token-dynamic"; });
  if (reading.tiled > 0 && coded)
    checkpoint->notes.push_back("Inputs are coded to f8 with one scale per token here; programs "
                                "that load this format use one for every 128 columns");
  return checkpoint;
}

} // namespace

extern const CheckpointReader checkpoint_reader_fp8;
const CheckpointReader checkpoint_reader_fp8{
    "fp8", "A Hugging Face folder with 8-bit float weights and their scales.", recognises, open};

} // namespace bitlathe
