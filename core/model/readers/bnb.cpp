// SPDX-License-Identifier: Apache-2.0
// Hugging Face folders with bitsandbytes weights: 4 bits (nf4, fp4, with plain or coded statistics)
// and LLM.int8(). Codes are brought into the project's form when they are used: bitsandbytes has
// the first value in the high nibble and lets values of two rows share a byte.
#include "core/io/mapped.h"
#include "core/model/assemble.h"
#include "core/model/readers/quantized_folder.h"
#include "core/model/readers/recorded.h"
#include "core/schemes/activations.h"
#include "core/schemes/deferred.h"
#include "kernels/base/parallel.h"
#include "kernels/compute/compute.h"
#include "kernels/num/nf4.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

namespace bitlathe {

namespace {

constexpr std::array<std::string_view, 3> methods{"bitsandbytes", "bitsandbytes_4bit",
                                                  "bitsandbytes_8bit"};
constexpr std::int64_t most_values = std::int64_t(1) << 40;

/// The first files had no quant_method.
const Json* settings_of(const Json& config) {
  if (const Json* settings = quantization_config(config, methods))
    return settings;
  const auto it = config.find("quantization_config");
  if (it == config.end() || !it->is_object() || it->contains("quant_method"))
    return nullptr;
  return it->value("load_in_4bit", Json()) == true || it->value("load_in_8bit", Json()) == true
             ? &*it
             : nullptr;
}

bool recognises(const fs::path& path) {
  std::error_code failed;
  if (!fs::is_directory(path, failed) || !fs::is_regular_file(path / "config.json", failed))
    return false;
  const auto config = read_json_file(path / "config.json");
  return config && config->is_object() && settings_of(*config);
}

constexpr std::string_view state_prefix = "weight.quant_state.";

/// "X.weight.absmax" is a part of X.
std::size_t module_end(const std::string& tensor) {
  constexpr std::string_view middle = ".weight.";
  const auto at = tensor.rfind(middle);
  if (at == std::string::npos)
    return last_dot(tensor);
  const auto tail = std::string_view(tensor).substr(at + middle.size());
  for (const std::string_view part :
       {"absmax", "quant_map", "nested_absmax", "nested_quant_map", "quant_state"})
    if (tail == part || tail.substr(0, part.size() + 1) == std::string(part) + ".")
      return at;
  return last_dot(tensor);
}

struct Reading {
  const std::string& where;
  const Recorded& recorded;
  float threshold = standard_outlier_threshold;
  std::uint64_t copied = 0, expanded = 0;
  std::int64_t four = 0, eight = 0;
  std::vector<std::string> used = {};
};

/// The JSON object in a tensor of bytes beside a 4-bit weight.
struct State {
  std::string type;
  std::int64_t block = 0, nested_block = 0;
  std::vector<std::int64_t> shape;
  std::int64_t rows = 0, cols = 0;
  bool nested = false;
  float offset = 0;
};

Result<State> read_state(const std::string& module, const Parts& parts, const std::string& where) {
  const StoredTensor* blob = nullptr;
  State out;
  for (const auto& [part, tensor] : parts)
    if (part.rfind(state_prefix, 0) == 0) {
      if (blob)
        return bad_module(module, "it has two quant_state tensors", where);
      blob = tensor;
      out.type = part.substr(state_prefix.size());
    }
  if (!blob)
    return bad_module(module,
                      "its weight.quant_state.bitsandbytes__nf4 (or __fp4) is missing, which says "
                      "how the 4-bit codes are to be read",
                      where);
  if (out.type != "bitsandbytes__nf4" && out.type != "bitsandbytes__fp4")
    return Error{"unsupported", module + ": its quant_state is of an unknown kind, " + out.type,
                 where};
  out.type = out.type.substr(out.type.size() - 3);
  if (blob->dtype != "U8" || blob->data.size() > (1 << 16))
    return bad_module(module, "its quant_state is not a short text", where);
  const auto json =
      parse_json({reinterpret_cast<const char*>(blob->data.data()), blob->data.size()}, blob->name);
  if (!json || !json->is_object())
    return bad_module(module,
                      "its quant_state cannot be read" +
                          (json ? std::string() : ": " + json.error().message),
                      where);
  TRY_ASSIGN(const auto type, json_string_or(*json, "quant_type", out.type, blob->name));
  if (type != out.type)
    return bad_module(
        module, "its quant_state says " + type + " under a name that says " + out.type, where);
  TRY_ASSIGN(out.block, json_int(*json, "blocksize", blob->name));
  const auto shape = json->find("shape");
  if (shape == json->end() || !shape->is_array() || shape->empty() || shape->size() > 4)
    return bad_module(module, "its quant_state has no shape", where);
  out.rows = 1;
  for (const Json& n : *shape) {
    if (!n.is_number_integer() || n.get<double>() < 1 || n.get<double>() > 4e9)
      return bad_module(module, "its quant_state has the shape " + shape->dump(), where);
    out.shape.push_back(n.get<std::int64_t>());
    if (out.shape.back() > most_values / out.rows)
      return bad_module(module, "its quant_state has the shape " + shape->dump(), where);
    out.rows *= out.shape.back();
  }
  out.cols = out.shape.back();
  out.rows /= out.cols;
  out.nested = json->contains("nested_offset") || json->contains("nested_blocksize") ||
               parts.count("weight.nested_absmax") > 0;
  if (out.nested) {
    TRY_ASSIGN(out.nested_block, json_int(*json, "nested_blocksize", blob->name));
    const auto offset = json->find("nested_offset");
    if (out.nested_block < 1 || offset == json->end() || !offset->is_number() ||
        !std::isfinite(offset->get<float>()))
      return bad_module(module, "its quant_state has no usable nested_blocksize and nested_offset",
                        where);
    out.offset = offset->get<float>();
  }
  return out;
}

/// A part that is `count` f32 numbers.
Result<std::vector<float>> floats_of(const std::string& module, const Parts& parts,
                                     const std::string& part, std::int64_t count,
                                     const std::string& where) {
  const auto it = parts.find(part);
  if (it == parts.end())
    return bad_module(module, part + " is missing", where);
  const auto& tensor = *it->second;
  if (tensor.dtype != "F32" || tensor.data.size() != std::size_t(count) * sizeof(float))
    return bad_module(module, part + " is not " + std::to_string(count) + " numbers of F32", where);
  std::vector<float> out(static_cast<std::size_t>(count));
  std::memcpy(out.data(), tensor.data.data(), tensor.data.size());
  return out;
}

/// The kernels of bitsandbytes have the two tables built in; a file with another one would not be
/// decoded the way it says.
Result<void> check_table(const std::string& module, const Parts& parts, const State& state,
                         const std::string& where) {
  if (parts.count("weight.quant_map") == 0)
    return {};
  TRY_ASSIGN(const auto map, floats_of(module, parts, "weight.quant_map", 16, where));
  const auto& table = state.type == "nf4" ? nf4_values : fp4_values;
  for (std::size_t i = 0; i < 16; ++i)
    if (!(std::fabs(map[i] - table[i]) <= 1e-6f))
      return Error{"unsupported",
                   module + ": its quant_map is not the table of " + state.type + " (entry " +
                       std::to_string(i) + " is " + Json(map[i]).dump() +
                       "), which the kernels of bitsandbytes use whatever the file says",
                   where};
  return {};
}

/// The flattened values, first one in the high nibble, into rows of whole words, first one in the
/// low nibble.
void unpack_rows(std::span<const std::byte> packed, std::int64_t rows, std::int64_t cols,
                 std::span<std::byte> out) {
  const auto stride = int_row_bytes(cols, 4);
  const auto at = [&](std::int64_t i) {
    const auto b = unsigned(packed[std::size_t(i / 2)]);
    return i % 2 == 0 ? b >> 4 : b & 15u;
  };
  parallel_for(rows, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      std::byte* to = out.data() + row * stride;
      const std::int64_t first = row * cols;
      if (first % 2 == 0) {
        const std::byte* from = packed.data() + first / 2;
        for (std::int64_t i = 0; i < cols / 2; ++i)
          to[i] = from[i] << 4 | from[i] >> 4;
      } else {
        for (std::int64_t i = 0; i + 1 < cols; i += 2)
          to[i / 2] = std::byte(at(first + i) | at(first + i + 1) << 4);
      }
      if (cols % 2)
        to[cols / 2] = std::byte(at(first + cols - 1));
    }
  });
}

