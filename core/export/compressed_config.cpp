// SPDX-License-Identifier: Apache-2.0
#include "core/export/compressed_config.h"

#include "core/schemes/activations.h"

#include <map>
#include <set>
#include <tuple>

namespace bitlathe {

namespace {

/// Modules of one kind share a group of settings.
struct Kind {
  std::string format; ///< how the weights are stored
  int bits = 0;
  bool floats = false;
  std::string strategy;
  std::int64_t group = 0, block = 0;
  bool symmetric = true, ordered = false;
  std::string activations;
  auto key() const {
    return std::tie(format, bits, floats, strategy, group, block, symmetric, ordered, activations);
  }
  bool operator<(const Kind& other) const { return key() < other.key(); }
};

Kind kind_of(const Module& module) {
  const QTensor& weight = module.weight;
  const Scheme& scheme = weight.scheme;
  Kind kind;
  kind.bits = int(scheme.bits);
  kind.activations = module.activations;
  if (scheme.family->id == "int") {
    kind.format = module.activations != "none" ? "int-quantized" : "pack-quantized";
    kind.group = compressed_group(weight);
    kind.strategy = kind.group > 0 ? "group" : "channel";
    kind.symmetric = scheme.symmetric;
    kind.ordered = weight.column_order && kind.group > 0;
    return kind;
  }
  kind.floats = true;
  if (scheme.family->id == "f8") {
    kind.format = "float-quantized";
    kind.block = scheme.group;
    kind.strategy = scheme.per_tensor ? "tensor" : kind.block > 0 ? "block" : "channel";
  } else {
    kind.format = is_nvfp4(scheme) ? "nvfp4-pack-quantized" : "mxfp4-pack-quantized";
    kind.group = is_nvfp4(scheme) ? 16 : 32;
    kind.strategy = is_nvfp4(scheme) ? "tensor_group" : "group";
  }
  return kind;
}

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '_' || (c & 0x80);
    if (!plain)
      out += '\\';
    out += c;
  }
  return out;
}

std::string joined(const std::vector<std::string>& parts) {
  std::string out;
  for (const auto& part : parts)
    out += (out.empty() ? "" : "|") + part;
  return parts.size() > 1 ? "(" + out + ")" : out;
}

/// One expression for a set of modules: "re:model\.layers\.(0|3)\.(self_attn\.q_proj|...)$". It
/// must be one, because parts that vLLM joins have to match the same entry.
std::string expression(const std::vector<const Module*>& modules) {
  // (before the number, after it) -> numbers; then the tails that share head and numbers.
  std::map<std::pair<std::string, std::string>, std::vector<std::string>> numbers;
  std::vector<std::string> alternatives;
  for (const Module* module : modules) {
    const auto marked =
        module->layer < 0 ? std::string() : "." + std::to_string(module->layer) + ".";
    const auto at = marked.empty() ? std::string::npos : module->hf_name().find(marked);
    if (at == std::string::npos)
      alternatives.push_back(escaped(module->hf_name()));
    else
      numbers[{escaped(module->hf_name().substr(0, at + 1)),
               escaped(module->hf_name().substr(at + marked.size()))}]
          .push_back(std::to_string(module->layer));
  }
  std::map<std::pair<std::string, std::string>, std::vector<std::string>> tails;
  for (const auto& [ends, layers] : numbers)
    tails[{ends.first, joined(layers)}].push_back(ends.second);
  for (const auto& [key, ends] : tails)
    alternatives.push_back(key.first + key.second + "\\." + joined(ends));
  return "re:" + joined(alternatives) + "$";
}

Json settings(int bits, bool floats, bool symmetric, const std::string& strategy,
              std::int64_t group, const Json& dynamic) {
  return {{"num_bits", bits},
          {"type", floats ? "float" : "int"},
          {"symmetric", symmetric},
          {"strategy", strategy},
          {"group_size", group > 0 ? Json(group) : Json(nullptr)},
          {"dynamic", dynamic},
          {"actorder", nullptr},
          {"block_structure", nullptr},
          {"observer", dynamic == true ? Json(nullptr) : Json("minmax")},
          {"observer_kwargs", Json::object()}};
}

