// SPDX-License-Identifier: Apache-2.0
// GPTQ's container: integer weights of 2, 3, 4 and 8 bits packed along the inputs, with zero
// points of version 1 or 2, any order of columns, and settings that may differ between modules.
#include "core/export/fused.h"
#include "core/export/gptq_config.h"
#include "core/export/gptq_rules.h"
#include "core/export/packed_columns.h"

#include <algorithm>
#include <array>
#include <map>

namespace bitlathe {

namespace {

using Level = Finding::Level;

std::string group_text(std::int64_t group) { return group > 0 ? std::to_string(group) : "-1"; }

/// The scheme of this family that comes closest, with f16 scales.
std::string nearest(const Scheme& scheme) {
  const bool integer = scheme.family && scheme.family->id == "int";
  const int bits = !integer ? (scheme.bits > 4 ? 8 : 4) : scheme.bits > 4 ? 8 : int(scheme.bits);
  std::string group = "g128";
  if (integer)
    group = scheme.per_tensor  ? "tensor"
            : scheme.group > 0 ? "g" + std::to_string(scheme.group)
                               : "channel";
  else if (scheme.group == 32 || scheme.group == 64)
    group = "g" + std::to_string(scheme.group);
  return "int" + std::to_string(bits) + "-" + group + "-" + (scheme.symmetric ? "sym" : "asym");
}

bool fits(const Module& module) {
  return module.weight.rows % 32 == 0 && module.weight.cols % 32 == 0;
}

Exporter::Fallback fallback(const Scheme& scheme, const Module& module) {
  if (!scheme.family || scheme.family->id != "int" || fits(module) ||
      !module.weight.scheme.family || module.weight.scheme.quantized)
    return {};
  return {module.weight.scheme.id,
          "GPTQ files hold matrices whose sides divide by 32, and this one has " +
              std::to_string(module.weight.rows) + " outputs and " +
              std::to_string(module.weight.cols) + " inputs"};
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
    return refuse("GPTQ files hold quantized linear layers only, and this is " +
                  (source.role == "embedding" ? std::string("an embedding")
                                              : "a module of role " + source.role) +
                  "; nearest: keep its float type");
  const int bits = int(scheme.bits);
  if (scheme.family->id != "int" || (bits != 2 && bits != 3 && bits != 4 && bits != 8))
    return refuse("GPTQ files hold integer codes of 2, 3, 4 and 8 bits, not " + scheme.id +
                  "; nearest: " + nearest(scheme));
  if (scheme.float_type != FloatType::f16)
    refuse("GPTQ files hold scales in f16, not those of " + scheme.id +
           "; nearest: " + nearest(scheme));
  if (!fits(source)) {
    const auto instead = fallback(scheme, source);
    refuse(instead.scheme.empty() ? "Its " + std::to_string(source.weight.rows) + " outputs and " +
                                        std::to_string(source.weight.cols) +
                                        " inputs do not both divide by 32, as GPTQ files need; "
                                        "nearest: keep its float type"
                                  : instead.reason + "; nearest: " + instead.scheme);
  }
  if (module.activations != "none")
    refuse("GPTQ files carry no activation scheme (" + module.activations +
           "); nearest: activations none, or the format compressed-tensors");
}

/// Groups of columns must be the same ones in the parts that vLLM joins: it keeps one g_idx.
void examine_orders(const std::vector<ExportModule>& modules, std::vector<Finding>& out) {
  std::map<std::string, const QTensor*> first;
  std::vector<std::string> differing;
  for (const auto& module : modules) {
    const auto& role = module.source->role;
    const bool attention = role == "q_proj" || role == "k_proj" || role == "v_proj";
    const QTensor& weight = module.source->weight;
    if ((!attention && role != "gate_proj" && role != "up_proj") || !weight.column_order)
      continue;
    const auto& name = module.source->name;
    const auto whole = name.substr(0, name.rfind('.')) + (attention ? " q, k, v" : " gate, up");
    const auto it = first.emplace(whole, &weight).first;
    if (*it->second->column_order != *weight.column_order &&
        (differing.empty() || differing.back() != whole))
      differing.push_back(whole);
  }
  if (!differing.empty())
    out.push_back({Level::warning,
                   {},
                   "vLLM joins these and keeps one order of columns for all parts, but theirs "
                   "differ; nearest: gptq.static_groups=1: " +
                       name_list(differing),
                   "vllm"});
}

struct Names {
  std::map<std::string, std::vector<std::string>> by_reason;
  void add(const std::string& reason, const Module& module) {
    by_reason[reason].push_back(module.name);
  }
  void report(const char* runtime, std::vector<Finding>& out) const {
    for (const auto& [reason, names] : by_reason)
      out.push_back({Level::warning,
                     {},
                     reason + " (" + std::to_string(names.size()) +
                         (names.size() == 1 ? " module: " : " modules: ") + name_list(names) + ")",
                     runtime});
  }
};

/// What single loaders run of what the format holds.
void examine_runtimes(const Checkpoint& model, const std::vector<ExportModule>& modules,
                      const GptqSummary& summary, std::vector<Finding>& out) {
  static constexpr std::array<std::int64_t, 8> gptqmodel_groups{0, 16, 32, 64, 128, 256, 512, 1024};
  Names vllm, gptqmodel, llama;
  for (const auto& [kind, list] : summary.kinds())
    for (const Module* module : list) {
      if ((kind.bits != 4 && kind.bits != 8) || !kind.symmetric)
        vllm.add("vLLM runs symmetric codes of 4 and 8 bits, not " + std::to_string(kind.bits) +
                     " bits " + (kind.symmetric ? "symmetric" : "asymmetric") +
                     "; nearest for it: the format compressed-tensors",
                 *module);
      const auto group = kind.group;
      if (group != 0 && group != 32 && group != 64 && group != 128)
        vllm.add("vLLM's kernels know groups of 32, 64 and 128 columns and whole rows, not " +
                     group_text(group),
                 *module);
      if (group != 0 && module->weight.cols % group != 0)
        vllm.add("vLLM needs whole groups of " + group_text(group) + " columns", *module);
      if (std::find(gptqmodel_groups.begin(), gptqmodel_groups.end(), group) ==
          gptqmodel_groups.end())
        gptqmodel.add("GPTQModel's kernels know groups of 16, 32, 64, 128, 256, 512 and 1024 "
                      "columns and whole rows, not " +
                          group_text(group),
                      *module);
      if (summary.ordered() && (module->weight.rows % 64 != 0 || module->weight.cols % 128 != 0))
        vllm.add("With act-order, vLLM needs outputs that divide by 64 and inputs that divide by "
                 "128",
                 *module);
      if (kind.bits == 3)
        llama.add("llama.cpp's converter does not read 3-bit codes", *module);
      else if (kind.bits != summary.base().bits)
        llama.add("llama.cpp's converter takes all modules to have " +
                      std::to_string(summary.base().bits) + " bits",
                  *module);
      if (module->transposed_in_hf)
        llama.add("llama.cpp's converter would turn these matrices, which the model's class "
                  "stores as [in, out], a second time",
                  *module);
    }
  vllm.report("vllm", out);
  gptqmodel.report("transformers", out);
  gptqmodel.report("gptqmodel", out);
  llama.report("llama.cpp", out);
  examine_fused(modules, out);
  examine_scale_type(model, out);
  examine_orders(modules, out);

  const bool shapes_differ =
      std::any_of(summary.kinds().begin(), summary.kinds().end(), [&](const auto& entry) {
        return entry.first.bits != summary.base().bits || entry.first.group != summary.base().group;
      });
  if (shapes_differ)
    out.push_back({Level::warning,
                   {},
                   "transformers ignores the settings of single modules (\"dynamic\"), so it does "
                   "not load mixed bits or groups; GPTQModel and vLLM do",
                   "transformers"});
  if (!summary.kept().empty() && !summary.uniform())
    out.push_back({Level::warning,
                   {},
                   "transformers leaves the same layers as they are in every block, but here they "
                   "differ between blocks; GPTQModel and vLLM load it",
                   "transformers"});
  if (!summary.head().empty())
    out.push_back({Level::warning,
                   {},
                   "transformers looks for quantized layers inside blocks only, not for a "
                   "quantized " +
                       summary.head() + "; GPTQModel and vLLM load it",
                   "transformers"});
}

std::vector<Finding> examine(const Checkpoint& model, const std::vector<ExportModule>& modules) {
  std::vector<Finding> out;
  std::vector<std::string> per_tensor;
  for (const auto& module : modules) {
    if (module.source->tied_to_embedding)
      continue;
    examine_module(module, out);
    if (module.scheme.quantized && module.scheme.per_tensor)
      per_tensor.push_back(module.source->name);
  }
  const GptqSummary summary(modules);
  if (summary.kinds().empty() && out.empty())
    out.push_back({Level::refuse,
                   {},
                   "No linear layer is quantized to integers, so there is nothing for this format "
                   "to hold; nearest: safetensors"});
  // The rest would be said of modules that are not written.
  const bool refused = std::any_of(out.begin(), out.end(), [](const Finding& finding) {
    return finding.level == Level::refuse;
  });
  if (!refused) {
    out.push_back({Level::note,
                   {},
                   summary.second_version()
                       ? "Zero points are written as they are (checkpoint_format gptq_v2): in "
                         "version 1, a zero point of 0 of asymmetric codes differs between loaders"
                       : "Zero points are written less one (checkpoint_format gptq), which every "
                         "loader reads: all codes are symmetric"});
    if (!per_tensor.empty())
      out.push_back(
          {Level::note,
           {},
           "The one scale of each of " + std::to_string(per_tensor.size()) +
               " modules is stored repeated for every channel: " + name_list(per_tensor)});
    examine_runtimes(model, modules, summary, out);
  }
  examine_folder(model, out);
  return out;
}

Result<ExportFiles> files(const ExportInput& input) {
  const GptqSummary summary(export_modules(input.model));
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
      tensors.push_back(gptq_codes(name + ".qweight", weight));
      tensors.push_back(gptq_zeros(name + ".qzeros", weight, !summary.second_version()));
      tensors.push_back(scales_by_group(name + ".scales", weight));
      tensors.push_back(group_index(name + ".g_idx", weight));
      with_weight(weight, tensors, first);
    }
    add_bias(module, tensors);
  }
  add_others(input.model, tensors);
  const Json config = summary.config();
  TRY_ASSIGN(ExportFiles out, folder_files(input, std::move(tensors), config));
  out.files.insert(out.files.begin(), text_file("quantize_config.json", config.dump(2) + "\n"));
  return out;
}

