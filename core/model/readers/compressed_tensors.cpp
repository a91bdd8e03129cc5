// SPDX-License-Identifier: Apache-2.0
// Hugging Face folders with compressed-tensors weights: packed integers stay mapped as they are;
// signed int8 weights and zero points are brought into the project's form in memory.
#include "core/model/assemble.h"
#include "core/model/readers/compressed_settings.h"
#include "core/model/readers/quantized_folder.h"
#include "kernels/base/parallel.h"
#include "kernels/compute/compute.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <map>
#include <set>

namespace bitlathe {

namespace {

constexpr std::array<std::string_view, 1> methods{"compressed-tensors"};

/// Files of 2024 have no quant_method, but groups.
const Json* settings_of(const Json& config) {
  if (const Json* settings = quantization_config(config, methods))
    return settings;
  for (const char* key : {"quantization_config", "compression_config"}) {
    const auto it = config.find(key);
    if (it != config.end() && it->is_object() && it->contains("config_groups") &&
        !it->contains("quant_method"))
      return &*it;
  }
  return nullptr;
}

bool recognises(const fs::path& path) {
  std::error_code failed;
  if (!fs::is_directory(path, failed) || !fs::is_regular_file(path / "config.json", failed))
    return false;
  const auto config = read_json_file(path / "config.json");
  return config && config->is_object() && settings_of(*config);
}

struct Reading {
  const CompressedConfig& config;
  const std::string& where;
  std::uint64_t copied = 0, repacked = 0;
};

/// Code `index` of a packed line whose words lie `stride` words apart. Before 2026, words held
/// whole codes only (`padded`).
std::uint8_t packed_code(const std::byte* line, std::int64_t index, int bits, std::int64_t stride,
                         bool padded) {
  const std::int64_t per_word = 32 / bits;
  const std::int64_t bit = padded ? index / per_word * 32 + index % per_word * bits : index * bits;
  std::uint32_t low = 0, high = 0;
  std::memcpy(&low, line + bit / 32 * stride * 4, 4);
  if (bit % 32 + bits > 32)
    std::memcpy(&high, line + (bit / 32 + 1) * stride * 4, 4);
  const auto both = std::uint64_t(high) << 32 | low;
  return std::uint8_t(both >> (bit % 32) & ((1u << bits) - 1));
}

/// Whether `words` hold `count` codes densely (false), padded per word (true), or not at all.
std::optional<bool> packing(std::int64_t words, std::int64_t count, int bits) {
  if (words == (count * bits + 31) / 32)
    return false;
  const std::int64_t per_word = 32 / bits;
  if (words == (count + per_word - 1) / per_word)
    return true;
  return std::nullopt;
}

Result<std::pair<std::int64_t, std::int64_t>>
stored_shape(const StoredTensor& tensor, const std::string& module, const std::string& where) {
  std::int64_t wide[2] = {};
  std::int32_t narrow[2] = {};
  if (tensor.dtype == "I64" && tensor.data.size() == 16) {
    std::memcpy(wide, tensor.data.data(), 16);
  } else if (tensor.dtype == "I32" && tensor.data.size() == 8) {
    std::memcpy(narrow, tensor.data.data(), 8);
    std::copy(narrow, narrow + 2, wide);
  } else {
    return bad_module(module, "its weight_shape is not a pair of whole numbers", where);
  }
  if (wide[0] < 1 || wide[1] < 1 || wide[0] > (1ll << 32) || wide[1] > (1ll << 32))
    return bad_module(
        module, "its weight_shape is " + std::to_string(wide[0]) + " x " + std::to_string(wide[1]),
        where);
  return std::pair(wide[0], wide[1]);
}

Result<void> read_codes(const std::string& module, const Parts& parts,
                        const CompressedSettings& settings, Reading& reading, QTensor& out) {
  const auto& where = reading.where;
  const auto packed = parts.find("weight_packed");
  if (packed == parts.end()) {
    const auto& weight = *parts.at("weight");
    if (settings.floats != (weight.dtype == "F8_E4M3"))
      return bad_module(module, "its weight is stored as " + weight.dtype + ", unlike the settings",
                        where);
    if (settings.floats && weight.shape.size() == 2 && !weight.data.empty()) {
      out.rows = weight.shape[0];
      out.cols = weight.shape[1];
      out.codes = weight.data;
      return {};
    }
    if (settings.bits != 8 || weight.shape.size() != 2 || weight.data.empty())
      return bad_module(module, "its int8 weight does not fit the settings", where);
    out.rows = weight.shape[0];
    out.cols = weight.shape[1];
    // Signed bytes become unsigned codes with a bias of 128, in rows of whole words.
    const auto stride = int_row_bytes(out.cols, 8);
    out.owned_codes.resize(std::size_t(out.rows * stride));
    parallel_for(out.rows, 64, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        const auto in = weight.data.subspan(std::size_t(row * out.cols), std::size_t(out.cols));
        std::transform(in.begin(), in.end(), out.owned_codes.begin() + row * stride,
                       [](std::byte b) { return b ^ std::byte(0x80); });
      }
    });
    reading.copied += out.owned_codes.size();
    return {};
  }
  if (settings.floats)
    return bad_module(module, "it is packed, but its settings say f8", where);
  const auto& tensor = *packed->second;
  const auto shape = parts.find("weight_shape");
  if (tensor.dtype != "I32" || tensor.shape.size() != 2)
    return bad_module(module, "its weight_packed is not a matrix of I32", where);
  if (shape == parts.end())
    return bad_module(module, "weight_shape is missing", where);
  TRY_ASSIGN(const auto size, stored_shape(*shape->second, module, where));
  out.rows = size.first;
  out.cols = size.second;
  const auto padded = packing(tensor.shape[1], out.cols, settings.bits);
  if (tensor.shape[0] != out.rows || !padded)
    return bad_module(module,
                      "its weight_packed [" + std::to_string(tensor.shape[0]) + ", " +
                          std::to_string(tensor.shape[1]) + "] does not hold " +
                          std::to_string(settings.bits) + "-bit codes of " +
                          std::to_string(out.rows) + " x " + std::to_string(out.cols),
                      where);
  if (!*padded) {
    out.codes = tensor.data;
    return {};
  }
  const auto stride = int_row_bytes(out.cols, settings.bits);
  out.owned_codes.resize(std::size_t(out.rows * stride));
  parallel_for(out.rows, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const auto* line = tensor.data.data() + row * tensor.shape[1] * 4;
      auto* dense = reinterpret_cast<std::uint8_t*>(out.owned_codes.data()) + row * stride;
      for (std::int64_t i = 0; i < out.cols; ++i) {
        const auto code = unsigned(packed_code(line, i, settings.bits, 1, true));
        const auto bit = i * settings.bits;
        dense[bit / 8] = std::uint8_t(dense[bit / 8] | code << (bit % 8));
        if (bit % 8 + settings.bits > 8)
          dense[bit / 8 + 1] = std::uint8_t(dense[bit / 8 + 1] | code >> (8 - bit % 8));
      }
    }
  });
  reading.repacked += out.owned_codes.size();
  return {};
}

