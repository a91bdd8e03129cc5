// SPDX-License-Identifier: Apache-2.0
// Safetensors folders: float weights as they are; f8_e4m3 weights of linear layers with their
// scales ("quant_method": "fp8"); other quantized ones decoded into the model's float type.
#include "core/export/fused.h"
#include "core/export/linears.h"
#include "core/export/plain_rules.h"
#include "core/export/tensors.h"
#include "core/schemes/activations.h"

#include <algorithm>
#include <cstring>
#include <map>

namespace bitlathe {

namespace {

using Level = Finding::Level;

/// Conv1D has no f8 counterpart in any loader.
bool native_f8(const Scheme& scheme, const Module& module) {
  return scheme.family && scheme.family->id == "f8" && scheme.id.rfind("f8_e4m3", 0) == 0 &&
         module.linear && !module.transposed_in_hf && !module.tied_to_embedding;
}
bool native_f8(const Module& module) { return native_f8(module.weight.scheme, module); }

/// What one quantization_config says for all modules.
std::string scales_of(const Scheme& scheme) {
  return scheme.per_tensor ? "tensor" : scheme.group > 0 ? "b128x128" : "channel";
}
bool is_static(const std::string& activations) {
  const auto* scheme = find_activation_scheme(activations);
  return scheme && scheme->is_static;
}

/// The value that most f8 modules have.
std::string most_common(const std::vector<ExportModule>& modules,
                        const std::function<std::string(const ExportModule&)>& value) {
  std::map<std::string, int> count;
  for (const ExportModule& module : modules)
    if (native_f8(module.scheme, *module.source))
      ++count[value(module)];
  const auto most = std::max_element(
      count.begin(), count.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == count.end() ? std::string() : most->first;
}

void examine_f8(const std::vector<ExportModule>& modules, std::vector<Finding>& out) {
  const auto scales =
      most_common(modules, [](const ExportModule& m) { return scales_of(m.scheme); });
  const auto inputs = most_common(modules, [](const ExportModule& m) {
    return std::string(is_static(m.activations) ? "static" : "dynamic");
  });
  if (scales.empty())
    return;
  std::vector<std::string> float_inputs, heads;
  for (const ExportModule& module : modules) {
    const auto& source = *module.source;
    if (!native_f8(module.scheme, source))
      continue;
    const auto refuse = [&](const std::string& why) {
      out.push_back({Level::refuse, source.name, why});
    };
    if (source.role == "lm_head")
      heads.push_back(source.name);
    if (module.activations == "none")
      float_inputs.push_back(source.name);
    if (scales_of(module.scheme) != scales)
      refuse("Native f8 has one kind of scales for the whole model, here f8_e4m3-" + scales +
             ", not also " + module.scheme.id + "; nearest: f8_e4m3-" + scales);
    else if (module.activations != "none" && module.activations.rfind("f8_e4m3", 0) != 0)
      refuse("With f8 weights, inputs are f8 too, not " + module.activations +
             "; nearest: f8_e4m3-token-dynamic");
    else if (is_static(module.activations) && scales == "b128x128")
      refuse("With scales of 128 x 128 tiles, inputs are coded while running, not with " +
             module.activations + "; nearest: f8_e4m3-token-dynamic");
    else if (is_static(module.activations) != (inputs == "static"))
      refuse("Native f8 has one activation_scheme for the whole model, here " + inputs +
             ", which does not go with activations " + module.activations +
             "; nearest: the same activations for all f8 modules");
  }
  const auto add = [&](Level level, const std::string& text, const std::string& runtime = {}) {
    out.push_back({level, {}, text, runtime});
  };
  if (!float_inputs.empty())
    add(Level::note, "Programs that load native f8 code the inputs to f8 as well, also those of " +
                         std::to_string(float_inputs.size()) +
                         " modules that were meant to stay float: " + name_list(float_inputs));
  if (scales != "b128x128")
    add(Level::warning,
        "transformers reads native f8 with scales of 128 x 128 tiles; nearest: f8_e4m3-b128x128",
        "transformers");
  if (scales == "channel")
    add(Level::warning,
        "vLLM reads native f8 with a scale per tensor or per 128 x 128 tile, not per channel; "
        "nearest: the format compressed-tensors",
        "vllm");
  if (scales == "tensor")
    add(Level::note,
        "vLLM joins q, k and v, and gate and up, takes the largest of their scales and codes the "
        "others again",
        "vllm");
  if (!heads.empty())
    add(Level::warning, "vLLM has no f8 output head: keep it in its float type for vLLM", "vllm");
  examine_fused(modules, out);
}

std::vector<Finding> examine(const Checkpoint& model, const std::vector<ExportModule>& modules) {
  std::vector<Finding> out;
  std::vector<std::string> decoded;
  for (const auto& module : modules) {
    const auto& source = *module.source;
    if (source.tied_to_embedding || native_f8(module.scheme, source))
      continue;
    if (!module.scheme.family)
      out.push_back({Level::refuse, source.name,
                     module.scheme.id + " weights cannot be decoded, so they cannot be rewritten"});
    else if (module.scheme.quantized)
      decoded.push_back(source.name);
    if (module.activations != "none")
      out.push_back({Level::refuse, source.name,
                     "Plain weights carry no activation scheme (" + module.activations +
                         "); nearest: activations none, or the format compressed-tensors"});
  }
  if (!decoded.empty())
    out.push_back({Level::note,
                   {},
                   std::to_string(decoded.size()) + " quantized modules are written decoded, as " +
                       safetensors_dtype(model_float_type(model)) +
                       ": the export has the quality of the codes, not their size"});
  examine_f8(modules, out);
  examine_folder(model, out);
  return out;
}

/// Scales of 16-bit floats with few bits of exponent are not what loaders have: f32 holds the same
/// values.
TensorToWrite scale_tensor(const std::string& name, std::vector<std::int64_t> shape,
                           const QTensor& weight) {
  std::int64_t count = 1;
  for (const auto n : shape)
    count *= n;
  if (weight.scheme.float_type != FloatType::f16)
    return {name, safetensors_dtype(weight.scheme.float_type), std::move(shape),
            std::uint64_t(count) * float_size(weight.scheme.float_type),
            [&weight](OutputFile& file) { return file.write(weight.scales); }};
  return {name, "F32", std::move(shape), std::uint64_t(count) * sizeof(float),
          [&weight, count](OutputFile& file) {
            std::vector<float> values(static_cast<std::size_t>(count));
            for (std::int64_t i = 0; i < count; ++i)
              values[std::size_t(i)] = load_float(FloatType::f16, weight.scales.data(), i);
            return file.write(std::as_bytes(std::span(values)));
          }};
}

void add_f8(const Module& module, std::vector<TensorToWrite>& out) {
  const QTensor& weight = module.weight;
  const auto& name = module.hf_name();
  out.push_back({name + ".weight",
                 "F8_E4M3",
                 {weight.rows, weight.cols},
                 std::uint64_t(weight.rows * weight.cols),
                 [&weight](OutputFile& file) { return file.write(weight.codes); }});
  const auto& scheme = weight.scheme;
  if (scheme.group > 0)
    out.push_back(scale_tensor(name + ".weight_scale_inv",
                               {(weight.rows + scheme.group_rows - 1) / scheme.group_rows,
                                (weight.cols + scheme.group - 1) / scheme.group},
                               weight));
  else
    out.push_back(scale_tensor(name + ".weight_scale",
                               scheme.per_tensor ? std::vector<std::int64_t>{}
                                                 : std::vector{weight.rows, std::int64_t(1)},
                               weight));
  if (is_static(module.activations)) {
    std::vector<std::byte> bytes(sizeof(float));
    std::memcpy(bytes.data(), &module.activation_scale, sizeof(float));
    out.push_back(owned_tensor(name + ".input_scale", "F32", {}, std::move(bytes)));
  }
}

Json f8_config(const Checkpoint& model) {
  const auto first = std::find_if(model.modules.begin(), model.modules.end(),
                                  [](const Module& module) { return native_f8(module); });
  if (first == model.modules.end())
    return {};
  const auto kept = kept_linears(model, [](const Module& module) { return native_f8(module); });
  Json out;
  out["quant_method"] = "fp8";
  out["fmt"] = "e4m3";
  out["activation_scheme"] = is_static(first->activations) ? "static" : "dynamic";
  out["weight_block_size"] =
      first->weight.scheme.group > 0 ? Json::array({128, 128}) : Json(nullptr);
  out["ignored_layers"] = kept;         // vLLM
  out["modules_to_not_convert"] = kept; // transformers
  return out;
}

Result<ExportFiles> files(const ExportInput& input) {
  const auto& model = input.model;
  const FloatType common = model_float_type(model);
  std::vector<TensorToWrite> tensors;
  for (const auto& module : model.modules) {
    if (module.tied_to_embedding)
      continue;
    const auto type = module.weight.scheme.quantized ? common : module.weight.scheme.float_type;
    const auto first = tensors.size();
    if (native_f8(module))
      add_f8(module, tensors);
    else
      tensors.push_back(folder_tensor(module, type));
    with_weight(module.weight, tensors, first);
    add_bias(module, tensors);
  }
  add_others(model, tensors);
  return folder_files(input, std::move(tensors), f8_config(model));
}

constexpr UseWith uses[] = {
    {"transformers", "transformers",
     "# pip install transformers\n"
     "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
     "tokenizer = AutoTokenizer.from_pretrained(\"{path}\")\n"
     "model = AutoModelForCausalLM.from_pretrained(\"{path}\", torch_dtype=\"auto\")\n"},
    {"vllm", "vLLM", "vllm serve {path} --served-model-name {name}\n"},
};

} // namespace

extern const Exporter exporter_safetensors;
const Exporter exporter_safetensors{
    .id = "safetensors",
    .title = "safetensors",
    .summary = "A Hugging Face folder with plain float weights, or f8 ones with their scales.",
    .loaders = "transformers, vLLM, every tool that reads the original",
    .examine = examine,
    .files = files,
    .uses = uses,
    .rules = plain_rules};

} // namespace bitlathe
