// SPDX-License-Identifier: Apache-2.0
// compressed-tensors: packed integer weights (pack-quantized) and int8 weights with dynamic int8
// activations (int-quantized), mixed per module through configuration groups.
#include "core/export/compressed_config.h"
#include "core/export/fused.h"
#include "core/export/tensors.h"
#include "core/schemes/activations.h"
#include "kernels/compute/compute.h"

#include <algorithm>
#include <cstring>
#include <map>

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

void examine_f8(const ExportModule& module, std::vector<Finding>& out) {
  const auto refuse = [&](const std::string& why) {
    out.push_back({Level::refuse, module.source->name, why});
  };
  if (module.scheme.id.rfind("f8_e4m3", 0) != 0 || module.scheme.group > 0)
    refuse("compressed-tensors is written with f8_e4m3 per tensor or channel, not " +
           module.scheme.id + "; nearest: f8_e4m3-channel");
  if (!module.source->linear)
    refuse("compressed-tensors quantizes linear layers only, and this is a module of role " +
           module.source->role + "; nearest: keep its float type");
  if (module.activations != "none" && module.activations.rfind("f8_e4m3", 0) != 0)
    refuse("With f8 weights, activations are f8 too, not " + module.activations +
           "; nearest: f8_e4m3-token-dynamic");
}

void examine_module(const ExportModule& module, std::vector<Finding>& out) {
  const auto& source = *module.source;
  const auto& scheme = module.scheme;
  const auto refuse = [&](const std::string& why) {
    out.push_back({Level::refuse, source.name, why});
  };
  if (!scheme.family)
    return refuse(scheme.id + " weights cannot be decoded, so they cannot be rewritten");
  if (!scheme.quantized)
    return;
  if (scheme.family->id == "f8")
    return examine_f8(module, out);
  if (scheme.family->id != "int")
    return refuse("compressed-tensors has no " + scheme.id +
                  " blocks; nearest: " + nearest_int(scheme));
  if (!source.linear)
    return refuse("compressed-tensors quantizes linear layers only, and this is " +
                  (source.role == "embedding" ? std::string("an embedding")
                                              : "a module of role " + source.role) +
                  "; nearest: keep its float type");
  const auto cols = source.weight.cols;
  if (const auto instead = fallback(scheme, source); !instead.scheme.empty())
    refuse(instead.reason + "; nearest: " + instead.scheme);
  if (module.reordered)
    refuse(refuse_reordered);
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
    quantized += scheme.family && (scheme.family->id == "int" || scheme.family->id == "f8");
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
         "No module is quantized to integers or f8, so there is nothing for this format to "
         "hold; nearest: safetensors"});
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
  examine_fused(modules, out);
  examine_folder(model, out, holds_kv_scales(model));
  return out;
}

/// Scales as [out][groups]; the one scale of a tensor is repeated for every channel.
TensorToWrite scale_tensor(const std::string& name, const QTensor& weight, std::int64_t groups) {
  const auto dtype = safetensors_dtype(weight.scheme.float_type);
  if (!weight.scheme.per_tensor)
    return bytes_tensor(name, dtype, {weight.rows, groups}, weight.scales);
  std::vector<std::byte> repeated;
  for (std::int64_t row = 0; row < weight.rows; ++row)
    repeated.insert(repeated.end(), weight.scales.begin(), weight.scales.end());
  return owned_tensor(name, dtype, {weight.rows, 1}, std::move(repeated));
}

/// Zero points packed down the rows: column g is the dense stream of group g's zero points.
TensorToWrite zero_tensor(const std::string& name, const QTensor& weight, std::int64_t groups) {
  const int bits = int(weight.scheme.bits);
  const std::int64_t words = (weight.rows * bits + 31) / 32;
  std::vector<std::uint32_t> packed(std::size_t(words * groups));
  for (std::int64_t row = 0; row < weight.rows; ++row)
    for (std::int64_t g = 0; g < groups; ++g) {
      const auto zero =
          std::uint64_t(weight.zeros[std::size_t(weight.scheme.per_tensor ? 0 : row * groups + g)]);
      const std::int64_t bit = row * bits, word = bit / 32;
      const auto shifted = zero << (bit % 32);
      packed[std::size_t(word * groups + g)] |= std::uint32_t(shifted);
      if (shifted >> 32)
        packed[std::size_t((word + 1) * groups + g)] |= std::uint32_t(shifted >> 32);
    }
  std::vector<std::byte> bytes(packed.size() * 4);
  std::memcpy(bytes.data(), packed.data(), bytes.size());
  return owned_tensor(name, "I32", {words, groups}, std::move(bytes));
}

