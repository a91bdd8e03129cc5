// SPDX-License-Identifier: Apache-2.0
#include "core/model/readers/gptq_settings.h"

namespace bitlathe {

namespace {

Error unsupported(const std::string& what, const std::string& where) {
  return {"unsupported", what, where};
}

/// The value of the first key that is there and not null.
const Json& either(const Json& object, const char* key, const char* other) {
  static const Json none;
  for (const char* name : {key, other})
    if (const auto it = object.find(name); it != object.end() && !it->is_null())
      return *it;
  return none;
}

/// What `json` says over what is known already.
Result<GptqSettings> read_settings(const Json& json, std::optional<GptqSettings> known,
                                   const std::string& where) {
  GptqSettings out = known.value_or(GptqSettings());
  const Json& bits = either(json, "bits", "w_bit");
  if (!bits.is_null() || !known) {
    if (!bits.is_number_integer())
      return Error{"bad-file", "The GPTQ settings have no whole number of \"bits\"", where};
    if (bits != 2 && bits != 3 && bits != 4 && bits != 8)
      return unsupported(
          "GPTQ weights of " + bits.dump() + " bits cannot be read (known: 2, 3, 4 and 8)", where);
    out.bits = bits.get<int>();
  }
  const Json& group = either(json, "group_size", "q_group_size");
  if (!group.is_null() || !known) {
    if (!group.is_number_integer() || (group != -1 && (group < 1 || group > (1 << 24))))
      return Error{"bad-file",
                   "The \"group_size\" of the GPTQ settings is " + group.dump() +
                       " instead of -1 or a number of columns",
                   where};
    out.group = group == -1 ? 0 : group.get<std::int64_t>();
  }
  TRY_ASSIGN(out.symmetric, json_bool_or(json, "sym", out.symmetric, where));
  return out;
}

/// Whether the file was written by GPTQModel.
bool by_gptqmodel(const Json& settings) {
  const auto meta = settings.find("meta");
  if (meta == settings.end() || !meta->is_object())
    return false;
  const auto quantizer = meta->find("quantizer");
  if (quantizer == meta->end())
    return false;
  const auto named = [](const Json& name) {
    return name.is_string() && name.get_ref<const std::string&>().rfind("gptqmodel", 0) == 0;
  };
  if (!quantizer->is_array())
    return named(*quantizer);
  for (const Json& name : *quantizer)
    if (named(name))
      return true;
  return false;
}

} // namespace

Result<GptqConfig> GptqConfig::parse(const OrderedJson& settings, const std::string& where) {
  const Json json = settings; // for what has no order
  GptqConfig out;
  TRY_ASSIGN(out.base_, read_settings(json, std::nullopt, where));
  const Json& format = either(json, "checkpoint_format", "format");
  if (!format.is_null() && format != "gptq" && format != "gptq_v2")
    return unsupported("GPTQ checkpoints of the format " + format.dump() +
                           " cannot be read (known: gptq and gptq_v2)",
                       where);
  TRY_ASSIGN(const bool marlin, json_bool_or(json, "is_marlin_format", false, where));
  if (marlin)
    return unsupported("GPTQ checkpoints in Marlin's own layout cannot be read", where);
  TRY_ASSIGN(const std::string words, json_string_or(json, "pack_dtype", "int32", where));
  if (words != "int32")
    return unsupported("GPTQ codes packed into " + words + " cannot be read (known: int32)", where);
  out.minus_one = format != "gptq_v2";
  out.by_word = by_gptqmodel(json);

  const auto dynamic = settings.find("dynamic");
  if (dynamic == settings.end() || dynamic->is_null())
    return out;
  if (!dynamic->is_object())
    return Error{"bad-file", "\"dynamic\" of the GPTQ settings is no object", where};
  for (const auto& [key, value] : dynamic->items()) {
    const bool sign = key.rfind("+:", 0) == 0 || key.rfind("-:", 0) == 0;
    Override entry;
    entry.expression.setPattern(
        QString::fromStdString("\\A(?:" + (sign ? key.substr(2) : key) + ")"));
    if (!entry.expression.isValid())
      return Error{"bad-file",
                   "The expression \"" + key + "\" of \"dynamic\" is not valid: " +
                       entry.expression.errorString().toStdString(),
                   where};
    if (key.rfind("-:", 0) != 0) {
      if (!value.is_object())
        return Error{"bad-file", "\"" + key + "\" of \"dynamic\" is no object", where};
      TRY_ASSIGN(entry.settings, read_settings(Json(value), out.base_, where));
    }
    out.overrides_.push_back(std::move(entry));
  }
  return out;
}

std::optional<GptqSettings> GptqConfig::find(const std::string& module) const {
  const QString name = QString::fromStdString(module);
  for (const Override& entry : overrides_)
    if (entry.expression.match(name).hasMatch())
      return entry.settings;
  return base_;
}

} // namespace bitlathe
