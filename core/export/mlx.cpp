// SPDX-License-Identifier: Apache-2.0
// MLX (mode affine): dense codes along the inputs, a scale and an offset per group in the model's
// float type, with bits and groups per module. Embeddings may be quantized too.
#include "core/export/linears.h"
#include "core/export/mlx_rules.h"
#include "core/export/tensors.h"
#include "kernels/compute/compute.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <map>

namespace bitlathe {

namespace {

using Level = Finding::Level;

constexpr std::array mlx_groups{128, 64, 32};

bool is_codes(const Scheme& scheme) {
  return scheme.family && (scheme.family->id == "int" || scheme.family->id == "affine");
}

/// The group of MLX that a scheme's scales are written for, repeated where one is for more columns;
/// 0: none.
std::int64_t mlx_group(const Scheme& scheme, std::int64_t cols) {
  const auto whole = scheme.group == 0 || scheme.per_tensor ? cols : std::min(scheme.group, cols);
  for (const int group : mlx_groups)
    if (whole % group == 0 && cols % group == 0)
      return group;
  return 0;
}
std::int64_t mlx_group(const QTensor& weight) { return mlx_group(weight.scheme, weight.cols); }

/// Where the scale of a written group stands.
std::int64_t grid_index(const QTensor& weight, std::int64_t row, std::int64_t group) {
  const auto& scheme = weight.scheme;
  if (scheme.per_tensor)
    return 0;
  const auto whole = scheme.group == 0 ? weight.cols : std::min(scheme.group, weight.cols);
  const std::int64_t per_row = (weight.cols + whole - 1) / whole;
  return weight.stored_row(row) * per_row + group * mlx_group(weight) / whole;
}

std::string scale_tail(FloatType type) {
  return type == FloatType::bf16 ? "-sbf16" : type == FloatType::f32 ? "-sf32" : "";
}

/// The nearest scheme that the format holds for rows of `cols` values; empty: none.
std::string nearest(const Scheme& scheme, std::int64_t cols, FloatType type) {
  const bool affine = scheme.family && scheme.family->id == "affine";
  const int bits = scheme.bits > 6.5 ? 8 : std::clamp(int(std::ceil(scheme.bits)), 2, 6);
  const auto tail = affine ? "" : scheme.symmetric ? "-sym" : "-asym";
  const std::int64_t wanted = scheme.group > 0 ? scheme.group : 64;
  for (const int group : mlx_groups)
    if (cols % group == 0 && (group <= std::max<std::int64_t>(wanted, 32)))
      return (affine ? "affine" : "int") + std::to_string(bits) + "-g" + std::to_string(group) +
             tail + scale_tail(type);
  return {};
}

/// Why the format cannot hold a scheme; empty when it can.
std::string why_not(const Scheme& scheme, std::int64_t cols) {
  if (!is_codes(scheme))
    return "MLX holds integer codes with a scale and an offset per group, not " + scheme.id;
  if (scheme.bits == 7)
    return "MLX has 2, 3, 4, 5, 6 and 8 bits, not 7";
  if (mlx_group(scheme, cols) != 0)
    return {};
  if (scheme.group == 0 || scheme.group >= cols)
    return "MLX has groups of 32, 64 and 128 columns, and " + std::to_string(cols) +
           " columns do not divide into them";
  return std::find(mlx_groups.begin(), mlx_groups.end(), scheme.group) != mlx_groups.end()
             ? "MLX needs whole groups, and " + std::to_string(cols) +
                   " columns do not divide by " + std::to_string(scheme.group)
             : "MLX has groups of 32, 64 and 128 columns, not " + std::to_string(scheme.group);
}

std::string other_scales(FloatType type) {
  return "MLX keeps scales in the type of the model's other weights, " + float_scheme(type).id;
}

Exporter::Fallback fallback(const Scheme& scheme, const Module& module) {
  const auto& source = module.weight.scheme;
  if (!is_codes(scheme) || !source.family || source.quantized)
    return {};
  const auto cols = module.weight.cols;
  const auto why = why_not(scheme, cols);
  if (why.empty())
    return {};
  const auto use = nearest(scheme, cols, scheme.float_type);
  const auto instead = parse_scheme(use);
  // Only what the shape forbids: other widths are for the user to choose.
  if (instead && instead->bits != scheme.bits)
    return {};
  return {use.empty() ? source.id : use, why};
}

/// Largest distance, in steps, that the rounding of an offset moves values by.
double offset_rounding(const Scheme& scheme) {
  const double zero = double((1 << int(scheme.bits)) - 1);
  return zero * (scheme.float_type == FloatType::bf16  ? 0x1p-8
                 : scheme.float_type == FloatType::f16 ? 0x1p-11
                                                       : 0x1p-24);
}

std::vector<Finding> examine(const Checkpoint& model, const std::vector<ExportModule>& modules) {
  std::vector<Finding> out;
  const FloatType type = model_float_type(model);
  std::map<std::string, std::vector<std::string>> rounded; ///< modules by "at most"
  std::vector<std::string> turned, other_types, repeated;
  bool any = false;
  for (const ExportModule& module : modules) {
    const Module& source = *module.source;
    const Scheme& scheme = module.scheme;
    if (source.tied_to_embedding)
      continue;
    const auto refuse = [&](const std::string& why) {
      out.push_back({Level::refuse, source.name, why});
    };
    if (!scheme.family) {
      refuse(scheme.id + " weights cannot be decoded, so they cannot be rewritten");
      continue;
    }
    if (!scheme.quantized)
      continue;
    if (const auto why = why_not(scheme, source.weight.cols); !why.empty()) {
      const auto use = nearest(scheme, source.weight.cols, type);
      refuse(why + "; nearest: " + (use.empty() ? "keep its float type" : use));
      continue;
    }
    any = true;
    if (!source.linear && source.part != "embedding" && source.part != "positions" &&
        source.role != "embedding")
      refuse("MLX quantizes linear layers and embeddings, and this is a module of role " +
             source.role + "; nearest: keep its float type");
    if (module.reordered)
      refuse(refuse_reordered);
    if (module.activations != "none")
      refuse("MLX keeps inputs in float, not " + module.activations +
             "; nearest: activations none");
    if (const auto group = mlx_group(scheme, source.weight.cols); group != scheme.group)
      repeated.push_back(source.name);
    if (scheme.float_type != type)
      other_types.push_back(source.name);
    if (source.transposed_in_hf)
      turned.push_back(source.name);
    if (scheme.family->id == "int" && !scheme.symmetric) {
      char text[32];
      std::snprintf(text, sizeof text, "%.2g", offset_rounding(scheme));
      rounded[float_scheme(scheme.float_type).id +
              ": codes and scales stay, values move by at most " + text + " of a step"]
          .push_back(source.name);
    }
  }
  const auto add = [&](Level level, const std::string& text, const std::string& runtime = {}) {
    out.push_back({level, {}, text, runtime});
  };
  if (!any)
    add(Level::refuse, "No module is quantized to integer codes, so there is nothing for this "
                       "format to hold; nearest: safetensors");
  for (const auto& [most, names] : rounded)
    add(Level::note,
        "Zero points become offsets -zero * scale, rounded to " + most + ": " + name_list(names));
  if (!repeated.empty())
    add(Level::note, "The scales of larger groups, whole rows or whole tensors are repeated for "
                     "every group of MLX: " +
                         name_list(repeated));
  if (!other_types.empty())
    add(Level::warning,
        other_scales(type) + "; with others it computes in f32, which is slower; nearest: " +
            (type == FloatType::f16 ? std::string("schemes without -sbf16 and -sf32")
                                    : "schemes that end with " + scale_tail(type)) +
            ": " + name_list(other_types),
        "mlx");
  if (!turned.empty())
    add(Level::warning,
        "mlx-lm turns the matrices of this architecture round while loading unless their names "
        "begin with \"model.\", and packed ones cannot be turned: " +
            name_list(turned),
        "mlx");
  examine_folder(model, out);
  return out;
}

/// Scales or offsets of every written group.
Result<void> write_grids(OutputFile& file, const QTensor& weight, const std::string& name,
                         bool offsets) {
  const auto type = weight.scheme.float_type;
  const std::int64_t groups = weight.cols / mlx_group(weight);
  const double middle = double(1 << (int(weight.scheme.bits) - 1));
  const bool affine = weight.scheme.family->id == "affine";
  std::vector<std::byte> bytes(std::size_t(weight.rows * groups) * float_size(type));
  for (std::int64_t i = 0; i < weight.rows * groups; ++i) {
    const auto at = grid_index(weight, i / groups, i % groups);
    float value = load_float(type, (offsets && affine ? weight.zeros : weight.scales).data(), at);
    if (offsets && !affine) {
      const double zero =
          weight.scheme.symmetric ? middle : double(int(weight.zeros[std::size_t(at)]));
      value = float(-zero * double(value));
    }
    store_float(type, bytes.data(), i, value);
    if (offsets && !std::isfinite(load_float(type, bytes.data(), i)))
      return Error{"unsupported",
                   "The offset of a group is too large for the type of its scale; nearest: scales "
                   "in bf16 or f32",
                   name};
  }
  return file.write(bytes);
}

void add_codes(const Module& module, std::vector<TensorToWrite>& out) {
  const QTensor& weight = module.weight;
  const Scheme& scheme = weight.scheme;
  const auto& name = module.hf_name();
  const auto row_bytes = int_row_bytes(weight.cols, int(scheme.bits));
  const std::int64_t groups = weight.cols / mlx_group(weight);
  const auto bytes = std::uint64_t(weight.rows * groups) * float_size(scheme.float_type);
  out.push_back({name + ".weight",
                 "U32",
                 {weight.rows, row_bytes / 4},
                 std::uint64_t(weight.rows * row_bytes),
                 [&weight, row_bytes](OutputFile& file) {
                   if (!weight.row_order)
                     return file.write(weight.codes);
                   return write_in_pieces(
                       file, weight.rows, std::size_t(row_bytes),
                       [&](std::int64_t row, std::byte* to) {
                         std::memcpy(to, weight.codes.data() + weight.stored_row(row) * row_bytes,
                                     std::size_t(row_bytes));
                       });
                 }});
  for (const bool offsets : {false, true})
    out.push_back({name + (offsets ? ".biases" : ".scales"),
                   safetensors_dtype(scheme.float_type),
                   {weight.rows, groups},
                   bytes,
                   [&weight, name, offsets](OutputFile& file) {
                     return write_grids(file, weight, name, offsets);
                   }});
}

/// Bits and group of most weights, what differs, and what is left as it is.
Json mlx_config(const Checkpoint& model) {
  using Kind = std::pair<int, std::int64_t>;
  const auto kind_of = [](const Module& module) {
    return Kind{int(module.weight.scheme.bits), mlx_group(module.weight)};
  };
  std::map<Kind, std::int64_t> count;
  for (const Module& module : model.modules)
    if (module.weight.scheme.quantized && !module.tied_to_embedding)
      count[kind_of(module)] += module.weight.rows * module.weight.cols;
  Kind common{4, 64};
  if (!count.empty())
    common = std::max_element(count.begin(), count.end(), [](const auto& a, const auto& b) {
               return a.second < b.second;
             })->first;
  Json out{{"group_size", common.second}, {"bits", common.first}, {"mode", "affine"}};
  for (const Module& module : model.modules) {
    if (module.tied_to_embedding)
      continue;
    if (!module.weight.scheme.quantized) {
      if (module.linear || module.role == "embedding")
        out[module.hf_name()] = false;
    } else if (const Kind kind = kind_of(module); kind != common) {
      out[module.hf_name()] = {{"group_size", kind.second}, {"bits", kind.first}};
    }
  }
  return out;
}

Result<ExportFiles> files(const ExportInput& input) {
  const auto& model = input.model;
  std::vector<TensorToWrite> tensors;
  for (const Module& module : model.modules) {
    if (module.tied_to_embedding)
      continue;
    const auto first = tensors.size();
    if (module.weight.scheme.quantized)
      add_codes(module, tensors);
    else
      tensors.push_back(folder_tensor(module, module.weight.scheme.float_type));
    with_weight(module.weight, tensors, first);
    add_bias(module, tensors);
  }
  add_others(model, tensors);
  TRY_ASSIGN(auto weights,
             safetensors_files(std::move(tensors), input.shard_limit, {{"format", "mlx"}}));
  TRY_ASSIGN(auto all, model_files(input, mlx_config(model)));
  std::move(weights.begin(), weights.end(), std::back_inserter(all));
  return ExportFiles{".", std::move(all)};
}

constexpr UseWith uses[] = {
    {"mlx", "mlx-lm",
     "# pip install mlx-lm\n"
     "mlx_lm.generate --model {path} --prompt \"Hello\"\n"},
};

} // namespace

extern const Exporter exporter_mlx;
const Exporter exporter_mlx{
    .id = "mlx",
    .title = "MLX",
    .summary = "A Hugging Face folder with groups of 2 to 8 bits, mixed per module, for Apple "
               "machines.",
    .loaders = "mlx-lm, LM Studio",
    .examine = examine,
    .files = files,
    .fallback = fallback,
    .uses = uses,
    .rules = mlx_rules};

} // namespace bitlathe