/// Rows of 8-bit codes, unsigned with a bias of 128, as signed bytes without row padding.
TensorToWrite int8_tensor(const std::string& name, const QTensor& weight) {
  return {name,
          "I8",
          {weight.rows, weight.cols},
          std::uint64_t(weight.rows * weight.cols),
          [&weight](OutputFile& file) -> Result<void> {
            const auto stride = std::size_t(int_row_bytes(weight.cols, 8));
            std::vector<std::byte> row_data(std::size_t(weight.cols));
            for (std::int64_t row = 0; row < weight.rows; ++row) {
              const auto in = weight.codes.subspan(std::size_t(row) * stride, row_data.size());
              std::transform(in.begin(), in.end(), row_data.begin(),
                             [](std::byte b) { return b ^ std::byte(0x80); });
              TRY(file.write(row_data));
            }
            return {};
          }};
}

TensorToWrite one_float(const std::string& name, float value) {
  std::vector<std::byte> bytes(sizeof value);
  std::memcpy(bytes.data(), &value, sizeof value);
  return owned_tensor(name, "F32", {1}, std::move(bytes));
}

void add_module(const Module& module, std::vector<TensorToWrite>& out) {
  const auto& weight = module.weight;
  const auto& name = module.hf_name();
  if (!weight.scheme.quantized) {
    out.push_back(folder_tensor(module, weight.scheme.float_type));
  } else {
    const auto groups =
        compressed_group(weight) == 0 ? std::int64_t(1) : weight.cols / compressed_group(weight);
    if (weight.scheme.family->id == "f8") {
      out.push_back(
          bytes_tensor(name + ".weight", "F8_E4M3", {weight.rows, weight.cols}, weight.codes));
      out.push_back(
          bytes_tensor(name + ".weight_scale", safetensors_dtype(weight.scheme.float_type),
                       weight.scheme.per_tensor ? std::vector<std::int64_t>{1}
                                                : std::vector{weight.rows, std::int64_t(1)},
                       weight.scales));
      if (module.activation_scale != 0)
        out.push_back(one_float(name + ".input_scale", module.activation_scale));
    } else if (module.activations != "none") {
      out.push_back(int8_tensor(name + ".weight", weight));
      out.push_back(scale_tensor(name + ".weight_scale", weight, 1));
      if (module.activation_scale != 0)
        out.push_back(one_float(name + ".input_scale", module.activation_scale));
    } else {
      const auto words = int_row_bytes(weight.cols, int(weight.scheme.bits)) / 4;
      out.push_back(
          bytes_tensor(name + ".weight_packed", "I32", {weight.rows, words}, weight.codes));
      out.push_back(scale_tensor(name + ".weight_scale", weight, groups));
      if (!weight.scheme.symmetric)
        out.push_back(zero_tensor(name + ".weight_zero_point", weight, groups));
      const std::int64_t shape[2] = {weight.rows, weight.cols};
      const auto raw = std::as_bytes(std::span(shape));
      out.push_back(owned_tensor(name + ".weight_shape", "I64", {2}, {raw.begin(), raw.end()}));
    }
  }
  if (module.bias.rows > 0) {
    const auto type = module.bias.scheme.float_type;
    out.push_back(float_tensor(name + ".bias", safetensors_dtype(type), {module.bias.cols},
                               module.bias, type));
  }
}

Result<ExportFiles> files(const ExportInput& input) {
  std::vector<TensorToWrite> tensors;
  for (const auto& module : input.model.modules)
    if (!module.tied_to_embedding)
      add_module(module, tensors);
  if (holds_kv_scales(input.model))
    for (std::size_t i = 0; i < input.model.kv_scales.size(); ++i) {
      const std::string name = attention_name(input.model, int(i));
      tensors.push_back(one_float(name + ".k_scale", input.model.kv_scales[i][0]));
      tensors.push_back(one_float(name + ".v_scale", input.model.kv_scales[i][1]));
    }
  for (const auto& other : input.model.others)
    if (safetensors_dtype_bits(other.dtype) > 0)
      tensors.push_back(bytes_tensor(other.name, other.dtype, other.shape, other.data));
  return folder_files(input, std::move(tensors), compressed_config(input.model));
}

} // namespace

extern const Exporter exporter_compressed_tensors;
const Exporter exporter_compressed_tensors{
    "compressed-tensors",
    "compressed-tensors",
    "A Hugging Face folder with packed integer weights, mixed per layer.",
    "vLLM, SGLang, transformers",
    examine,
    files,
    fallback};

} // namespace bitlathe
