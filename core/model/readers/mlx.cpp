// SPDX-License-Identifier: Apache-2.0
// Hugging Face folders that MLX quantized: dense codes in U32 words, a scale and an offset
// ("biases") per group, with settings per module. Everything stays mapped. Where every offset is a
// whole number of steps, the weight is the integer scheme that it then equals, with zero points
// that are made when they are used.
#include "core/model/assemble.h"
#include "core/model/readers/compressed_weights.h"
#include "core/model/readers/quantized_folder.h"
#include "core/schemes/deferred.h"
#include "kernels/base/parallel.h"
#include "kernels/compute/compute.h"

#include <algorithm>
#include <array>
#include <atomic>
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

/// A float tensor of a scale or an offset per group.
struct PerGroup {
  StoredTensor tensor;
  FloatType type = FloatType::f16;
  std::int64_t count() const { return std::int64_t(tensor.data.size() / float_size(type)); }
  float at(std::int64_t i) const { return load_float(type, tensor.data.data(), i); }
};

/// The zero point of an offset that is exactly -zero * scale; else -1.
int zero_of(float scale, float offset, std::int64_t bits) {
  const double zero = std::nearbyint(-double(offset) / double(scale));
  const bool whole = scale > 0 && zero >= 0 && zero <= double((1 << bits) - 1) &&
                     -zero * double(scale) == double(offset);
  return whole ? int(zero) : -1;
}

/// What the offsets of a weight are.
enum class Offsets { any, whole, middle };
Offsets offsets_of(const PerGroup& scales, const PerGroup& offsets, std::int64_t bits) {
  std::atomic<bool> whole{true}, middle{true};
  parallel_for(scales.count(), 1 << 14, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end && whole; ++i) {
      const int zero = zero_of(scales.at(i), offsets.at(i), bits);
      if (zero < 0)
        whole = false;
      if (zero != 1 << (bits - 1))
        middle = false;
    }
  });
  return !whole ? Offsets::any : middle ? Offsets::middle : Offsets::whole;
}

void widen(const PerGroup& from, std::span<std::byte> out) {
  for (std::int64_t i = 0; i < from.count(); ++i)
    store_float(FloatType::f32, out.data(), i, from.at(i));
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
  TRY_ASSIGN(out.scheme, parse_scheme(settings.mode));
  TRY(defer(
      out, out.scheme.family->bytes(out.scheme, out.rows, out.cols),
      [name, words, scale, nvfp4, rows = out.rows,
       cols = out.cols](const DeferredParts::Spans& parts) -> Result<void> {
        if (!(nvfp4 ? nvfp4_blocks : mxfp4_blocks)(words.data, scale.data, rows, cols, parts.codes))
          return bad_module(name, "one of its scales is not a number", scale.file->path().string());
        return {};
      }));
  reading.blocks += out.codes.size();
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
             biases = parts.find("biases");
  if (weight == parts.end() || weight->second->dtype != "U32")
    return bad_module(name, "it has scales, but no weight of U32 words", where);
  if (scales == parts.end())
    return bad_module(name, "its weight is packed into U32 words, but scales is missing", where);
  const bool affine = settings.mode == "affine";
  if (affine && biases == parts.end())
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
  const auto& offset = *biases->second;
  if (offset.shape != scale.shape)
    return bad_module(name, "its biases do not have the shape of its scales", where);
  TRY_ASSIGN(FloatType type, float_type_of(scale, name, where));
  TRY_ASSIGN(const FloatType offset_type, float_type_of(offset, name, where));
  out.codes = words.data;
  const PerGroup of_scales{scale, type}, of_offsets{offset, offset_type};
  const bool widened = type != offset_type;
  if (widened)
    type = FloatType::f32;
  const std::string tail = type == FloatType::bf16  ? "-sbf16"
                           : type == FloatType::f32 ? "-sf32"
                                                    : "";
  const auto bits = std::to_string(settings.bits), group = "-g" + std::to_string(settings.group);
  const Offsets offsets = offsets_of(of_scales, of_offsets, settings.bits);
  TRY_ASSIGN(out.scheme,
             parse_scheme(offsets == Offsets::any      ? "affine" + bits + group + tail
                          : offsets == Offsets::middle ? "int" + bits + group + "-sym" + tail
                                                       : "int" + bits + group + "-asym" + tail));
  SchemeFamily::Bytes made;
  const auto count = std::uint64_t(of_scales.count());
  if (widened)
    made.scales = count * sizeof(float);
  else
    out.scales = scale.data;
  if (offsets == Offsets::whole)
    made.zeros = count;
  else if (offsets == Offsets::any && widened)
    made.zeros = count * sizeof(float);
  else if (offsets == Offsets::any)
    out.zeros = offset.data;
  reading.widened += widened ? made.scales + made.zeros : 0;
  if (made.total() > 0)
    TRY(defer(out, made,
              [of_scales, of_offsets, offsets, bits = settings.bits,
               count](const DeferredParts::Spans& spans) -> Result<void> {
                if (!spans.scales.empty())
                  widen(of_scales, spans.scales);
                if (offsets == Offsets::any && !spans.zeros.empty())
                  widen(of_offsets, spans.zeros);
                for (std::uint64_t i = 0; offsets == Offsets::whole && i < count; ++i)
                  spans.zeros[i] = std::byte(
                      zero_of(of_scales.at(std::int64_t(i)), of_offsets.at(std::int64_t(i)), bits));
                return {};
              }));
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
                                " bytes) are put into blocks when they are used");
  if (reading.widened > 0)
    checkpoint->notes.push_back("Scales and offsets of different types are used as f32 (" +
                                std::to_string(reading.widened) + " bytes)");
  return checkpoint;
}

} // namespace

extern const CheckpointReader checkpoint_reader_mlx;
const CheckpointReader checkpoint_reader_mlx{
    "mlx", "A Hugging Face folder that MLX quantized (modes affine, mxfp4 and nvfp4).", recognises,
    open};

} // namespace bitlathe