Json activation_settings(const Kind& kind) {
  if (kind.activations == "none")
    return nullptr;
  if (kind.activations == "mxfp4")
    return settings(4, true, true, "group", 32, true);
  if (kind.activations == "nvfp4-tensor-static") // of blocks: at run time; above them: fixed
    return settings(4, true, true, "tensor_group", 16, "local");
  const bool fixed = find_activation_scheme(kind.activations)->is_static;
  return settings(8, kind.activations.rfind("f8", 0) == 0, true, fixed ? "tensor" : "token", 0,
                  !fixed);
}

Json group_entry(const Kind& kind, const std::vector<std::string>& targets) {
  Json weights = settings(kind.bits, kind.floats, kind.symmetric, kind.strategy, kind.group, false);
  if (kind.ordered)
    weights["actorder"] = "group";
  if (kind.block > 0)
    weights["block_structure"] = {kind.block, kind.block};
  return {{"targets", targets},
          {"weights", weights},
          {"input_activations", activation_settings(kind)},
          {"output_activations", nullptr}};
}

Json kv_scheme(const Checkpoint& model) {
  if (!holds_kv_scales(model))
    return nullptr;
  return {{"num_bits", 8},        {"type", "float"},
          {"symmetric", true},    {"group_size", nullptr},
          {"strategy", "tensor"}, {"dynamic", false},
          {"actorder", nullptr},  {"block_structure", nullptr},
          {"observer", "minmax"}, {"observer_kwargs", Json::object()}};
}

} // namespace

bool is_nvfp4(const Scheme& scheme) { return scheme.id == "nvfp4" || scheme.id == "nvfp4-sf32"; }

bool holds_kv_scales(const Checkpoint& model) {
  return model.kv_keys == "f8_e4m3-static" && model.kv_values == "f8_e4m3-static" && model.spec &&
         std::int64_t(model.kv_scales.size()) == model.spec->layers;
}

std::string attention_name(const Checkpoint& model, int layer) {
  for (const char* part : {"k", "qkv"})
    if (const Module* module = model.find_part(layer, part))
      return module->hf_name().substr(0, module->hf_name().rfind('.'));
  return {};
}

std::int64_t compressed_group(const QTensor& weight) {
  const auto group = weight.scheme.group;
  return weight.scheme.per_tensor || group >= weight.cols ? 0 : group;
}

Json compressed_config(const Checkpoint& model) {
  std::map<Kind, std::vector<const Module*>> kinds;
  std::vector<std::string> ignore;
  for (const auto& module : model.modules) {
    const bool quantized = module.weight.scheme.quantized && !module.tied_to_embedding;
    if (quantized)
      kinds[kind_of(module)].push_back(&module);
    else if (module.linear || module.role == "lm_head")
      ignore.push_back(module.hf_name());
  }
  // Other parts of a model, such as its vision tower, are linear layers too, and left as they are.
  for (const auto& other : model.others) {
    constexpr std::string_view tail = ".weight";
    const std::string_view name = other.name;
    if (other.shape.size() == 2 && name.size() > tail.size() &&
        name.substr(name.size() - tail.size()) == tail)
      ignore.emplace_back(name.substr(0, name.size() - tail.size()));
  }
  std::set<std::string> formats;
  for (const auto& [kind, modules] : kinds)
    formats.insert(kind.format);
  const bool mixed = formats.size() > 1;
  Json groups = Json::object();
  for (const auto& [kind, modules] : kinds) {
    const bool only = kinds.size() == 1;
    // lm_head is no "Linear" to vLLM: when quantized, it is named.
    std::vector<std::string> targets{only ? std::string("Linear") : expression(modules)};
    if (only)
      for (const auto* module : modules)
        if (module->role == "lm_head")
          targets.push_back(module->hf_name());
    auto entry = group_entry(kind, targets);
    if (mixed)
      entry["format"] = kind.format;
    groups["group_" + std::to_string(groups.size())] = std::move(entry);
  }
  return {{"quant_method", "compressed-tensors"},
          {"format", mixed             ? "mixed-precision"
                     : formats.empty() ? "pack-quantized"
                                       : *formats.begin()},
          {"quantization_status", "compressed"},
          {"global_compression_ratio", nullptr},
          {"kv_cache_scheme", kv_scheme(model)},
          {"ignore", ignore},
          {"config_groups", groups}};
}

} // namespace bitlathe