/// The largest magnitudes of a weight whose coded ones follow another table than bitsandbytes'.
struct OtherScales {
  StoredTensor codes;
  std::vector<float> top, map; ///< f32 numbers of the groups; values of the 256 codes
  std::int64_t group = 1;
  float offset = 0;

  void write(std::span<std::byte> out) const { // exact with the table of the file
    for (std::size_t i = 0; i < codes.data.size(); ++i) {
      const float product = map[std::size_t(codes.data[i])] * top[i / std::size_t(group)];
      store_float(FloatType::f32, out.data(), std::int64_t(i), product + offset);
    }
  }
};

/// Scheme and scales; the other kind of scales is left to `other`.
Result<void> read_scales(const std::string& module, const Parts& parts, const State& state,
                         Reading& reading, QTensor& out, std::optional<OtherScales>& other) {
  const auto& where = reading.where;
  const std::int64_t blocks = (out.rows * out.cols + state.block - 1) / state.block;
  const auto absmax = parts.find("weight.absmax");
  if (absmax == parts.end())
    return bad_module(module, "weight.absmax is missing", where);
  const auto& tensor = *absmax->second;
  std::string id = state.type + "-b" + std::to_string(state.block);
  if (!state.nested) {
    TRY_ASSIGN(const FloatType type, float_type_of(tensor, module, where));
    if (tensor.data.size() != std::size_t(blocks) * float_size(type))
      return bad_module(
          module, "its absmax does not hold the " + std::to_string(blocks) + " blocks of its shape",
          where);
    out.scales = tensor.data;
    id += type == FloatType::bf16 ? "-sbf16" : type == FloatType::f16 ? "-sf16" : "";
  } else {
    if (tensor.dtype != "U8" || tensor.data.size() != std::size_t(blocks))
      return bad_module(module, "its absmax is not " + std::to_string(blocks) + " codes of a byte",
                        where);
    const std::int64_t groups = (blocks + state.nested_block - 1) / state.nested_block;
    TRY_ASSIGN(auto top, floats_of(module, parts, "weight.nested_absmax", groups, where));
    TRY_ASSIGN(const auto map, floats_of(module, parts, "weight.nested_quant_map", 256, where));
    if (state.nested_block == 256 && std::equal(map.begin(), map.end(), dynamic_map.begin())) {
      id += "-dq";
      out.scales = tensor.data;
      top.push_back(state.offset);
      out.owned_nested.resize(top.size() * sizeof(float));
      std::memcpy(out.owned_nested.data(), top.data(), out.owned_nested.size());
      out.nested = out.owned_nested;
    } else {
      other = OtherScales{tensor, std::move(top), map, state.nested_block, state.offset};
      reading.expanded += std::uint64_t(blocks) * sizeof(float);
    }
  }
  auto scheme = parse_scheme(id);
  if (!scheme)
    return Error{"unsupported",
                 module + ": blocks of " + std::to_string(state.block) +
                     " values, which bitsandbytes does not have",
                 where};
  out.scheme = std::move(*scheme);
  return {};
}