Result<void> read_zeros(const std::string& module, const Parts& parts,
                        const CompressedSettings& settings, std::int64_t grids,
                        std::int64_t grid_rows, Reading& reading, QTensor& out) {
  const auto it = parts.find("weight_zero_point");
  const auto& where = reading.where;
  if (settings.symmetric) {
    if (it != parts.end())
      return bad_module(module, "it is symmetric but has zero points", where);
    return {};
  }
  if (it == parts.end())
    return bad_module(module, "weight_zero_point is missing", where);
  const auto& tensor = *it->second;
  out.owned_zeros.resize(std::size_t(grids * grid_rows));
  if (tensor.dtype == "I8" && tensor.data.size() == out.owned_zeros.size()) {
    const auto bias = std::byte(1u << (settings.bits - 1));
    std::transform(tensor.data.begin(), tensor.data.end(), out.owned_zeros.begin(),
                   [&](std::byte b) { return std::byte(unsigned(b) + unsigned(bias)); });
  } else {
    const auto padded = tensor.shape.size() == 2 && tensor.shape[1] == grids
                            ? packing(tensor.shape[0], grid_rows, settings.bits)
                            : std::nullopt;
    if (tensor.dtype != "I32" || !padded)
      return bad_module(module, "its weight_zero_point does not fit its shape", where);
    for (std::int64_t row = 0; row < grid_rows; ++row)
      for (std::int64_t g = 0; g < grids; ++g)
        out.owned_zeros[std::size_t(row * grids + g)] =
            std::byte(packed_code(tensor.data.data() + g * 4, row, settings.bits, grids, *padded));
  }
  const unsigned top = (1u << settings.bits) - 1;
  for (const auto zero : out.owned_zeros)
    if (unsigned(zero) > top)
      return bad_module(module, "a zero point is out of range", where);
  out.zeros = out.owned_zeros;
  reading.copied += out.owned_zeros.size();
  return {};
}

/// One element of a float type.
std::optional<float> single(const StoredTensor& tensor) {
  for (const FloatType type : {FloatType::f32, FloatType::f16, FloatType::bf16})
    if (tensor.dtype == (type == FloatType::f32   ? "F32"
                         : type == FloatType::f16 ? "F16"
                                                  : "BF16") &&
        tensor.data.size() == float_size(type))
      return load_float(type, tensor.data.data(), 0);
  return std::nullopt;
}