constexpr std::array<UseWith, 4> uses{
    UseWith{"vllm", "vLLM", "vllm serve {path}"},
    UseWith{"transformers", "transformers",
            "# pip install optimum gptqmodel\n"
            "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
            "model = AutoModelForCausalLM.from_pretrained(\"{path}\", device_map=\"auto\")\n"
            "tokenizer = AutoTokenizer.from_pretrained(\"{path}\")\n"},
    UseWith{"gptqmodel", "GPTQModel",
            "from gptqmodel import GPTQModel\n"
            "model = GPTQModel.load(\"{path}\")\n"
            "print(model.tokenizer.decode(model.generate(\"Once upon a time\")[0]))\n"},
    UseWith{"llama.cpp", "llama.cpp (decoded to floats)",
            "python convert_hf_to_gguf.py {path} --outtype f16 --outfile {name}.gguf"}};

} // namespace

extern const Exporter exporter_gptq;
const Exporter exporter_gptq{
    "gptq",
    "GPTQ",
    "A Hugging Face folder with 2-, 3-, 4- or 8-bit weights in GPTQ's layout, mixed per layer.",
    "vLLM, GPTQModel, transformers, SGLang; llama.cpp's converter",
    examine,
    files,
    fallback,
    uses,
    gptq_rules};

} // namespace bitlathe
