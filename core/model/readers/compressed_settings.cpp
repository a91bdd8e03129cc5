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

Result<CompressedSettings> read_settings(const Json& group, const std::string& where) {
  CompressedSettings out;
  const Json& weights = member(group, "weights");
  if (!weights.is_object())
    return Error{"bad-file", "A group of the quantization_config has no \"weights\"", where};
  TRY_ASSIGN(const std::string type, json_string_or(weights, "type", "int", where));
  TRY_ASSIGN(const std::int64_t bits, json_int(weights, "num_bits", where));
  out.floats = type == "float" && bits == 8;
  if (type != "int" && !out.floats)
    return unsupported("Weights of type \"" + type + "\" with " + std::to_string(bits) +
                           " bits cannot be read yet (known: int, and float with 8 bits)",
                       where);
  if (bits < 2 || bits > 8)
    return unsupported(std::to_string(bits) + "-bit integer weights cannot be read (known: 2 to 8)",
                       where);
  out.bits = int(bits);
  TRY_ASSIGN(out.symmetric, json_bool_or(weights, "symmetric", true, where));
  TRY_ASSIGN(out.group, json_int_or(weights, "group_size", 0, where));
  TRY_ASSIGN(out.strategy, json_string_or(weights, "strategy",
                                          out.group > 0     ? "group"
                                          : out.group == -1 ? "channel"
                                                            : "tensor",
                                          where));
  if (out.strategy == "group" && out.group == -1)
    out.strategy = "channel";
  if (out.strategy != "group" && out.strategy != "channel" && out.strategy != "tensor")
    return unsupported("Weight strategy \"" + out.strategy +
                           "\" cannot be read (known: group, channel, tensor)",
                       where);
  if (out.floats && (out.strategy == "group" || !out.symmetric))
    return unsupported("Weights of type \"float\" are read per tensor or channel only", where);
  if (out.strategy != "group")
    out.group = 0;
  else if (out.group < 1 || out.group > (1 << 24))
    return Error{"bad-file", "Strategy \"group\" with a group_size of " + std::to_string(out.group),
                 where};
  const Json& order = member(weights, "actorder");
  if (order.is_string() && order != "static" && order != "weight")
    return unsupported("Activation order " + order.dump() + " cannot be read yet", where);

  const Json& input = member(group, "input_activations");
  if (input.is_object()) {
    const auto is = [&](const char* key, const Json& value) { return member(input, key) == value; };
    const bool dynamic = is("dynamic", true) && is("strategy", "token");
    const bool fixed = (is("dynamic", false) || member(input, "dynamic").is_null()) &&
                       (is("strategy", "tensor") || member(input, "strategy").is_null());
    const bool floats = is("type", "float");
    if (!is("num_bits", 8) || (!floats && !is("type", "int") && !member(input, "type").is_null()) ||
        (!dynamic && !fixed) || member(input, "symmetric") == Json(false))
      return unsupported(
          "The activation settings cannot be run yet (known: int8 and f8, symmetric, "
          "dynamic per token or static per tensor)",
          where);
    out.activations =
        std::string(floats ? "f8_e4m3" : "int8") + (dynamic ? "-token-dynamic" : "-tensor-static");
  } else if (!input.is_null()) {
    return Error{"bad-file", "\"input_activations\" is not an object", where};
  }
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
  static const std::vector<std::string> known{"pack-quantized",  "int-quantized",
                                              "float-quantized", "naive-quantized",
                                              "mixed-precision", "dense"};
  const auto check_format = [&](const std::string& name) -> Result<void> {
    for (const auto& entry : known)
      if (entry == name)
        return {};
    return unsupported("Format \"" + name + "\" cannot be read yet", where);
  };
  TRY(check_format(format));
  const Json& groups = member(config, "config_groups");
  if (!groups.is_object() || groups.empty())
    return Error{"bad-file", "The quantization_config has no \"config_groups\"", where};
  for (const auto& [name, group] : groups.items()) {
    if (!group.is_object())
      return Error{"bad-file", "The group \"" + name + "\" is not an object", where};
    Impl::Group entry;
    TRY_ASSIGN(const std::string own, json_string_or(group, "format", format, where));
    TRY(check_format(own));
    TRY_ASSIGN(entry.settings, read_settings(group, where));
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
