// SPDX-License-Identifier: Apache-2.0
#include "core/export/packed_rules.h"

#include "core/export/tensors.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace bitlathe {

namespace {

std::string type_and_shape(const std::vector<std::int64_t>& shape, std::string_view type) {
  std::string out(type);
  out += " [";
  for (std::size_t i = 0; i < shape.size(); ++i)
    out += (i ? ", " : "") + std::to_string(shape[i]);
  return out + "]";
}

Result<OrderedJson> read_ordered(const fs::path& path) {
  TRY(read_json_file(path)); // with every check
  TRY_ASSIGN(const std::string text, read_file(path));
  return OrderedJson::parse(text, nullptr, false);
}

} // namespace

bool PackedFolder::packed(const PackedParts& parts) const {
  return std::any_of(parts.begin(), parts.end(), [](const auto& part) {
    return part.first == "qweight" || part.first == "qzeros" || part.first == "g_idx";
  });
}

std::vector<std::string> PackedFolder::packed_names() const {
  std::vector<std::string> out;
  for (const auto& [name, parts] : modules)
    if (packed(parts))
      out.push_back(name);
  return out;
}

std::vector<std::string> PackedFolder::plain_names() const {
  std::vector<std::string> out;
  for (const auto& [name, parts] : modules)
    if (const auto it = parts.find("weight");
        !packed(parts) && it != parts.end() && it->second->shape.size() == 2)
      out.push_back(name);
  return out;
}

Result<std::unique_ptr<PackedFolder>> read_packed_folder(const fs::path& path) {
  auto out = std::make_unique<PackedFolder>();
  TRY_ASSIGN(out->config, read_ordered(path / "config.json"));
  if (!out->config.is_object())
    return Error{"bad-file", "config.json is not a JSON object", (path / "config.json").string()};
  if (const auto it = out->config.find("quantization_config");
      it != out->config.end() && it->is_object())
    out->settings = *it;
  std::error_code failed;
  for (const char* name : {"quantize_config.json", "quant_config.json"})
    if (out->beside.is_null() && fs::is_regular_file(path / name, failed)) {
      TRY_ASSIGN(out->beside, read_ordered(path / name));
    }
  TRY_ASSIGN(out->file, read_safetensors_folder(path));
  for (const StoredTensor& tensor : out->file.tensors) {
    const auto dot = tensor.name.rfind('.');
    if (dot != std::string::npos)
      out->modules[tensor.name.substr(0, dot)][tensor.name.substr(dot + 1)] = &tensor;
  }
  return out;
}

VerifyCheck PackedRule::check() const {
  return {name_, broken_.empty(), broken_.empty() ? good_ : name_list(broken_, 5)};
}

VerifyCheck PackedRule::remark() const {
  return {name_, true, broken_.empty() ? good_ : name_list(broken_, 8)};
}

void expect_packed(PackedRule& rule, const std::string& name, const StoredTensor& tensor,
                   const std::vector<std::int64_t>& shape, std::string_view types) {
  const auto known = "|" + std::string(types) + "|";
  if (tensor.shape != shape || known.find("|" + tensor.dtype + "|") == std::string::npos)
    rule.broken(name + " is " + type_and_shape(tensor.shape, tensor.dtype) + " instead of " +
                type_and_shape(shape, types));
}

std::uint32_t packed_field(const StoredTensor& words, std::int64_t row, std::int64_t index,
                           int bits) {
  const auto* line = words.data.data() + row * words.shape[1] * 4;
  const std::int64_t bit = index * bits;
  std::uint64_t both = 0;
  std::memcpy(&both, line + bit / 32 * 4, bit % 32 + bits > 32 ? 8 : 4);
  return std::uint32_t(both >> (bit % 32)) & ((1u << bits) - 1);
}

void check_packed_scales(PackedRule& rule, const std::string& module, const StoredTensor& scales) {
  const auto type = scales.dtype == "F16"    ? FloatType::f16
                    : scales.dtype == "BF16" ? FloatType::bf16
                                             : FloatType::f32;
  const auto count = std::int64_t(scales.data.size() / float_size(type));
  std::int64_t broken = 0;
  for (std::int64_t i = 0; i < count; ++i)
    broken += !std::isfinite(load_float(type, scales.data.data(), i));
  if (broken > 0)
    rule.broken(module + ": " + std::to_string(broken) + " scales are no finite numbers");
}

std::string name_in_block(const std::string& module) {
  for (std::size_t at = 0; at < module.size();) {
    const auto end = std::min(module.find('.', at), module.size());
    if (end > at && end < module.size() &&
        std::all_of(module.begin() + std::ptrdiff_t(at), module.begin() + std::ptrdiff_t(end),
                    [](char c) { return c >= '0' && c <= '9'; }))
      return module.substr(end + 1);
    at = end + 1;
  }
  return {};
}

std::map<std::string, std::vector<std::string>>
joined_layers(const std::vector<std::string>& modules) {
  std::map<std::string, std::vector<std::string>> out;
  for (const auto& name : modules) {
    const auto dot = name.rfind('.');
    if (dot == std::string::npos)
      continue;
    const auto last = name.substr(dot + 1);
    if (last == "q_proj" || last == "k_proj" || last == "v_proj")
      out[name.substr(0, dot) + ".qkv_proj"].push_back(name);
    if (last == "gate_proj" || last == "up_proj")
      out[name.substr(0, dot) + ".gate_up_proj"].push_back(name);
  }
  return out;
}

} // namespace bitlathe
