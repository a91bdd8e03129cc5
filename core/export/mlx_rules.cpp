// SPDX-License-Identifier: Apache-2.0
#include "core/export/mlx_rules.h"

#include "core/export/linears.h"

#include <algorithm>
#include <cmath>

namespace bitlathe {

namespace {

bool one_of(const Json& value, std::initializer_list<int> known) {
  return value.is_number_integer() &&
         std::any_of(known.begin(), known.end(), [&](int n) { return value == n; });
}

bool is_float(const std::string& dtype) {
  return dtype == "F32" || dtype == "F16" || dtype == "BF16";
}

bool all_finite(const StoredTensor& tensor) {
  const FloatType type = tensor.dtype == "F32"   ? FloatType::f32
                         : tensor.dtype == "F16" ? FloatType::f16
                                                 : FloatType::bf16;
  const auto count = std::int64_t(tensor.data.size() / float_size(type));
  for (std::int64_t i = 0; i < count; ++i)
    if (!std::isfinite(load_float(type, tensor.data.data(), i)))
      return false;
  return true;
}

void check_module(const FolderContents& folder, const std::string& module, const Json& settings,
                  LoaderRule& rule) {
  const auto say = [&](const std::string& what) { rule.broken(module + ": " + what); };
  const Json own = settings.value(module, Json());
  if (own == false)
    return say("the settings say false, but it is quantized");
  const auto get = [&](const char* key) {
    return own.is_object() && own.contains(key) ? own[key] : settings.value(key, Json());
  };
  const auto mode = get("mode");
  if (!mode.is_null() && mode != "affine")
    return; // other kinds of blocks, not checked
  const auto bits = get("bits"), group = get("group_size");
  if (!one_of(bits, {2, 3, 4, 5, 6, 8}) || !one_of(group, {32, 64, 128}))
    return say("MLX has no " + bits.dump() + " bits in groups of " + group.dump());
  const StoredTensor* weight = folder.find(module + ".weight");
  const StoredTensor* scales = folder.find(module + ".scales");
  const StoredTensor* offsets = folder.find(module + ".biases");
  if (!weight || weight->dtype != "U32" || weight->shape.size() < 2)
    return say("its weight is not a matrix of U32 words");
  if (!scales || !is_float(scales->dtype))
    return say("its scales are missing or no floats");
  if (!offsets || offsets->dtype != scales->dtype || offsets->shape != scales->shape)
    return say("its biases are missing or unlike its scales");
  const auto words_per_group = group.get<std::int64_t>() * bits.get<std::int64_t>() / 32;
  auto want = weight->shape;
  want.back() /= words_per_group;
  if (weight->shape.back() % words_per_group != 0 || scales->shape != want)
    return say("its weight " + shape_text(weight->shape) + " and scales " +
               shape_text(scales->shape) + " do not fit " + bits.dump() + " bits in groups of " +
               group.dump());
  if (!all_finite(*scales) || !all_finite(*offsets))
    say("its scales or biases hold NaN or infinities");
}

} // namespace

std::vector<VerifyCheck> mlx_rules(const fs::path& path) {
  std::vector<VerifyCheck> out;
  const auto folder = read_contents(path);
  if (!folder) {
    out.push_back({"files", false, folder.error().text()});
    return out;
  }
  const auto& contents = **folder;
  LoaderRule config("configuration", "the settings are there, and the header names the format mlx");
  const auto format = contents.file.metadata.find("format");
  config.require(format != contents.file.metadata.end() && format->second == "mlx",
                 "the metadata has no \"format\": \"mlx\"");
  const Json settings = contents.config.value("quantization", Json::object());
  config.require(settings.is_object() && settings.contains("group_size") &&
                     settings.contains("bits"),
                 "config.json has no \"quantization\" with group_size and bits");
  const Json twice = contents.config.value("quantization_config", Json());
  config.require(twice.is_null() || twice == settings,
                 "quantization_config is not the same as quantization");
  out.push_back(config.check());
  if (!settings.is_object())
    return out;

  LoaderRule modules("quantized modules", "words, scales and biases fit the settings");
  std::size_t quantized = 0;
  for (const auto& [name, tensor] : contents.tensors)
    if (const auto module = without_tail(name, ".scales"); !module.empty()) {
      ++quantized;
      check_module(contents, module, settings, modules);
    } else if (tensor->dtype == "U32" &&
               !contents.find(without_tail(name, ".weight") + ".scales")) {
      modules.broken(name + " is packed, but has no scales");
    }
  modules.require(quantized > 0, "no module is quantized");
  for (const auto& [name, own] : settings.items())
    if (own.is_object() && !contents.find(name + ".scales"))
      modules.broken("there are settings for " + name + ", which is not quantized");
  out.push_back(modules.check());
  return out;
}

} // namespace bitlathe
