// SPDX-License-Identifier: Apache-2.0
// Hugging Face folders with AWQ weights ("GEMM" packing): words along the outputs, with the eight
// codes of a word interleaved, are turned into rows when they are used.
#include "core/io/mapped.h"
#include "core/model/assemble.h"
#include "core/model/readers/packed_columns.h"
#include "core/schemes/deferred.h"
#include "kernels/base/parallel.h"
#include "kernels/compute/compute.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace bitlathe {

namespace {

constexpr std::array<std::string_view, 1> methods{"awq"};
/// Output of a word's eight that its field holds.
constexpr std::array<int, 8> output_of_field{0, 2, 4, 6, 1, 3, 5, 7};

/// The settings of early files: beside config.json, without a quant_method.
const char* side_settings(const fs::path& path) {
  std::error_code failed;
  if (!fs::is_directory(path, failed) || !fs::is_regular_file(path / "config.json", failed))
    return nullptr;
  for (const char* name : {"quant_config.json", "quantize_config.json"}) {
    if (!fs::is_regular_file(path / name, failed))
      continue;
    const auto config = read_json_file(path / "config.json");
    if (!config || !config->is_object() || config->contains("quantization_config"))
      return nullptr;
    const auto settings = read_json_file(path / name);
    if (settings && settings->is_object() && settings->contains("zero_point") &&
        settings->value("quant_method", Json("awq")) == "awq")
      return name;
  }
  return nullptr;
}

bool recognises(const fs::path& path) {
  return is_quantized_folder(path, methods) || side_settings(path);
}

/// The group size, 0 for whole columns, of settings that this reader knows.
Result<std::int64_t> read_settings(const Json& json, const std::string& where) {
  const auto either = [&](const char* key, const char* other) {
    const auto it = json.contains(key) ? json.find(key) : json.find(other);
    return it == json.end() ? Json() : *it;
  };
  const auto unsupported = [&](const std::string& what) {
    return Error{"unsupported", what, where};
  };
  Json version = either("version", "format");
  if (version.is_null())
    version = either("checkpoint_format", "format");
  std::string layout = version.is_string() ? version.get<std::string>() : std::string("gemm");
  std::transform(layout.begin(), layout.end(), layout.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
  if (layout != "gemm")
    return unsupported("AWQ checkpoints of the version \"" + layout +
                       "\" cannot be read (known: gemm)");
  const Json bits = either("w_bit", "bits");
  if (!bits.is_number_integer())
    return Error{"bad-file", "The AWQ settings have no whole number of \"bits\"", where};
  if (bits != 4)
    return unsupported("AWQ weights of " + bits.dump() + " bits cannot be read (known: 4)");
  TRY_ASSIGN(const bool zero_point, json_bool_or(json, "zero_point", true, where));
  if (!zero_point)
    return unsupported("AWQ checkpoints without zero points (\"zero_point\": false) cannot be "
                       "read; nor do its loaders run them");
  const Json group = either("q_group_size", "group_size");
  if (!group.is_number_integer() || (group != -1 && (group < 1 || group > (1 << 24))))
    return Error{"bad-file",
                 "The \"group_size\" of the AWQ settings is " + group.dump() +
                     " instead of -1 or a number of columns",
                 where};
  return group == -1 ? std::int64_t(0) : group.get<std::int64_t>();
}

/// Eight words of eight fields: field j of word k and field k of word j change places.
void exchange_fields(std::array<std::uint32_t, 8>& words) {
  const auto swap = [&](std::size_t distance, int shift, std::uint32_t mask) {
    for (std::size_t i = 0; i < 8; ++i)
      if ((i & distance) == 0) {
        const auto t = ((words[i] >> shift) ^ words[i + distance]) & mask;
        words[i + distance] ^= t;
        words[i] ^= t << shift;
      }
  };
  swap(4, 16, 0x0000FFFFu);
  swap(2, 8, 0x00FF00FFu);
  swap(1, 4, 0x0F0F0F0Fu);
}

/// Words [columns][outputs / 8] as rows of codes.
void turn_codes(const StoredTensor& tensor, std::span<std::byte> out) {
  const std::int64_t cols = tensor.shape[0], words = tensor.shape[1];
  const std::int64_t stride = int_row_bytes(cols, 4);
  constexpr std::int64_t side = 8; // words beside each other: half a cache line
  parallel_for((words + side - 1) / side, 1, [&](std::int64_t begin, std::int64_t end) {
    const auto last = std::min(end * side, words);
    for (std::int64_t first = begin * side; first < last; first += side)
      for (std::int64_t col = 0; col < cols; col += 8)
        for (std::int64_t word = first; word < std::min(first + side, last); ++word) {
          std::array<std::uint32_t, 8> fields{};
          for (std::int64_t i = 0; i < std::min<std::int64_t>(8, cols - col); ++i)
            std::memcpy(&fields[std::size_t(i)],
                        tensor.data.data() + ((col + i) * words + word) * 4, 4);
          exchange_fields(fields);
          for (std::size_t k = 0; k < 8; ++k)
            std::memcpy(out.data() + (word * 8 + output_of_field[k]) * stride + col / 2, &fields[k],
                        4);
        }
  });
}

void turn_zeros(const StoredTensor& tensor, std::span<std::byte> out) {
  const std::int64_t groups = tensor.shape[0], words = tensor.shape[1];
  for (std::int64_t g = 0; g < groups; ++g)
    for (std::int64_t word = 0; word < words; ++word) {
      std::uint32_t fields = 0;
      std::memcpy(&fields, tensor.data.data() + (g * words + word) * 4, 4);
      for (std::size_t k = 0; k < 8; ++k)
        out[std::size_t((word * 8 + output_of_field[k]) * groups + g)] =
            std::byte(fields >> (4 * k) & 15);
    }
}

/// Symmetric codes have no other form in this layout than the middle code everywhere.
bool is_symmetric(const StoredTensor& zeros) {
  return std::all_of(zeros.data.begin(), zeros.data.end(),
                     [](std::byte both) { return both == std::byte(0x88); });
}

Result<void> read_module(const std::string& name, const Parts& parts, std::int64_t group_size,
                         const std::string& where, Module& module) {
  if (parts.count("weight"))
    return bad_part(name, "it is stored both packed and plain", *parts.at("weight"));
  TRY_ASSIGN(const StoredTensor* codes, packed_matrix(name, parts, "qweight", where));
  TRY_ASSIGN(const StoredTensor* scales, packed_matrix(name, parts, "scales", where));
  TRY_ASSIGN(const StoredTensor* zeros, packed_matrix(name, parts, "qzeros", where));
  QTensor& out = module.weight;
  out.cols = codes->shape[0];
  out.rows = codes->shape[1] * 8;
  const std::int64_t group = group_size > 0 ? group_size : out.cols;
  if (out.cols % group != 0)
    return bad_part(name,
                    "its " + std::to_string(out.cols) +
                        " columns do not divide by the group_size of " + std::to_string(group),
                    *codes);
  const std::int64_t groups = out.cols / group;
  const auto why =
      "the qweight and a group_size of " + std::to_string(group_size > 0 ? group_size : -1);
  TRY(expect_shape(name, "scales", *scales, groups, out.rows, why));
  TRY(expect_shape(name, "qzeros", *zeros, groups, out.rows / 8, why));
  const bool symmetric = is_symmetric(*zeros);
  TRY_ASSIGN(const FloatType type,
             float_type_of(*scales, name, scales->file ? scales->file->path().string() : where));
  std::string id =
      std::string("int4") + (group_size > 0 ? "-g" + std::to_string(group) : "-channel");
  id += symmetric ? "-sym" : "-asym";
  id += scales->dtype == "BF16" ? "-sbf16" : scales->dtype == "F32" ? "-sf32" : "";
  TRY_ASSIGN(out.scheme, parse_scheme(id));
  TRY(defer(out, out.scheme.family->bytes(out.scheme, out.rows, out.cols),
            [name, type, codes = *codes, scales = *scales,
             zeros = *zeros](const DeferredParts::Spans& made) {
              turn_codes(codes, made.codes);
              forget_mapped(codes.data);
              if (!made.zeros.empty())
                turn_zeros(zeros, made.zeros);
              return turn_scales(name, scales, type, made.scales);
            }));
  module.shape = matrix_shape(out);
  return {};
}

Result<std::shared_ptr<Checkpoint>> open(const fs::path& path) {
  auto checkpoint = start_folder(path, "awq");
  std::string settings_file = (path / "config.json").string();
  Json side;
  const Json* settings = quantization_config(checkpoint->config, methods);
  if (!settings) {
    const char* name = side_settings(path);
    if (!name)
      return Error{"bad-file", "There are no AWQ settings", path.string()};
    settings_file = (path / name).string();
    TRY_ASSIGN(side, read_json_file(path / name));
    settings = &side;
  }
  TRY_ASSIGN(const std::int64_t group, read_settings(*settings, settings_file));
  TRY_ASSIGN(const auto file, read_safetensors_folder(path));
  const auto where = path.string();
  std::uint64_t turned = 0;
  std::vector<std::string> scaled_inputs;
  const ReadParts read = [&](const std::string& name, const Parts& parts, Module& module,
                             std::vector<std::string>& used) -> Result<bool> {
    if (!parts.count("qweight")) {
      if (const auto it = parts.find("qzeros"); it != parts.end())
        return bad_part(name, "it has qzeros, but no qweight", *it->second);
      if (parts.count("scales"))
        scaled_inputs.push_back(name);
      return false;
    }
    TRY(read_module(name, parts, group, where, module));
    turned += module.weight.codes.size();
    used = {"qweight", "qzeros", "scales"};
    return true;
  };
  TRY_ASSIGN(auto found, collect_modules(*checkpoint, file.tensors, read));
  // Left out silently, they would change every output.
  if (!scaled_inputs.empty() && checkpoint->why_not_runnable.empty())
    checkpoint->why_not_runnable = "Activations are divided by scales of their own (" +
                                   scaled_inputs.front() +
                                   ".scales), which this version cannot run";
  assemble(*checkpoint, std::move(found), file.tensors, where);
  if (turned > 0)
    checkpoint->notes.push_back("The codes (" + std::to_string(turned) +
                                " bytes) are stored as [in, out] and are brought into rows one "
                                "module at a time, when it is used");
  return checkpoint;
}

} // namespace

extern const CheckpointReader checkpoint_reader_awq;
const CheckpointReader checkpoint_reader_awq{
    "awq", "A Hugging Face folder with AWQ weights (GEMM packing).", recognises, open};

} // namespace bitlathe
