// SPDX-License-Identifier: Apache-2.0
#include "core/model/readers/compressed_settings.h"

#include <QRegularExpression>

namespace bitlathe {

namespace {

/// A target or ignore entry: an exact name, "re:" and an expression anchored at the start, or a
/// class.
struct Entry {
  std::string text;
  QRegularExpression expression; ///< empty unless "re:"
};

Result<std::vector<Entry>> read_entries(const Json& list, const std::string& where) {
  std::vector<Entry> out;
  if (list.is_null())
    return out;
  if (!list.is_array())
    return Error{"bad-file", "A list of targets is not a list", where};
  for (const auto& item : list) {
    if (!item.is_string())
      return Error{"bad-file", "A target is not a text", where};
    Entry entry{item.get<std::string>(), {}};
    if (entry.text.rfind("re:", 0) == 0) {
      entry.expression.setPattern(QString::fromStdString("\\A(?:" + entry.text.substr(3) + ")"));
      if (!entry.expression.isValid())
        return Error{"bad-file",
                     "The expression \"" + entry.text +
                         "\" is not valid: " + entry.expression.errorString().toStdString(),
                     where};
    }
    out.push_back(std::move(entry));
  }
  return out;
}

bool matches_expression(const std::vector<Entry>& entries, const std::string& module) {
  for (const auto& entry : entries)
    if (!entry.expression.pattern().isEmpty() &&
        entry.expression.match(QString::fromStdString(module)).hasMatch())
      return true;
  return false;
}

bool matches_text(const std::vector<Entry>& entries, const std::string& text) {
  for (const auto& entry : entries)
    if (entry.expression.pattern().isEmpty() && entry.text == text)
      return true;
  return false;
}

Error unsupported(const std::string& what, const std::string& where) {
  return {"unsupported", what, where};
}

const Json& member(const Json& object, const char* key) {
  static const Json none;
  const auto it = object.find(key);
  return it == object.end() ? none : *it;
}

/// The part of a group's "weights" that says how scales are shared.
Result<void> read_strategy(const Json& weights, const std::string& where, CompressedSettings& out) {
  TRY_ASSIGN(out.symmetric, json_bool_or(weights, "symmetric", true, where));
  TRY_ASSIGN(out.group, json_int_or(weights, "group_size", 0, where));
  TRY_ASSIGN(out.strategy, json_string_or(weights, "strategy",
                                          out.group > 0     ? "group"
                                          : out.group == -1 ? "channel"
                                                            : "tensor",
                                          where));
  if (out.strategy == "group" && out.group == -1)
    out.strategy = "channel";
  const bool grouped = out.strategy == "group" || out.strategy == "tensor_group";
  if (!grouped && out.strategy != "channel" && out.strategy != "tensor" && out.strategy != "block")
    return unsupported("Weight strategy \"" + out.strategy +
                           "\" cannot be read (known: group, tensor_group, channel, block, tensor)",
                       where);
  if (grouped && (out.group < 1 || out.group > (1 << 24)))
    return Error{"bad-file",
                 "Strategy \"" + out.strategy + "\" with a group_size of " +
                     std::to_string(out.group),
                 where};
  if (!grouped)
    out.group = 0;
  if (out.strategy == "block") {
    const Json& block = member(weights, "block_structure");
    const auto size = [&](std::size_t i) {
      return block.is_array() && block.size() == 2 && block[i].is_number_integer()
                 ? block[i].get<std::int64_t>()
                 : 0;
    };
    out.block_rows = size(0);
    out.block_cols = size(1);
    if (out.block_rows < 1 || out.block_cols < 1)
      return Error{"bad-file", "Strategy \"block\" with a block_structure of " + block.dump(),
                   where};
  }
  return {};
}

/// Which activation scheme a group asks for; what is not run here is said in `float_inputs`.
Result<void> read_activations(const Json& input, const std::string& where,
                              CompressedSettings& out) {
  if (input.is_null())
    return {};
  if (!input.is_object())
    return Error{"bad-file", "\"input_activations\" is not an object", where};
  const auto is = [&](const char* key, const Json& value) { return member(input, key) == value; };
  const auto is_or_missing = [&](const char* key, const Json& value) {
    return member(input, key).is_null() || is(key, value);
  };
  const bool floats = is("type", "float");
  const bool symmetric = !is("symmetric", false);
  if (symmetric && is("num_bits", 8) && (floats || is_or_missing("type", "int"))) {
    if (is("dynamic", true) && is("strategy", "token"))
      out.activations = floats ? "f8_e4m3-token-dynamic" : "int8-token-dynamic";
    else if (is_or_missing("dynamic", false) && is_or_missing("strategy", "tensor"))
      out.activations = floats ? "f8_e4m3-tensor-static" : "int8-tensor-static";
  } else if (symmetric && floats && is("num_bits", 4)) {
    if (is("strategy", "tensor_group") && is("group_size", 16) && is("dynamic", "local"))
      out.activations = "nvfp4-tensor-static";
    else if (is("strategy", "tensor_group") && is("group_size", 16) && is("dynamic", true))
      out.activations = "nvfp4";
    else if (is("strategy", "group") && is("group_size", 32) && is("dynamic", true))
      out.activations = "mxfp4";
  }
  if (out.activations == "none") {
    const auto text = [&](const char* key) {
      const Json& value = member(input, key);
      return value.is_string() ? value.get<std::string>() : value.dump();
    };
    out.float_inputs = text("num_bits") + "-bit " + text("type") + ", strategy " +
                       text("strategy") + ", dynamic " + text("dynamic") +
                       (symmetric ? "" : ", asymmetric");
  }
  return {};
}

Result<CompressedSettings> read_settings(const Json& group, const std::string& format,
                                         const std::string& where) {
  CompressedSettings out;
  out.format = format;
  const Json& weights = member(group, "weights");
  if (!weights.is_object())
    return Error{"bad-file", "\"weights\" is not an object", where};
  TRY_ASSIGN(const std::string type, json_string_or(weights, "type", "int", where));
  TRY_ASSIGN(const std::int64_t bits, json_int(weights, "num_bits", where));
  out.floats = type == "float";
  if (type != "int" && !(out.floats && (bits == 4 || bits == 8)))
    return unsupported("Weights of type \"" + type + "\" with " + std::to_string(bits) +
                           " bits cannot be read (known: int, and float with 4 or 8 bits)",
                       where);
  if (bits < 2 || bits > 8)
    return unsupported(std::to_string(bits) + "-bit integer weights cannot be read (known: 2 to 8)",
                       where);
  out.bits = int(bits);
  TRY(read_strategy(weights, where, out));
  const bool nvfp4 = out.strategy == "tensor_group" && out.group == 16;
  const bool microscaled = out.strategy == "group" && out.group == 32; // mxfp4, mxfp8
  if (out.floats && out.bits == 4 && !nvfp4 && !microscaled)
    return unsupported("4-bit floats are read in groups of 16 (nvfp4) and 32 (mxfp4), not with "
                       "strategy \"" +
                           out.strategy + "\" and groups of " + std::to_string(out.group),
                       where);
  if ((!out.floats && format.find("fp") != std::string::npos) ||
      (out.bits != 4 && format.find("fp4") != std::string::npos))
    return Error{"bad-file",
                 "The format \"" + format + "\" does not hold weights of type \"" + type +
                     "\" with " + std::to_string(bits) + " bits",
                 where};
  if (out.floats && out.bits == 8 &&
      (!out.symmetric || out.strategy == "tensor_group" ||
       (out.strategy == "group" && !(microscaled && format == "mxfp8-quantized"))))
    return unsupported("8-bit floats are read per tensor, channel or block, and mxfp8 in groups of "
                       "32, all symmetric",
                       where);
  if (!out.floats && (out.strategy == "block" || out.strategy == "tensor_group"))
    return unsupported("Integer weights are read per tensor, channel or group, not with strategy "
                       "\"" +
                           out.strategy + "\"",
                       where);
  const Json& order = member(weights, "actorder");
  out.ordered = order == "group" || order == "dynamic";
  TRY(read_activations(member(group, "input_activations"), where, out));
  return out;
}

} // namespace

struct CompressedConfig::Impl {
  struct Group {
    CompressedSettings settings;
    std::vector<Entry> targets;
  };
  std::vector<Group> groups;
  std::vector<Entry> ignore;
};

CompressedConfig::CompressedConfig() : impl_(std::make_unique<Impl>()) {}
CompressedConfig::~CompressedConfig() = default;
CompressedConfig::CompressedConfig(CompressedConfig&&) noexcept = default;
CompressedConfig& CompressedConfig::operator=(CompressedConfig&&) noexcept = default;

Result<CompressedConfig> CompressedConfig::parse(const Json& config, const std::string& where) {
  CompressedConfig out;
  TRY_ASSIGN(const std::string status,
             json_string_or(config, "quantization_status", "compressed", where));
  if (status != "compressed" && status != "frozen")
    return unsupported("quantization_status is \"" + status + "\", not \"compressed\"", where);
  const Json& sparsity = member(config, "sparsity_config");
  if (sparsity.is_object() && !sparsity.empty() && member(sparsity, "format").is_string() &&
      sparsity["format"] != "dense")
    return unsupported(
        "Sparse weights (" + sparsity["format"].get<std::string>() + ") cannot be read", where);
  TRY_ASSIGN(const std::string format, json_string_or(config, "format", "pack-quantized", where));
  static const std::vector<std::string> known{
      "pack-quantized",       "int-quantized",        "float-quantized",
      "naive-quantized",      "mixed-precision",      "dense",
      "nvfp4-pack-quantized", "mxfp4-pack-quantized", "mxfp8-quantized"};
  const auto check_format = [&](const std::string& name) -> Result<void> {
    for (const auto& entry : known)
      if (entry == name)
        return {};
    return unsupported("Format \"" + name + "\" cannot be read yet", where);
  };
  TRY(check_format(format));
  if (const Json& transforms = member(config, "transform_config");
      transforms.is_object() && !member(transforms, "config_groups").empty())
    return unsupported(
        "The weights are turned by transforms that the file wants to be undone while "
        "the model runs (transform_config), which cannot be done here",
        where);
  const Json& groups = member(config, "config_groups");
  if (!groups.is_object() || groups.empty())
    return Error{"bad-file", "The quantization_config has no \"config_groups\"", where};
  for (const auto& [name, group] : groups.items()) {
    if (!group.is_object())
      return Error{"bad-file", "The group \"" + name + "\" is not an object", where};
    if (member(group, "weights").is_null()) // of attention: what is said of keys and values
      continue;
    Impl::Group entry;
    const std::string group_where = where + ", config group \"" + name + "\"";
    TRY_ASSIGN(const std::string own, json_string_or(group, "format", format, group_where));
    TRY(check_format(own));
    TRY_ASSIGN(entry.settings, read_settings(group, own, group_where));
    TRY_ASSIGN(entry.targets, read_entries(member(group, "targets"), where));
    out.impl_->groups.push_back(std::move(entry));
  }
  TRY_ASSIGN(out.impl_->ignore, read_entries(member(config, "ignore"), where));
  return out;
}

bool CompressedConfig::ignored(const std::string& module) const {
  return matches_text(impl_->ignore, module) || matches_expression(impl_->ignore, module);
}

const CompressedSettings* CompressedConfig::find(const std::string& module) const {
  if (ignored(module))
    return nullptr;
  for (const auto& group : impl_->groups)
    if (matches_text(group.targets, module))
      return &group.settings;
  for (const auto& group : impl_->groups)
    if (matches_expression(group.targets, module))
      return &group.settings;
  for (const auto& group : impl_->groups)
    if (matches_text(group.targets, "Linear"))
      return &group.settings;
  return nullptr;
}

} // namespace bitlathe