Result<void> read_four(const std::string& name, const Parts& parts, Reading& reading,
                       Module& module) {
  const auto& where = reading.where;
  TRY_ASSIGN(const State state, read_state(name, parts, where));
  const auto weight = parts.find("weight");
  if (weight == parts.end())
    return bad_module(name, "its weight is missing", where);
  const auto& tensor = *weight->second;
  // The bytes may be kept as larger elements (bnb_4bit_quant_storage).
  const auto element = std::uint64_t(std::max(safetensors_dtype_bits(tensor.dtype) / 8, 1));
  const auto bytes = (std::uint64_t(state.rows) * std::uint64_t(state.cols) + 1) / 2;
  if (tensor.data.size() != (bytes + element - 1) / element * element)
    return bad_module(name,
                      "its weight has " + std::to_string(tensor.data.size()) +
                          " bytes instead of " + std::to_string(bytes) + " for " +
                          std::to_string(state.rows) + " x " + std::to_string(state.cols),
                      where);
  if (state.block < 1)
    return bad_module(name, "its blocksize is " + std::to_string(state.block), where);
  TRY(check_table(name, parts, state, where));
  QTensor& out = module.weight;
  out.rows = state.rows;
  out.cols = state.cols;
  std::optional<OtherScales> other;
  TRY(read_scales(name, parts, state, reading, out, other));
  auto sizes = out.scheme.family->bytes(out.scheme, out.rows, out.cols);
  reading.copied += sizes.codes;
  if (!other)
    sizes.scales = 0; // mapped
  TRY(defer(out, sizes,
            [tensor, rows = out.rows, cols = out.cols,
             other = std::move(other)](const DeferredParts::Spans& made) -> Result<void> {
              unpack_rows(tensor.data, rows, cols, made.codes);
              forget_mapped(tensor.data);
              if (other)
                other->write(made.scales);
              return {};
            }));
  keep_alive(out, {parts.at("weight.absmax")});
  module.shape = state.shape;
  ++reading.four;
  for (const auto& [part, stored] : parts)
    if (part == "weight" || part.rfind("weight.", 0) == 0)
      reading.used.push_back(part);
  return {};
}

