// SPDX-License-Identifier: Apache-2.0
#include "core/export/plain_rules.h"

#include "core/export/linears.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace bitlathe {

namespace {

bool is_float(const std::string& dtype) {
  return dtype == "F32" || dtype == "F16" || dtype == "BF16";
}

std::optional<float> float_at(const StoredTensor& tensor, std::int64_t index) {
  if (tensor.dtype == "F32")
    return load_float(FloatType::f32, tensor.data.data(), index);
  if (tensor.dtype == "F16")
    return load_float(FloatType::f16, tensor.data.data(), index);
  if (tensor.dtype == "BF16")
    return load_float(FloatType::bf16, tensor.data.data(), index);
  return std::nullopt;
}

/// Positive finite numbers of a float type; says so otherwise.
void check_scales(const StoredTensor& tensor, LoaderRule& rule) {
  if (!is_float(tensor.dtype))
    return rule.broken(tensor.name + " is stored as " + tensor.dtype);
  std::int64_t count = 1;
  for (const auto n : tensor.shape)
    count *= n;
  for (std::int64_t i = 0; i < count; ++i)
    if (const float value = *float_at(tensor, i); !(value >= 0) || !std::isfinite(value))
      return rule.broken(tensor.name + " holds " + Json(value).dump() + ", which is no scale");
}

void check_f8_weight(const FolderContents& folder, const std::string& module, bool tiles,
                     bool static_inputs, LoaderRule& rule) {
  const StoredTensor& weight = *folder.find(module + ".weight");
  const StoredTensor* inverse = folder.find(module + ".weight_scale_inv");
  const StoredTensor* scale = folder.find(module + ".weight_scale");
  if (weight.shape.size() != 2)
    return rule.broken(module + " is not a matrix");
  if (tiles) {
    const std::vector<std::int64_t> want{(weight.shape[0] + 127) / 128,
                                         (weight.shape[1] + 127) / 128};
    if (!inverse)
      return rule.broken(module + " has no weight_scale_inv");
    rule.require(inverse->shape == want, module + ".weight_scale_inv is " +
                                             shape_text(inverse->shape) + " instead of " +
                                             shape_text(want));
    check_scales(*inverse, rule);
  } else {
    if (!scale)
      return rule.broken(module + " has no weight_scale");
    const bool fits = scale->shape.empty() || scale->shape == std::vector<std::int64_t>{1} ||
                      scale->shape == std::vector{weight.shape[0], std::int64_t(1)} ||
                      scale->shape == std::vector{weight.shape[0]};
    rule.require(fits, module + ".weight_scale is " + shape_text(scale->shape) +
                           ", neither one number nor one per row");
    check_scales(*scale, rule);
  }
  const StoredTensor* input = folder.find(module + ".input_scale");
  if (static_inputs && !input)
    rule.broken(module + " has no input_scale, and the activation_scheme is static");
  if (input) {
    rule.require(input->shape.empty() || input->shape == std::vector<std::int64_t>{1},
                 module + ".input_scale is not one number");
    check_scales(*input, rule);
  }
}

/// Layers that loaders would not quantize, by the names in use.
bool no_linear(const std::string& module) {
  const auto last = module.substr(module.rfind('.') + 1);
  return last.find("embed") != std::string::npos || last.find("norm") != std::string::npos ||
         last == "wte" || last == "wpe" || last == "shared" || last == "gate";
}

void f8_rules(const FolderContents& folder, const Json& settings, std::vector<VerifyCheck>& out) {
  LoaderRule config("configuration", "the settings are those of native f8");
  const auto get = [&](const char* key) { return settings.value(key, Json()); };
  const auto scheme = get("activation_scheme");
  config.require(scheme == "static" || scheme == "dynamic",
                 "activation_scheme is " + scheme.dump() + ", neither static nor dynamic");
  const auto block = get("weight_block_size");
  const bool tiles = !block.is_null();
  config.require(!tiles || block == Json::array({128, 128}),
                 "weight_block_size is " + block.dump() + "; the kernels have 128 x 128");
  config.require(!tiles || scheme != "static",
                 "scales of tiles go with the activation_scheme dynamic only");
  std::set<std::string> ignored;
  for (const char* key : {"ignored_layers", "modules_to_not_convert"}) {
    const auto list = get(key);
    config.require(list.is_null() || list.is_array(), std::string(key) + " is not a list");
    if (list.is_array())
      for (const Json& name : list)
        if (name.is_string())
          ignored.insert(name.get<std::string>());
  }
  out.push_back(config.check());

  LoaderRule weights("quantized weights", "every f8 weight has scales of the right shape");
  LoaderRule list("ignored layers", "the linear layers that are not quantized are listed");
  std::vector<std::string> quantized;
  for (const auto& [name, tensor] : folder.tensors) {
    const auto module = without_tail(name, ".weight");
    if (module.empty())
      continue;
    if (tensor->dtype == "F8_E4M3") {
      quantized.push_back(module);
      check_f8_weight(folder, module, tiles, scheme == "static", weights);
      list.require(ignored.count(module) == 0, module + " is to be ignored, but quantized");
    } else if (!is_float(tensor->dtype)) {
      weights.broken(name + " is stored as " + tensor->dtype);
    } else if (tensor->shape.size() == 2 && !no_linear(module)) {
      const bool listed = std::any_of(ignored.begin(), ignored.end(), [&](const std::string& one) {
        return module == one || module.rfind(one + ".", 0) == 0 || ends_with(module, "." + one);
      });
      list.require(listed || module == "lm_head" || module == "embed_out",
                   module + " is a float matrix that is not listed");
    }
  }
  weights.require(!quantized.empty(), "no weight is stored in f8");
  out.push_back(weights.check());
  out.push_back(list.check());

  LoaderRule fused("joined layers", "the parts of layers that vLLM joins are all f8 or all float");
  std::vector<std::string> all;
  for (const auto& [name, tensor] : folder.tensors)
    if (const auto module = without_tail(name, ".weight"); !module.empty())
      all.push_back(module);
  for (const FusedLayer& layer : fused_layers(all)) {
    const auto f8 =
        std::count_if(layer.parts.begin(), layer.parts.end(), [&](const std::string& part) {
          return std::find(quantized.begin(), quantized.end(), part) != quantized.end();
        });
    fused.require(f8 == 0 || f8 == std::ptrdiff_t(layer.parts.size()),
                  layer.name + " has f8 and float parts");
  }
  out.push_back(fused.check());
}

} // namespace

