// SPDX-License-Identifier: Apache-2.0
// Plain safetensors: float weights as they are, quantized ones decoded into the model's float type.
#include "core/export/tensors.h"

namespace bitlathe {

namespace {

std::vector<Finding> examine(const Checkpoint& model, const std::vector<ExportModule>& modules) {
  using Level = Finding::Level;
  std::vector<Finding> out;
  std::vector<std::string> decoded;
  for (const auto& module : modules) {
    const auto& source = *module.source;
    if (source.tied_to_embedding)
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
  examine_folder(model, out);
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
    tensors.push_back(folder_tensor(module, type));
    if (module.bias.rows > 0) {
      const auto bias_type = module.bias.scheme.float_type;
      tensors.push_back(float_tensor(module.hf_name() + ".bias", safetensors_dtype(bias_type),
                                     {module.bias.cols}, module.bias, bias_type));
    }
  }
  for (const auto& other : model.others)
    if (safetensors_dtype_bits(other.dtype) > 0)
      tensors.push_back(bytes_tensor(other.name, other.dtype, other.shape, other.data));
  return folder_files(input, std::move(tensors), Json());
}

} // namespace

extern const Exporter exporter_safetensors;
const Exporter exporter_safetensors{"safetensors",
                                    "safetensors",
                                    "A Hugging Face folder with plain float weights.",
                                    "transformers, vLLM, every tool that reads the original",
                                    examine,
                                    files};

} // namespace bitlathe
