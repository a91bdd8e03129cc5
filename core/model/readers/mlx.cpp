// SPDX-License-Identifier: Apache-2.0
// Hugging Face folders that MLX quantized: dense codes in U32 words, a scale and an offset
// ("biases") per group, with settings per module. Everything stays mapped. Where every offset is a
// whole number of steps, the weight is the integer scheme that it then equals.
#include "core/model/assemble.h"
#include "core/model/readers/compressed_weights.h"
#include "core/model/readers/quantized_folder.h"
#include "kernels/compute/compute.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

namespace bitlathe {

namespace {

/// Only MLX has settings without a quant_method, under a key of its own or the common one.
const Json* settings_of(const Json& config) {
  for (const char* key : {"quantization", "quantization_config"}) {
    const auto it = config.find(key);
    if (it == config.end() || !it->is_object() || it->contains("quant_method") ||
        !it->contains("group_size") || !it->contains("bits"))
      continue;
    if (it->contains("mode") || std::string_view(key) == "quantization")
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

struct Settings {
  std::int64_t bits = 0, group = 0;
  std::string mode = "affine";
};

Result<Settings> settings_from(const Json& json, const Settings& otherwise,
                               const std::string& module, const std::string& where) {
  Settings out;
  TRY_ASSIGN(out.mode, json_string_or(json, "mode", otherwise.mode, where));
  const bool same = out.mode == otherwise.mode;
  TRY_ASSIGN(out.bits, json_int_or(json, "bits", same ? otherwise.bits : 4, where));
  TRY_ASSIGN(out.group, json_int_or(json, "group_size", same ? otherwise.group : 0, where));
  const auto name = module.empty() ? std::string() : module + ": ";
  const std::int64_t blocks = out.mode == "mxfp4" ? 32 : out.mode == "nvfp4" ? 16 : 0;
  if (out.mode != "affine" && blocks == 0)
    return Error{"unsupported",
                 name + "The quantization mode \"" + out.mode +
                     "\" of MLX cannot be read (known: affine, mxfp4, nvfp4)",
                 where};
  if (blocks != 0 && out.group == 0)
    out.group = blocks;
  if (out.bits < 2 || out.bits > 8 || out.group < 1 || out.group > (1 << 24) ||
      (blocks != 0 && (out.bits != 4 || out.group != blocks)))
    return Error{"bad-file",
                 name + "The settings say " + std::to_string(out.bits) + " bits in groups of " +
                     std::to_string(out.group) + (blocks != 0 ? " for " + out.mode : ""),
                 where};
  return out;
}

struct Reading {
  const Json& json;
  Settings common;
  const std::string& where;
  const std::string& config_path;
  std::uint64_t widened = 0, blocks = 0;
};

/// The zero points when every offset is exactly -zero * scale; empty as soon as one is not.
std::vector<std::byte> whole_offsets(const QTensor& weight) {
  const auto type = weight.scheme.float_type;
  const auto count = std::int64_t(weight.scales.size() / float_size(type));
  const double top = double((1 << int(weight.scheme.bits)) - 1);
  std::vector<std::byte> out;
  for (std::int64_t i = 0; i < count; ++i) {
    const double scale = double(load_float(type, weight.scales.data(), i));
    const double offset = double(load_float(type, weight.zeros.data(), i));
    const double zero = std::nearbyint(-offset / scale);
    if (!(scale > 0) || !(zero >= 0 && zero <= top) || -zero * scale != offset)
      return {};
    out.push_back(std::byte(int(zero)));
  }
  return out;
}

std::vector<std::byte> as_f32(const StoredTensor& tensor, FloatType type) {
  const auto count = std::int64_t(tensor.data.size() / float_size(type));
  std::vector<std::byte> out(std::size_t(count) * sizeof(float));
  for (std::int64_t i = 0; i < count; ++i)
    store_float(FloatType::f32, out.data(), i, load_float(type, tensor.data.data(), i));
  return out;
}

/// Modes mxfp4 and nvfp4: the 4-bit floats of GGUF's blocks in another order.
Result<void> read_blocks(const std::string& name, const Settings& settings,
                         const StoredTensor& words, const StoredTensor& scale, Reading& reading,
                         QTensor& out) {
  if (scale.dtype != "U8")
    return bad_module(name, "its scales are stored as " + scale.dtype + ", not as bytes",
                      reading.where);
  const bool nvfp4 = settings.mode == "nvfp4";
  if (nvfp4 && out.cols % 64 != 0)
    return Error{"unsupported",
                 name + ": rows of " + std::to_string(out.cols) +
                     " values do not divide into the blocks of 64 that nvfp4 is held in here",
                 reading.where};
  auto blocks = nvfp4 ? nvfp4_blocks(words.data, scale.data, out.rows, out.cols)
                      : mxfp4_blocks(words.data, scale.data, out.rows, out.cols);
  if (!blocks)
    return bad_module(name, "one of its scales is not a number", reading.where);
  TRY_ASSIGN(out.scheme, parse_scheme(settings.mode));
  out.owned_codes = std::move(*blocks);
  out.own();
  reading.blocks += out.owned_codes.size();
  return {};
}

Result<void> read_quantized(const std::string& name, const Parts& parts, Reading& reading,
                            Module& module) {
  const auto& where = reading.where;
  Settings settings = reading.common;
  if (const auto own = reading.json.find(name); own != reading.json.end()) {
    if (own->is_object()) {
      TRY_ASSIGN(settings, settings_from(*own, reading.common, name, reading.config_path));
    } else if (*own == false) {
      return bad_module(name, "the settings leave it as it is, but it is stored quantized", where);
    }
  }
  const auto weight = parts.find("weight"), scales = parts.find("scales"),
             offsets = parts.find("biases");
  if (weight == parts.end() || weight->second->dtype != "U32")
    return bad_module(name, "it has scales, but no weight of U32 words", where);
  if (scales == parts.end())
    return bad_module(name, "its weight is packed into U32 words, but scales is missing", where);
  const bool affine = settings.mode == "affine";
  if (affine && offsets == parts.end())
    return bad_module(name, "its biases, the offsets of its groups, are missing", where);
  const auto &words = *weight->second, &scale = *scales->second;
  if (words.shape.size() < 2 || words.data.empty())
    return bad_module(name, "its weight is no matrix", where);
  QTensor& out = module.weight;
  out.rows = 1;
  for (std::size_t i = 0; i + 1 < words.shape.size(); ++i)
    out.rows *= words.shape[i];
  const std::int64_t word_bits = words.shape.back() * 32;
  out.cols = word_bits / settings.bits;
  auto groups = words.shape;
  groups.back() = out.cols / settings.group;
  if (word_bits % settings.bits != 0 || out.cols % settings.group != 0 || groups.back() < 1 ||
      scale.shape != groups)
    return bad_module(name,
                      "its " + std::to_string(words.shape.back()) + " words and " +
                          std::to_string(scale.shape.empty() ? 0 : scale.shape.back()) +
                          " scales per row do not fit " + std::to_string(settings.bits) +
                          " bits in groups of " + std::to_string(settings.group),
                      where);
  module.shape = words.shape;
  module.shape.back() = out.cols;
  if (!affine)
    return read_blocks(name, settings, words, scale, reading, out);
  const auto& offset = *offsets->second;
  if (offset.shape != scale.shape)
    return bad_module(name, "its biases do not have the shape of its scales", where);
  TRY_ASSIGN(FloatType type, float_type_of(scale, name, where));
  TRY_ASSIGN(const FloatType offset_type, float_type_of(offset, name, where));
  out.codes = words.data;
  out.scales = scale.data;
  out.zeros = offset.data;
  if (type != offset_type) {
    out.owned_scales = as_f32(scale, type);
    out.owned_zeros = as_f32(offset, offset_type);
    out.scales = out.owned_scales;
    out.zeros = out.owned_zeros;
    reading.widened += out.owned_scales.size() + out.owned_zeros.size();
    type = FloatType::f32;
  }
  const std::string tail = type == FloatType::bf16  ? "-sbf16"
                           : type == FloatType::f32 ? "-sf32"
                                                    : "";
  const auto bits = std::to_string(settings.bits), group = "-g" + std::to_string(settings.group);
  TRY_ASSIGN(out.scheme, parse_scheme("affine" + bits + group + tail));
  if (auto zeros = whole_offsets(out); !zeros.empty()) {
    const auto middle = std::byte(1 << (settings.bits - 1));
    const bool symmetric =
        std::all_of(zeros.begin(), zeros.end(), [&](std::byte zero) { return zero == middle; });
    TRY_ASSIGN(out.scheme,
               parse_scheme("int" + bits + group + (symmetric ? "-sym" : "-asym") + tail));
    out.owned_zeros = symmetric ? std::vector<std::byte>() : std::move(zeros);
    out.zeros = out.owned_zeros;
  }
  keep_alive(out, {&words, &scale, &offset});
  return {};
}

Result<std::shared_ptr<Checkpoint>> open(const fs::path& path) {
  auto checkpoint = start_folder(path, "mlx");
  const auto where = (path / "config.json").string();
  const Json* json = settings_of(checkpoint->config);
  if (!json)
    return Error{"bad-file", "config.json has no quantization settings", where};
  TRY_ASSIGN(const Settings common, settings_from(*json, {}, {}, where));
  TRY_ASSIGN(const auto file, read_safetensors_folder(path));
  const std::string folder = path.string();
  Reading reading{*json, common, folder, where};

  const ReadParts read = [&](const std::string& name, const Parts& parts, Module& module,
                             std::vector<std::string>& used) -> Result<bool> {
    const auto weight = parts.find("weight");
    const bool packed = weight != parts.end() && weight->second->dtype == "U32";
    if (!packed && !(weight != parts.end() && parts.count("scales")))
      return false;
    TRY(read_quantized(name, parts, reading, module));
    used = {"weight", "scales", "biases"};
    return true;
  };
  TRY_ASSIGN(auto found, collect_modules(*checkpoint, file.tensors, read));
  assemble(*checkpoint, std::move(found), file.tensors, where);
  if (reading.blocks > 0)
    checkpoint->notes.push_back("The 4-bit floats of MLX (" + std::to_string(reading.blocks) +
                                " bytes) were put into blocks in memory; they are not mapped");
  if (reading.widened > 0)
    checkpoint->notes.push_back("Scales and offsets of different types are held as f32 (" +
                                std::to_string(reading.widened) + " bytes)");
  return checkpoint;
}

} // namespace

extern const CheckpointReader checkpoint_reader_mlx;
const CheckpointReader checkpoint_reader_mlx{
    "mlx", "A Hugging Face folder that MLX quantized (modes affine, mxfp4 and nvfp4).", recognises,
    open};

} // namespace bitlathe