/// The scale of static activations; 0 for others.
Result<float> read_input_scale(const std::string& module, const Parts& parts,
                               const CompressedSettings& settings, const std::string& where) {
  const auto scale = parts.find("input_scale"), zero = parts.find("input_zero_point");
  if (settings.activations.find("static") == std::string::npos) {
    if (scale != parts.end() || zero != parts.end())
      return bad_module(module, "it has an input_scale, but its activations are not static", where);
    return 0.0f;
  }
  if (scale == parts.end())
    return bad_module(module, "its activations are static, but input_scale is missing", where);
  const auto value = single(*scale->second);
  if (!value || !(*value > 0) || !std::isfinite(*value))
    return bad_module(module, "its input_scale is not one number above 0", where);
  if (zero != parts.end())
    for (const std::byte b : zero->second->data)
      if (b != std::byte(0))
        return Error{"unsupported",
                     module + ": its activations have a zero point, which this version cannot run",
                     where};
  return *value;
}

/// Whether a tensor may be the scale of keys or values.
bool names_kv_scale(const std::string& name) {
  for (const std::string_view tail :
       {".k_scale", ".v_scale", ".kv_scale", ".k_proj.output_scale", ".v_proj.output_scale"})
    if (name.size() > tail.size() &&
        name.compare(name.size() - tail.size(), tail.size(), tail) == 0)
      return true;
  return false;
}

/// The scales of keys and values, by any of the names in use, among the candidates. Those that are
/// not used go to the model's other tensors.
Result<void> read_kv_scales(Checkpoint& checkpoint, const Json& scheme,
                            std::vector<StoredTensor> candidates, const std::string& where) {
  const auto is = [&](const char* key, const Json& value) {
    const auto it = scheme.find(key);
    return it != scheme.end() && *it == value;
  };
  if (!is("num_bits", 8) || !is("type", "float") || is("dynamic", true) ||
      (!is("strategy", "tensor") && scheme.contains("strategy")) || is("symmetric", false) ||
      !checkpoint.spec) {
    checkpoint.others.insert(checkpoint.others.end(), candidates.begin(), candidates.end());
    checkpoint.notes.push_back("The KV cache scheme in config.json is not used here (known: f8 "
                               "with one static scale for keys and one for values)");
    return {};
  }
  std::set<std::string> used;
  const auto find = [&](const std::string& attention, char side) -> Result<std::optional<float>> {
    const std::string s(1, side);
    for (const std::string& tail :
         {"." + s + "_scale", "." + s + "_proj." + s + "_scale", "." + s + "_proj.output_scale",
          ".qkv_proj." + s + "_scale", std::string(".kv_scale")})
      for (const StoredTensor& tensor : candidates)
        if (tensor.name == attention + tail) {
          const auto value = single(tensor);
          if (!value || !(*value > 0) || !std::isfinite(*value))
            return Error{"bad-file", tensor.name + " is not one number above 0", where};
          used.insert(tensor.name);
          return value;
        }
    return std::optional<float>();
  };
  std::int64_t missing = 0;
  for (int layer = 0; layer < int(checkpoint.spec->layers); ++layer) {
    std::string name;
    for (const char* part : {"k", "qkv"})
      if (const Module* module = checkpoint.find_part(layer, part))
        name = module->hf_name().substr(0, module->hf_name().rfind('.'));
    TRY_ASSIGN(const auto keys, find(name, 'k'));
    TRY_ASSIGN(const auto values, find(name, 'v'));
    missing += !keys && !values;
    // As vLLM has it: one for both when only one is there, 1 when none is.
    checkpoint.kv_scales.push_back(
        {keys.value_or(values.value_or(1.0f)), values.value_or(keys.value_or(1.0f))});
  }
  if (missing > 0)
    checkpoint.notes.push_back("The scales of keys and values are missing in " +
                               std::to_string(missing) + " layers; they are 1 there");
  checkpoint.kv_keys = checkpoint.kv_values = "f8_e4m3-static";
  for (StoredTensor& tensor : candidates)
    if (used.count(tensor.name) == 0) {
      checkpoint.notes.push_back(tensor.name + " belongs to no layer and is not used");
      checkpoint.others.push_back(std::move(tensor));
    }
  return {};
}