/// Scales as the narrowest type that holds all of them: this program's own exports come back as
/// they were.
FloatType narrowest(const std::vector<float>& scales) {
  for (const FloatType type : {FloatType::f16, FloatType::bf16})
    if (std::all_of(scales.begin(), scales.end(), [&](float scale) {
          std::byte stored[4];
          store_float(type, stored, 0, scale);
          return load_float(type, stored, 0) == scale;
        }))
      return type;
  return FloatType::f32;
}

Result<void> read_eight(const std::string& name, const Parts& parts, Reading& reading,
                        Module& module) {
  const auto& where = reading.where;
  const auto weight = parts.find("weight"), top = parts.find("SCB");
  if (weight == parts.end())
    return bad_module(name, "it has SCB, but no weight", where);
  const auto& tensor = *weight->second;
  if (tensor.dtype != "I8" || tensor.shape.size() != 2 || tensor.data.empty())
    return bad_module(name, "its weight is not a matrix of I8, but it has SCB", where);
  if (top == parts.end())
    return bad_module(name,
                      "its weight is I8, but SCB, the largest magnitudes of its rows, is "
                      "missing",
                      where);
  if (const auto format = parts.find("weight_format"); format != parts.end()) {
    const auto& stored = *format->second;
    if (stored.data.size() != 1 || stored.dtype != "U8")
      return bad_module(name, "its weight_format is not one byte", where);
    static constexpr std::array<std::string_view, 4> names{"row", "col32", "col_turing",
                                                           "col_ampere"};
    if (const auto kind = std::size_t(stored.data[0]); kind != 0)
      return Error{"unsupported",
                   name + ": its codes are laid out as \"" +
                       (kind < names.size() ? std::string(names[kind]) : std::to_string(kind)) +
                       "\" for one kind of GPU, which current releases of bitsandbytes do not read "
                       "either; only row by row (weight_format 0) can be read",
                   where};
  }
  QTensor& out = module.weight;
  out.rows = tensor.shape[0];
  out.cols = tensor.shape[1];
  TRY_ASSIGN(const FloatType type, float_type_of(*top->second, name, where));
  if (top->second->data.size() != std::size_t(out.rows) * float_size(type))
    return bad_module(
        name, "SCB does not have one number for each of the " + std::to_string(out.rows) + " rows",
        where);
  std::vector<float> scales(static_cast<std::size_t>(out.rows));
  for (std::int64_t row = 0; row < out.rows; ++row) {
    const float value = load_float(type, top->second->data.data(), row);
    if (!(value >= 0) || !std::isfinite(value))
      return bad_module(name, "SCB of row " + std::to_string(row) + " is " + Json(value).dump(),
                        where);
    scales[std::size_t(row)] = value / 127.0f;
  }
  const FloatType narrow = narrowest(scales);
  out.owned_scales.resize(scales.size() * float_size(narrow));
  for (std::int64_t row = 0; row < out.rows; ++row)
    store_float(narrow, out.owned_scales.data(), row, scales[std::size_t(row)]);
  out.own();
  TRY_ASSIGN(out.scheme, parse_scheme(narrow == FloatType::f16    ? "int8-channel-sym"
                                      : narrow == FloatType::bf16 ? "int8-channel-sym-sbf16"
                                                                  : "int8-channel-sym-sf32"));
  const auto bytes = out.scheme.family->bytes(out.scheme, out.rows, out.cols);
  TRY(defer(out, {bytes.codes, 0, 0, 0},
            [tensor](const DeferredParts::Spans& made) -> Result<void> {
              const std::int64_t rows = tensor.shape[0], cols = tensor.shape[1];
              const auto stride = int_row_bytes(cols, 8);
              parallel_for(rows, 64, [&](std::int64_t begin, std::int64_t end) {
                for (std::int64_t row = begin; row < end; ++row) {
                  const auto in = tensor.data.subspan(std::size_t(row * cols), std::size_t(cols));
                  std::transform(in.begin(), in.end(), made.codes.begin() + row * stride,
                                 [](std::byte b) { return b ^ std::byte(0x80); });
                }
              });
              forget_mapped(tensor.data);
              return {};
            }));
  module.shape = tensor.shape;
  if (!reading.recorded.float_inputs(name, out.scheme)) {
    module.activations = "llm-int8";
    module.outlier_threshold = reading.threshold;
  }
  reading.copied += out.codes.size();
  ++reading.eight;
  reading.used = {"weight", "SCB", "weight_format"};
  return {};
}

