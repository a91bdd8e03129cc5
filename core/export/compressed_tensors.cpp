// SPDX-License-Identifier: Apache-2.0
// compressed-tensors: packed integers (pack-quantized), int8 weights with int8 activations
// (int-quantized), f8 (float-quantized), nvfp4 and mxfp4, mixed per module through configuration
// groups.
#include "core/export/compressed_rules.h"
#include "core/export/compressed_write.h"
#include "core/export/fused.h"
#include "core/schemes/activations.h"

#include <array>
#include <functional>
#include <map>
#include <optional>

namespace bitlathe {

namespace {

using Level = Finding::Level;

std::string nearest_int(const Scheme& scheme) {
  return std::string(scheme.bits > 4 ? "int8" : "int4") + "-g32-" +
         (scheme.symmetric ? "sym" : "asym");
}

/// Groups must be whole; a group as long as the row or longer is stored as a channel.
bool ragged(const Scheme& scheme, std::int64_t cols) {
  return scheme.group > 0 && scheme.group < cols && cols % scheme.group != 0;
}

Exporter::Fallback fallback(const Scheme& scheme, const Module& module) {
  const auto cols = module.weight.cols;
  if (!scheme.family || scheme.family->id != "int" || !ragged(scheme, cols))
    return {};
  auto id = scheme.id;
  const auto group = "-g" + std::to_string(scheme.group) + "-";
  id.replace(id.find(group), group.size(), "-channel-");
  return {id, "compressed-tensors needs whole groups, and " + std::to_string(cols) +
                  " columns do not divide by " + std::to_string(scheme.group)};
}

using Refuse = std::function<void(const std::string& why)>;

void examine_f8(const ExportModule& module, const Refuse& refuse) {
  if (module.scheme.id.rfind("f8_e4m3", 0) != 0)
    refuse("compressed-tensors holds f8_e4m3, not " + module.scheme.id +
           "; nearest: f8_e4m3-channel");
  if (module.activations != "none" && module.activations.rfind("f8_e4m3", 0) != 0)
    refuse("With f8 weights, activations are f8 too, not " + module.activations +
           "; nearest: f8_e4m3-token-dynamic");
}

void examine_small_floats(const ExportModule& module, const Refuse& refuse) {
  const std::string with = is_nvfp4(module.scheme) ? "nvfp4-tensor-static" : "mxfp4";
  if (module.activations != "none" && module.activations != with)
    refuse("With " + module.scheme.id + " weights, activations are stored as " + with + ", not " +
           module.activations + "; nearest: " + with +
           (is_nvfp4(module.scheme) ? ", which needs calibration text" : ""));
}

void examine_integers(const ExportModule& module, const Refuse& refuse) {
  const auto& scheme = module.scheme;
  const auto cols = module.source->weight.cols;
  if (const auto instead = fallback(scheme, *module.source); !instead.scheme.empty())
    refuse(instead.reason + "; nearest: " + instead.scheme);
  if (module.activations == "none")
    return;
  const ActivationScheme* activations = find_activation_scheme(module.activations);
  if (module.activations != "int8-token-dynamic" && module.activations != "int8-tensor-static")
    return refuse(
        "Activation scheme " + module.activations + " cannot be stored with " + scheme.id +
        " weights; nearest: " +
        (activations && activations->is_static ? "int8-tensor-static" : "int8-token-dynamic"));
  if (scheme.bits != 8 || !scheme.symmetric || (scheme.group > 0 && scheme.group < cols))
    refuse("With int8 activations, weights must be int8, symmetric, per channel or tensor, not " +
           scheme.id + "; nearest: int8-channel-sym");
}

bool small_floats(const Scheme& scheme) { return is_nvfp4(scheme) || scheme.id == "mxfp4"; }

void examine_module(const ExportModule& module, std::vector<Finding>& out) {
  const auto& source = *module.source;
  const auto& scheme = module.scheme;
  const Refuse refuse = [&](const std::string& why) {
    out.push_back({Level::refuse, source.name, why});
  };
  if (!scheme.family)
    return refuse(scheme.id + " weights cannot be decoded, so they cannot be rewritten");
  if (!scheme.quantized)
    return;
  const bool f8 = scheme.family->id == "f8", integers = scheme.family->id == "int";
  if (!f8 && !integers && !small_floats(scheme))
    return refuse("compressed-tensors has no " + scheme.id +
                  " blocks; nearest: " + nearest_int(scheme));
  if (!source.linear)
    return refuse("compressed-tensors quantizes linear layers only, and this is " +
                  (source.role == "embedding" ? std::string("an embedding")
                                              : "a module of role " + source.role) +
                  "; nearest: keep its float type");
  f8         ? examine_f8(module, refuse)
  : integers ? examine_integers(module, refuse)
             : examine_small_floats(module, refuse);
}

/// What vLLM does with 4- and 8-bit floats.
void examine_float_runtimes(const std::vector<ExportModule>& modules, std::vector<Finding>& out) {
  std::vector<std::string> factors, token, ordered;
  std::map<std::string, std::optional<float>> joined; ///< the factor of a joined matrix
  for (const auto& module : modules) {
    const auto& source = *module.source;
    if (module.scheme.id.rfind("f8_e4m3-b128x128", 0) == 0 && module.activations != "none")
      token.push_back(source.name);
    if (module.reordered && (source.weight.cols % 128 != 0 || source.weight.rows % 64 != 0))
      ordered.push_back(source.name);
    const auto whole = joined_matrix(source);
    if (module.scheme.id != "nvfp4-sf32" || whole.empty())
      continue;
    // A plan does not know the factors yet.
    const QTensor& weight = source.weight;
    const float factor = weight.scheme == module.scheme && weight.scales.size() == sizeof(float)
                             ? load_float(FloatType::f32, weight.scales.data(), 0)
                             : 0.0f;
    auto& known = joined[whole];
    if (!known)
      known = factor;
    if (factor == 0 || factor != *known)
      factors.push_back(source.name);
  }
  if (!factors.empty())
    out.push_back({Level::warning,
                   {},
                   "vLLM takes one factor for q, k and v, and one for gate and up, and decodes the "
                   "others wrongly where they have their own, as nvfp4-sf32 gives them; nearest: "
                   "nvfp4, whose factor is 1 everywhere: " +
                       name_list(factors),
                   "vllm"});
  if (!token.empty())
    out.push_back({Level::warning,
                   {},
                   "With blocks of f8 weights, vLLM wants activations in groups of 128 columns, "
                   "not per token or tensor: " +
                       name_list(token),
                   "vllm"});
  if (!ordered.empty())
    out.push_back(
        {Level::warning,
         {},
         "With an order of columns, vLLM needs inputs that divide by 128 and outputs that "
         "divide by 64: " +
             name_list(ordered),
         "vllm"});
}

std::vector<Finding> examine(const Checkpoint& model, const std::vector<ExportModule>& modules) {
  std::vector<Finding> out;
  std::map<int, std::vector<std::string>> odd_bits, odd_asym;
  std::vector<std::string> per_tensor, odd_groups, odd_columns, turned;
  std::size_t quantized = 0;
  for (const auto& module : modules) {
    if (module.source->tied_to_embedding)
      continue;
    examine_module(module, out);
    const auto& scheme = module.scheme;
    quantized += scheme.family &&
                 (scheme.family->id == "int" || scheme.family->id == "f8" || small_floats(scheme));
    if (!scheme.family || scheme.family->id != "int")
      continue;
    const auto& name = module.source->name;
    const int bits = int(scheme.bits);
    if (bits != 2 && bits != 4 && bits != 8)
      odd_bits[bits].push_back(name);
    if (!scheme.symmetric && bits != 4 && bits != 8)
      odd_asym[bits].push_back(name);
    if (scheme.per_tensor)
      per_tensor.push_back(name);
    if (module.source->transposed_in_hf)
      turned.push_back(name);
    const auto group = scheme.group > 0 && scheme.group < module.source->weight.cols
                           ? scheme.group
                           : std::int64_t(0);
    if (group != 0 && group != 32 && group != 64 && group != 128)
      odd_groups.push_back(name);
    if (module.source->weight.cols % 32 != 0)
      odd_columns.push_back(name);
  }
  if (quantized == 0)
    out.push_back(
        {Level::refuse,
         {},
         "No module is quantized to integers, f8, nvfp4 or mxfp4, so there is nothing for this "
         "format to hold; nearest: safetensors"});
  for (const auto& [bits, names] : odd_bits)
    out.push_back({Level::note,
                   {},
                   std::to_string(names.size()) + " modules have " + std::to_string(bits) +
                       "-bit codes in a dense stream: readers made before 2026 expect another "
                       "packing of this width and decode it wrongly (2, 4 and 8 bits are safe): " +
                       name_list(names)});
  for (const auto& [bits, names] : odd_asym)
    out.push_back({Level::note,
                   {},
                   "vLLM runs asymmetric weights with 4 and 8 bits only, not " +
                       std::to_string(bits) + ": " + name_list(names)});
  if (!per_tensor.empty())
    out.push_back({Level::note,
                   {},
                   "The one scale of each of " + std::to_string(per_tensor.size()) +
                       " modules is stored repeated for every channel: " + name_list(per_tensor)});
  if (!odd_groups.empty())
    out.push_back({Level::note,
                   {},
                   "The fast kernels of vLLM know groups of 32, 64 and 128 and whole channels: " +
                       name_list(odd_groups)});
  if (!odd_columns.empty())
    out.push_back(
        {Level::note, {}, "vLLM needs column counts that divide by 32: " + name_list(odd_columns)});
  if (!turned.empty())
    for (const char* runtime : {"vllm", "transformers"})
      out.push_back({Level::warning,
                     {},
                     "These are no linear layers in the model's own class (Conv1D), so packed "
                     "weights are not looked for in them: " +
                         name_list(turned),
                     runtime});
  examine_float_runtimes(modules, out);
  examine_fused(modules, out);
  examine_folder(model, out, holds_kv_scales(model));
  return out;
}

Result<ExportFiles> files(const ExportInput& input) {
  std::vector<TensorToWrite> tensors;
  for (const auto& module : input.model.modules)
    if (!module.tied_to_embedding)
      add_compressed_module(module, tensors);
  if (holds_kv_scales(input.model))
    for (std::size_t i = 0; i < input.model.kv_scales.size(); ++i) {
      const std::string name = attention_name(input.model, int(i));
      tensors.push_back(one_float(name + ".k_scale", input.model.kv_scales[i][0]));
      tensors.push_back(one_float(name + ".v_scale", input.model.kv_scales[i][1]));
    }
  add_others(input.model, tensors);
  return folder_files(input, std::move(tensors), compressed_config(input.model));
}

constexpr std::array<UseWith, 3> uses{
    UseWith{"vllm", "vLLM", "vllm serve {path}"},
    UseWith{"transformers", "transformers",
            "# pip install compressed-tensors\n"
            "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
            "model = AutoModelForCausalLM.from_pretrained(\"{path}\", device_map=\"auto\")\n"
            "tokenizer = AutoTokenizer.from_pretrained(\"{path}\")\n"},
    UseWith{"llama.cpp", "llama.cpp (decoded to floats; one group of settings)",
            "python convert_hf_to_gguf.py {path} --outtype f16 --outfile {name}.gguf"}};

} // namespace

extern const Exporter exporter_compressed_tensors;
const Exporter exporter_compressed_tensors{
    "compressed-tensors",
    "compressed-tensors",
    "A Hugging Face folder with packed integers, f8, nvfp4 or mxfp4 weights, mixed per layer.",
    "vLLM, SGLang, transformers",
    examine,
    files,
    fallback,
    uses,
    compressed_rules};

} // namespace bitlathe