Result<void> read_quantized(const std::string& name, const Parts& parts, Reading& reading,
                            Module& module) {
  const auto& where = reading.where;
  const auto* settings = reading.config.find(name);
  if (!settings)
    return bad_module(name,
                      reading.config.ignored(name)
                          ? "it is on the ignore list, but stored quantized"
                          : "no group of the quantization_config covers it",
                      where);
  if (parts.count("weight_g_idx"))
    return Error{"unsupported", name + ": it has weight_g_idx, which this version cannot run",
                 where};
  if (parts.count("weight_packed") && parts.count("weight"))
    return bad_module(name, "it is stored both packed and plain", where);
  const auto scale = parts.find("weight_scale");
  if (scale == parts.end())
    return bad_module(name, "weight_scale is missing", where);

  module.activations = settings->activations;
  TRY_ASSIGN(module.activation_scale, read_input_scale(name, parts, *settings, where));
  QTensor& out = module.weight;
  TRY(read_codes(name, parts, *settings, reading, out));
  if (!out.owned_codes.empty())
    out.codes = out.owned_codes;
  module.shape = matrix_shape(out);

  TRY_ASSIGN(const FloatType type, float_type_of(*scale->second, name, where));
  const auto count = std::int64_t(scale->second->data.size() / float_size(type));
  const std::int64_t group = settings->group > 0 ? settings->group : out.cols;
  const std::int64_t groups = (out.cols + group - 1) / group;
  const bool per_tensor = settings->strategy == "tensor" && count == 1 && out.rows > 1;
  if (count != (per_tensor ? 1 : out.rows * groups))
    return bad_module(name,
                      "it has " + std::to_string(count) + " scales instead of " +
                          std::to_string(out.rows * groups),
                      where);
  out.scales = scale->second->data;
  std::string id = settings->floats ? "f8_e4m3" : "int" + std::to_string(settings->bits);
  id += per_tensor ? "-tensor" : settings->group > 0 ? "-g" + std::to_string(group) : "-channel";
  if (!settings->floats)
    id += settings->symmetric ? "-sym" : "-asym";
  id += type == FloatType::bf16 ? "-sbf16" : type == FloatType::f32 ? "-sf32" : "";
  TRY_ASSIGN(out.scheme, parse_scheme(id));
  TRY(read_zeros(name, parts, *settings, per_tensor ? 1 : groups, per_tensor ? 1 : out.rows,
                 reading, out));
  const auto codes = parts.find("weight_packed");
  keep_alive(out, {codes == parts.end() ? parts.at("weight") : codes->second, scale->second});
  return {};
}

Result<std::shared_ptr<Checkpoint>> open(const fs::path& path) {
  auto checkpoint = start_folder(path, "compressed-tensors");
  const auto where = (path / "config.json").string();
  const Json* settings = settings_of(checkpoint->config);
  if (!settings)
    return Error{"bad-file", "config.json has no quantization_config", where};
  TRY_ASSIGN(const auto config, CompressedConfig::parse(*settings, where));
  TRY_ASSIGN(const auto file, read_safetensors_folder(path));

  Reading reading{config, where};
  const ReadParts read = [&](const std::string& name, const Parts& parts, Module& module,
                             std::vector<std::string>& used) -> Result<bool> {
    const auto weight = parts.find("weight");
    const bool one_byte = weight != parts.end() &&
                          (weight->second->dtype == "I8" || weight->second->dtype == "F8_E4M3");
    if (!parts.count("weight_packed") && !one_byte)
      return false;
    TRY(read_quantized(name, parts, reading, module));
    used = {"weight",      "weight_packed",   "weight_scale", "weight_shape", "weight_zero_point",
            "input_scale", "input_zero_point"};
    return true;
  };
  TRY_ASSIGN(auto found, collect_modules(*checkpoint, file.tensors, read));
  const auto kv = settings->find("kv_cache_scheme");
  const bool has_kv = kv != settings->end() && kv->is_object();
  std::vector<StoredTensor> kv_scales;
  if (has_kv) {
    auto& others = checkpoint->others;
    const auto first =
        std::stable_partition(others.begin(), others.end(),
                              [](const StoredTensor& t) { return !names_kv_scale(t.name); });
    kv_scales.assign(std::make_move_iterator(first), std::make_move_iterator(others.end()));
    others.erase(first, others.end());
  }
  assemble(*checkpoint, std::move(found), file.tensors, where);
  if (reading.copied > 0)
    checkpoint->notes.push_back("Signed weights and zero points (" +
                                std::to_string(reading.copied) +
                                " bytes) are held in memory, not mapped");
  if (reading.repacked > 0)
    checkpoint->notes.push_back("The codes are packed as before 2026; " +
                                std::to_string(reading.repacked) +
                                " bytes were packed densely in memory");
  if (has_kv) {
    checkpoint->kv_scales.clear(); // what other programs read comes first
    TRY(read_kv_scales(*checkpoint, *kv, std::move(kv_scales), where));
  }
  return checkpoint;
}

} // namespace

extern const CheckpointReader checkpoint_reader_compressed_tensors;
const CheckpointReader checkpoint_reader_compressed_tensors{
    "compressed-tensors", "A Hugging Face folder with compressed-tensors integer or f8 weights.",
    recognises, open};

} // namespace bitlathe