bool has_state(const Parts& parts) {
  const auto it = parts.lower_bound(std::string(state_prefix));
  return it != parts.end() && it->first.rfind(state_prefix, 0) == 0;
}

Result<std::shared_ptr<Checkpoint>> open(const fs::path& path) {
  auto checkpoint = start_folder(path, "bnb");
  const auto where = (path / "config.json").string();
  const Json* settings = settings_of(checkpoint->config);
  if (!settings)
    return Error{"bad-file", "config.json has no quantization_config", where};
  const Recorded recorded(path);
  const std::string folder = path.string();
  Reading reading{folder, recorded};
  TRY_ASSIGN(const double threshold, json_number_or(*settings, "llm_int8_threshold",
                                                    double(standard_outlier_threshold), where));
  reading.threshold = threshold > 0 && threshold < 1e30 ? float(threshold) : 0.0f;
  TRY_ASSIGN(const auto file, read_safetensors_folder(path));

  const ReadParts read = [&](const std::string& name, const Parts& parts, Module& module,
                             std::vector<std::string>& used) -> Result<bool> {
    const auto weight = parts.find("weight");
    reading.used.clear();
    if (has_state(parts) || parts.count("weight.absmax") || parts.count("weight.quant_map"))
      TRY(read_four(name, parts, reading, module));
    else if (parts.count("SCB") || (weight != parts.end() && weight->second->dtype == "I8"))
      TRY(read_eight(name, parts, reading, module));
    else if (weight != parts.end() && weight->second->dtype == "U8")
      TRY(read_state(name, parts, reading.where)); // an error: it is missing
    else
      return false;
    used = reading.used;
    return true;
  };
  TRY_ASSIGN(auto found, collect_modules(*checkpoint, file.tensors, read, module_end));
  assemble(*checkpoint, std::move(found), file.tensors, where);
  auto& notes = checkpoint->notes;
  if (reading.copied > 0)
    notes.push_back("The codes of bitsandbytes (" + std::to_string(reading.copied) +
                    " bytes) are put in order one module at a time, when it is used");
  if (reading.expanded > 0)
    notes.push_back("The coded statistics were made with another table than that of bitsandbytes; "
                    "they are held as f32 (" +
                    std::to_string(reading.expanded) + " bytes)");
  if (reading.four + reading.eight == 0)
    notes.push_back("The configuration asks for bitsandbytes while loading; the stored weights are "
                    "not quantized");
  return checkpoint;
}

} // namespace

extern const CheckpointReader checkpoint_reader_bnb;
const CheckpointReader checkpoint_reader_bnb{
    "bnb", "A Hugging Face folder with bitsandbytes weights of 4 or 8 bits.", recognises, open};

} // namespace bitlathe
