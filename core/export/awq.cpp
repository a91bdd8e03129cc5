// SPDX-License-Identifier: Apache-2.0
// AWQ's container ("GEMM" packing): 4-bit codes with zero points packed along the outputs, one
// group size for all modules.
#include "core/export/awq_rules.h"
#include "core/export/fused.h"
#include "core/export/packed_columns.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>

namespace bitlathe {

namespace {

using Level = Finding::Level;

constexpr std::string_view only_four = "AWQ files hold 4-bit integer codes with f16 scales";

bool is_int(const Scheme& scheme) { return scheme.family && scheme.family->id == "int"; }

std::string group_part(const Scheme& scheme) {
  return !is_int(scheme)     ? scheme.group == 32 || scheme.group == 64
                                   ? "g" + std::to_string(scheme.group)
                                   : std::string("g128")
             : scheme.per_tensor ? "tensor"
         : scheme.group > 0  ? "g" + std::to_string(scheme.group)
                             : "channel";
}

std::string nearest(const Scheme& scheme) { return "int4-" + group_part(scheme) + "-asym"; }

/// Why the shape cannot be held with this scheme; empty when it can.
std::string misfit(const Scheme& scheme, const Module& module) {
  const auto rows = module.weight.rows, cols = module.weight.cols;
  if (rows % 8 != 0)
    return "AWQ files hold matrices whose outputs divide by 8, and this one has " +
           std::to_string(rows);
  if (!scheme.per_tensor && scheme.group > 0 && cols % scheme.group != 0)
    return "AWQ files hold whole groups of columns, and " + std::to_string(cols) +
           " columns do not divide by " + std::to_string(scheme.group);
  return {};
}

Exporter::Fallback fallback(const Scheme& scheme, const Module& module) {
  if (!is_int(scheme) || !module.weight.scheme.family || module.weight.scheme.quantized)
    return {};
  const auto why = misfit(scheme, module);
  return why.empty() ? Exporter::Fallback() : Exporter::Fallback{module.weight.scheme.id, why};
}

void examine_module(const ExportModule& module, std::vector<Finding>& out) {
  const Module& source = *module.source;
  const Scheme& scheme = module.scheme;
  const auto refuse = [&](const std::string& why) {
    out.push_back({Level::refuse, source.name, why});
  };
  if (!scheme.family)
    return refuse(scheme.id + " weights cannot be decoded, so they cannot be rewritten");
  if (!scheme.quantized)
    return;
  if (!source.linear)
    return refuse("AWQ files hold quantized linear layers only, and this is " +
                  (source.role == "embedding" ? std::string("an embedding")
                                              : "a module of role " + source.role) +
                  "; nearest: keep its float type");
  if (!is_int(scheme) || scheme.bits != 4 || scheme.float_type != FloatType::f16)
    return refuse(std::string(only_four) + ", not " + scheme.id + "; nearest: " + nearest(scheme));
  if (const auto why = misfit(scheme, source); !why.empty())
    refuse(why + "; nearest: keep its float type");
  if (module.reordered)
    refuse("AWQ files have no place for an order of columns; nearest: act-order with static "
           "groups (gptq.static_groups=1), or the format gptq");
  if (module.activations != "none")
    refuse("AWQ files carry no activation scheme (" + module.activations +
           "); nearest: activations none, or the format compressed-tensors");
}

/// The group size of most parameters, 0 for whole rows.
std::int64_t common_group(const std::vector<ExportModule>& modules) {
  std::map<std::int64_t, std::int64_t> parameters;
  for (const auto& module : modules)
    if (module.scheme.quantized && !module.source->tied_to_embedding)
      parameters[module.scheme.per_tensor ? 0 : module.scheme.group] +=
          module.source->weight.rows * module.source->weight.cols;
  std::int64_t most = -1, group = 0;
  for (const auto& [size, count] : parameters)
    if (count > most) {
      most = count;
      group = size;
    }
  return group;
}

/// Whether a module's groups are those of the whole model: also when its rows are one group long.
bool has_group(const ExportModule& module, std::int64_t group) {
  const auto own = packed_group(module.scheme, module.source->weight.cols);
  return own == group || (own == 0 && group == module.source->weight.cols);
}

/// Names of everything that loaders take for a linear layer and that stays as it is.
std::vector<std::string> kept_linears(const Checkpoint& model,
                                      const std::vector<ExportModule>& modules) {
  std::vector<std::string> out;
  for (const auto& module : modules) {
    const Module& source = *module.source;
    if (source.tied_to_embedding ? source.role == "lm_head"
                                 : source.linear && !module.scheme.quantized)
      out.push_back(source.hf_name());
  }
  constexpr std::string_view tail = ".weight"; // a vision tower, for instance
  for (const auto& other : model.others)
    if (const std::string_view name = other.name; other.shape.size() == 2 &&
                                                  name.size() > tail.size() &&
                                                  name.substr(name.size() - tail.size()) == tail)
      out.emplace_back(name.substr(0, name.size() - tail.size()));
  return out;
}

void examine_runtimes(const Checkpoint& model, const std::vector<ExportModule>& modules,
                      std::int64_t group, std::vector<Finding>& out) {
  if (group != 0 && group != 32 && group != 64 && group != 128)
    out.push_back({Level::warning,
                   {},
                   "vLLM's kernels know groups of 32, 64 and 128 columns and whole rows, not " +
                       std::to_string(group),
                   "vllm"});
  examine_fused(modules, out);
  examine_scale_type(model, out);
  // Loaders look for these names anywhere in a module's name.
  const auto kept = kept_linears(model, modules);
  std::set<std::string> caught;
  for (const auto& module : modules)
    if (module.scheme.quantized && !module.source->tied_to_embedding)
      for (const auto& name : kept)
        if (module.source->hf_name().find(name) != std::string::npos)
          caught.insert(module.source->hf_name() + " (by " + name + ")");
  if (!caught.empty())
    out.push_back({Level::warning,
                   {},
                   "Loaders take names of modules that are left as they are for parts of names, "
                   "and would leave these too: " +
                       name_list({caught.begin(), caught.end()})});
  for (const auto& module : modules)
    if (module.source->role == "lm_head" && module.scheme.quantized &&
        !module.source->tied_to_embedding)
      out.push_back({Level::warning, module.source->name,
                     "transformers never looks for a quantized head in AWQ checkpoints; vLLM does",
                     "transformers"});
  out.push_back({Level::warning,
                 {},
                 "llama.cpp's converter does not read AWQ checkpoints; nearest: the formats gguf "
                 "and gptq",
                 "llama.cpp"});
}

std::vector<Finding> examine(const Checkpoint& model, const std::vector<ExportModule>& modules) {
  std::vector<Finding> out;
  const auto group = common_group(modules);
  std::vector<std::string> symmetric;
  std::size_t quantized = 0;
  for (const auto& module : modules) {
    if (module.source->tied_to_embedding)
      continue;
    const auto before = out.size();
    examine_module(module, out);
    if (!module.scheme.quantized || out.size() > before)
      continue;
    ++quantized;
    if (module.scheme.symmetric)
      symmetric.push_back(module.source->name);
    if (!has_group(module, group))
      out.push_back(
          {Level::refuse, module.source->name,
           "AWQ files have one group size for all modules, here " +
               (group > 0 ? std::to_string(group) + " columns" : std::string("whole rows")) +
               "; nearest: int4-" + (group > 0 ? "g" + std::to_string(group) : "channel") +
               (module.scheme.symmetric ? "-sym" : "-asym") +
               ", or the format compressed-tensors"});
  }
  if (quantized == 0 && out.empty())
    out.push_back({Level::refuse,
                   {},
                   "No linear layer is quantized to int4, so there is nothing for this format to "
                   "hold; nearest: safetensors"});
  const bool refused = std::any_of(out.begin(), out.end(), [](const Finding& finding) {
    return finding.level == Level::refuse;
  });
  if (!refused) {
    if (!symmetric.empty())
      out.push_back({Level::note,
                     {},
                     "Symmetric codes are written with zero points of 8, the same values: " +
                         std::to_string(symmetric.size()) + " modules"});
    examine_runtimes(model, modules, group, out);
  }
  examine_folder(model, out);
  return out;
}

Json settings_of(const Checkpoint& model) {
  const auto modules = export_modules(model);
  const auto group = common_group(modules);
  const auto kept = kept_linears(model, modules);
  const Module* head = nullptr;
  for (const Module& module : model.modules)
    if (module.role == "lm_head")
      head = &module;
  const bool head_only = kept.empty() || (kept.size() == 1 && head && kept[0] == head->hf_name());
  Json out{{"quant_method", "awq"},
           {"bits", 4},
           {"group_size", group > 0 ? group : std::int64_t(-1)},
           {"zero_point", true},
           {"version", "gemm"},
           {"modules_to_not_convert", nullptr}};
  if (!head_only) // which every loader leaves
    out["modules_to_not_convert"] = kept;
  if (head && head->weight.scheme.quantized && !head->tied_to_embedding)
    out["lm_head"] = true;
  return out;
}

Result<ExportFiles> files(const ExportInput& input) {
  std::vector<TensorToWrite> tensors;
  for (const Module& module : input.model.modules) {
    if (module.tied_to_embedding)
      continue;
    const QTensor& weight = module.weight;
    const auto& name = module.hf_name();
    if (!weight.scheme.quantized) {
      tensors.push_back(folder_tensor(module, weight.scheme.float_type));
    } else {
      const auto first = tensors.size();
      tensors.push_back(awq_codes(name + ".qweight", weight));
      tensors.push_back(awq_zeros(name + ".qzeros", weight));
      tensors.push_back(scales_by_group(name + ".scales", weight));
      with_weight(weight, tensors, first);
    }
    add_bias(module, tensors);
  }
  add_others(input.model, tensors);
  return folder_files(input, std::move(tensors), settings_of(input.model));
}

constexpr std::array<UseWith, 3> uses{
    UseWith{"vllm", "vLLM", "vllm serve {path}"},
    UseWith{"transformers", "transformers",
            "# pip install gptqmodel (transformers before 5: autoawq)\n"
            "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
            "model = AutoModelForCausalLM.from_pretrained(\"{path}\", device_map=\"auto\")\n"
            "tokenizer = AutoTokenizer.from_pretrained(\"{path}\")\n"},
    UseWith{"mlx", "MLX",
            "from mlx_lm import load, generate\n"
            "model, tokenizer = load(\"{path}\")\n"
            "print(generate(model, tokenizer, prompt=\"Once upon a time\"))\n"}};

} // namespace

extern const Exporter exporter_awq;
const Exporter exporter_awq{"awq",
                            "AWQ",
                            "A Hugging Face folder with 4-bit weights in AWQ's GEMM layout.",
                            "vLLM, transformers, SGLang, mlx-lm",
                            examine,
                            files,
                            fallback,
                            uses,
                            awq_rules};

} // namespace bitlathe
