// SPDX-License-Identifier: Apache-2.0
#include "core/export/gptq_config.h"

#include "core/export/packed_columns.h"

#include <algorithm>
#include <set>
#include <tuple>

namespace bitlathe {

namespace {

/// "model.layers.3.self_attn.q_proj" as "model.layers", "3", "self_attn", "q_proj"; outside of
/// blocks everything but the last is empty.
struct SplitName {
  std::string list, layer, parent, last;
};

SplitName split(const Module& module) {
  const auto& name = module.hf_name();
  const auto layer = std::to_string(module.layer);
  const auto at = module.layer < 0 ? std::string::npos : name.find("." + layer + ".");
  if (at == std::string::npos)
    return {{}, {}, {}, name};
  SplitName out{name.substr(0, at), layer, {}, name.substr(at + layer.size() + 2)};
  if (const auto dot = out.last.rfind('.'); dot != std::string::npos) {
    out.parent = out.last.substr(0, dot);
    out.last = out.last.substr(dot + 1);
  }
  return out;
}

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '_' || (c & 0x80);
    out += plain ? std::string(1, c) : std::string("\\") + c;
  }
  return out;
}

template <class List> std::string alternatives(const List& list) {
  std::string out;
  for (const auto& item : list)
    out += (out.empty() ? "" : "|") + escaped(item);
  return "(?:" + out + ")";
}

/// The name that vLLM has for parts it joins.
std::string joined_name(const std::string& part) {
  if (part == "q_proj" || part == "k_proj" || part == "v_proj")
    return "qkv_proj";
  if (part == "gate_proj" || part == "up_proj")
    return "gate_up_proj";
  return {};
}

} // namespace

GptqSummary::GptqSummary(const std::vector<ExportModule>& modules) {
  std::map<std::string, std::set<std::string>> kept_in_block;
  std::map<Kind, std::int64_t> parameters;
  for (const auto& module : modules) {
    const Module& source = *module.source;
    if (source.tied_to_embedding || !source.linear)
      continue;
    const auto name = split(source);
    const auto block = name.list + "." + name.layer;
    const auto tail = (name.parent.empty() ? "" : name.parent + ".") + name.last;
    linears_.push_back(&source);
    if (!name.layer.empty())
      in_block_[block]; // every block counts, also one that keeps all
    if (!module.scheme.quantized) {
      if (!name.layer.empty()) {
        kept_.push_back(&source);
        kept_in_block[block].insert(tail);
      }
      continue;
    }
    const Kind kind{int(module.scheme.bits), packed_group(module.scheme, source.weight.cols),
                    module.scheme.symmetric};
    kinds_[kind].push_back(&source);
    parameters[kind] += source.weight.rows * source.weight.cols;
    second_version_ = second_version_ || !kind.symmetric;
    ordered_ = ordered_ || module.reordered;
    if (name.layer.empty())
      head_ = source.role == "lm_head" ? source.hf_name() : head_;
    else
      in_block_[block].push_back(tail);
  }
  std::int64_t most = -1;
  for (const auto& [kind, count] : parameters)
    if (count > most) {
      most = count;
      base_ = kind;
    }
  for (const auto& [block, tails] : in_block_)
    uniform_ = uniform_ && tails == in_block_.begin()->second;
}

/// One expression that matches these modules by the names of the checkpoint, and the layers that
/// vLLM joins of them by its own names.
std::string GptqSummary::expression(const std::vector<const Module*>& modules) const {
  using Place = std::pair<std::string, std::string>;                   // list of layers, parent
  std::map<Place, std::map<std::string, std::set<std::string>>> lasts; // by layer
  std::set<std::string> outside;
  for (const Module* module : modules) {
    const auto name = split(*module);
    if (name.layer.empty())
      outside.insert(name.last);
    else
      lasts[{name.list, name.parent}][name.layer].insert(name.last);
  }
  // The joined name where all parts that the model has are among them.
  std::map<std::pair<Place, std::string>, std::vector<std::string>> present; // by place and layer
  for (const Module* module : linears_)
    if (const auto name = split(*module); !joined_name(name.last).empty())
      present[{{name.list, name.parent}, name.layer}].push_back(name.last);
  for (auto& [place, by_layer] : lasts)
    for (auto& [layer, names] : by_layer) {
      std::map<std::string, bool> whole;
      for (const auto& part : present[{place, layer}]) {
        const auto it = whole.emplace(joined_name(part), true).first;
        it->second = it->second && names.count(part) > 0;
      }
      for (const auto& [joined, all] : whole)
        if (all)
          names.insert(joined);
    }
  std::vector<std::string> parts;
  for (const auto& [place, by_layer] : lasts) {
    std::map<std::set<std::string>, std::vector<std::string>> layers; // of the same names
    for (const auto& [layer, names] : by_layer)
      layers[names].push_back(layer);
    const auto dot = place.first.rfind('.');
    const auto list = (dot == std::string::npos ? "(?:.*\\.)?" : ".*\\.") +
                      escaped(dot == std::string::npos ? place.first : place.first.substr(dot + 1));
    for (auto& [names, numbers] : layers) {
      std::sort(numbers.begin(), numbers.end(), [](const std::string& a, const std::string& b) {
        return std::pair(a.size(), a) < std::pair(b.size(), b);
      });
      parts.push_back(list + "\\." + alternatives(numbers) + "\\." +
                      (place.second.empty() ? "" : escaped(place.second) + "\\.") +
                      alternatives(names));
    }
  }
  for (const auto& name : outside)
    parts.push_back("(?:.*\\.)?" + escaped(name));
  std::string out;
  for (const auto& part : parts)
    out += (out.empty() ? "" : "|") + part;
  return (parts.size() > 1 ? "(?:" + out + ")" : out) + "$";
}

Json GptqSummary::config() const {
  // What tells how codes were found (damp_percent, static_groups, true_sequential) is left out: all
  // loaders have defaults, and an exporter does not know it.
  Json out{{"quant_method", "gptq"},
           {"checkpoint_format", second_version_ ? "gptq_v2" : "gptq"},
           {"bits", base_.bits},
           {"group_size", base_.group > 0 ? base_.group : std::int64_t(-1)},
           {"sym", base_.symmetric},
           {"desc_act", ordered_},
           {"lm_head", !head_.empty()},
           {"pack_dtype", "int32"},
           {"meta", {{"quantizer", Json::array({std::string("bitlathe:") + BITLATHE_VERSION})}}}};
  Json dynamic = Json::object();
  for (const auto& [kind, modules] : kinds_) {
    if (!(kind < base_) && !(base_ < kind))
      continue;
    Json settings = Json::object();
    if (kind.bits != base_.bits)
      settings["bits"] = kind.bits;
    if (kind.group != base_.group)
      settings["group_size"] = kind.group > 0 ? kind.group : std::int64_t(-1);
    if (kind.symmetric != base_.symmetric)
      settings["sym"] = kind.symmetric;
    dynamic["+:" + expression(modules)] = settings;
  }
  if (!kept_.empty())
    dynamic["-:" + expression(kept_)] = Json::object();
  out["dynamic"] = dynamic;
  // transformers goes by this list: the same for every block. vLLM takes it for all there is.
  if (!kept_.empty() && uniform_ && !in_block_.empty()) {
    Json list = Json::array();
    for (const auto& tail : in_block_.begin()->second)
      list.push_back(Json::array({tail}));
    if (!head_.empty())
      list.push_back(Json::array({head_}));
    out["modules_in_block_to_quantize"] = list;
  }
  return out;
}

} // namespace bitlathe