std::vector<VerifyCheck> plain_rules(const fs::path& path) {
  std::vector<VerifyCheck> out;
  std::error_code failed;
  if (!fs::is_directory(path, failed))
    return out; // a file by itself has only the rules of its container
  const auto folder = read_contents(path);
  if (!folder) {
    out.push_back({"files", false, folder.error().text()});
    return out;
  }
  const auto& contents = **folder;
  LoaderRule container("container", "the header names the format pt");
  const auto format = contents.file.metadata.find("format");
  container.require(format != contents.file.metadata.end() &&
                        (format->second == "pt" || format->second == "tf" ||
                         format->second == "flax" || format->second == "mlx"),
                    "the metadata has no \"format\": \"pt\", which transformers before 5 demands");
  out.push_back(container.check());
  const Json settings = contents.config.value("quantization_config", Json());
  if (settings.is_object() && settings.value("quant_method", Json()) == "fp8") {
    f8_rules(contents, settings, out);
    return out;
  }
  LoaderRule types("types", "all weights are floats, and no quantization is announced");
  types.require(!settings.is_object(), "config.json has a quantization_config");
  for (const auto& [name, tensor] : contents.tensors)
    types.require(!ends_with(name, ".weight") || is_float(tensor->dtype),
                  name + " is stored as " + tensor->dtype);
  out.push_back(types.check());
  return out;
}

} // namespace bitlathe
