// SPDX-License-Identifier: Apache-2.0
#include "core/export/bnb_rules.h"

#include "core/export/linears.h"
#include "kernels/num/nf4.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <set>

namespace bitlathe {

namespace {

float float_at(const StoredTensor& tensor, std::size_t index) {
  return load_float(FloatType::f32, tensor.data.data(), std::int64_t(index));
}

/// How transformers decides that a module is skipped: its name, a name above it, or its end.
bool skipped(const std::string& module, const Json& list) {
  return std::any_of(list.begin(), list.end(), [&](const Json& entry) {
    if (!entry.is_string())
      return false;
    const auto& name = entry.get_ref<const std::string&>();
    return module == name || module.rfind(name + ".", 0) == 0 || ends_with(module, "." + name);
  });
}

/// The settings as transformers checks their types and vLLM's plugin their values.
Json check_config(const Json& config, std::vector<VerifyCheck>& checks) {
  LoaderRule rule("configuration", "the settings have the types and values that loaders want");
  const auto it = config.find("quantization_config");
  const Json settings = it != config.end() && it->is_object() ? *it : Json::object();
  const auto get = [&](const char* key) { return settings.value(key, Json()); };
  if (settings.contains("quant_method"))
    rule.require(get("quant_method") == "bitsandbytes",
                 "quant_method is " + get("quant_method").dump());
  for (const char* key : {"load_in_4bit", "load_in_8bit", "bnb_4bit_use_double_quant",
                          "llm_int8_enable_fp32_cpu_offload", "llm_int8_has_fp16_weight"})
    rule.require(get(key).is_null() || get(key).is_boolean(),
                 std::string(key) + " is not true or false");
  rule.require((get("load_in_4bit") == true) != (get("load_in_8bit") == true),
               "not exactly one of load_in_4bit and load_in_8bit is true");
  rule.require(get("llm_int8_threshold").is_null() || get("llm_int8_threshold").is_number_float(),
               "llm_int8_threshold is not written as a float (6.0, not 6)");
  const auto type = get("bnb_4bit_quant_type");
  rule.require(type.is_null() || type == "nf4" || type == "fp4",
               "bnb_4bit_quant_type is " + type.dump());
  const auto storage = get("bnb_4bit_quant_storage");
  rule.require(storage.is_null() || storage == "uint8",
               "bnb_4bit_quant_storage is " + storage.dump() + ", and vLLM reads uint8 only");
  const auto compute = get("bnb_4bit_compute_dtype");
  rule.require(compute.is_null() || compute == "float32" || compute == "float16" ||
                   compute == "bfloat16",
               "bnb_4bit_compute_dtype is " + compute.dump());
  const auto skips = get("llm_int8_skip_modules");
  rule.require(skips.is_null() || skips.is_array(), "llm_int8_skip_modules is not a list");
  checks.push_back(rule.check());
  return settings;
}

/// QuantState.from_dict on the tensors of one weight.
void check_four(const FolderContents& folder, const std::string& module, const Json& settings,
                LoaderRule& rule) {
  static constexpr std::array known{"absmax",           "quant_map",    "nested_absmax",
                                    "nested_quant_map", "quant_state",  "quant_type",
                                    "blocksize",        "dtype",        "shape",
                                    "nested_blocksize", "nested_dtype", "nested_offset"};
  const auto weight_name = module + ".weight";
  const auto say = [&](const std::string& what) { rule.broken(module + ": " + what); };
  const StoredTensor* state_tensor = nullptr;
  std::string kind;
  int states = 0;
  for (auto it = folder.tensors.lower_bound(weight_name + ".");
       it != folder.tensors.end() && it->first.rfind(weight_name + ".", 0) == 0; ++it) {
    const auto tail = it->first.substr(weight_name.size() + 1);
    const auto part = tail.substr(0, tail.find('.'));
    if (std::find(known.begin(), known.end(), part) == known.end())
      say("weight." + tail + " is no part of a quant_state");
    if (part == "quant_state") {
      ++states;
      state_tensor = it->second;
      kind = tail.size() > part.size() ? tail.substr(part.size() + 1) : std::string();
    }
  }
  if (states != 1)
    return say(std::to_string(states) + " quant_state tensors instead of one");
  if (kind != "bitsandbytes__nf4" && kind != "bitsandbytes__fp4")
    return say("its quant_state is named " + kind);
  kind = kind.substr(kind.size() - 3);
  const auto text = parse_json(
      {reinterpret_cast<const char*>(state_tensor->data.data()), state_tensor->data.size()},
      state_tensor->name);
  if (state_tensor->dtype != "U8" || !text || !text->is_object())
    return say("its quant_state is not the U8 text of a JSON object");
  const Json& state = *text;
  if (state.value("quant_type", Json()) != kind)
    say("quant_type is " + state.value("quant_type", Json()).dump());
  if (settings.value("bnb_4bit_quant_type", Json("fp4")) != kind)
    say("it is " + kind + ", unlike bnb_4bit_quant_type");
  const auto dtype = state.value("dtype", Json());
  if (dtype != "float32" && dtype != "float16" && dtype != "bfloat16")
    say("dtype is " + dtype.dump());
  const auto shape = state.value("shape", Json()), block_size = state.value("blocksize", Json());
  const bool pair = shape.is_array() && shape.size() == 2 && shape[0].is_number_integer() &&
                    shape[1].is_number_integer() && shape[0] > 0 && shape[1] > 0 &&
                    shape[0] < (std::int64_t(1) << 31) && shape[1] < (std::int64_t(1) << 31);
  if (!pair)
    return say("shape is " + shape.dump());
  if (!block_size.is_number_integer() || block_size < 32 || block_size > 4096 ||
      (block_size.get<std::int64_t>() & (block_size.get<std::int64_t>() - 1)) != 0)
    return say("blocksize is " + block_size.dump());
  const auto block = block_size.get<std::int64_t>();
  const std::int64_t count = shape[0].get<std::int64_t>() * shape[1].get<std::int64_t>();
  const std::int64_t blocks = (count + block - 1) / block;
  const StoredTensor* weight = folder.find(weight_name);
  if (!weight)
    return say("its weight is missing");
  if (weight->dtype == "U8" &&
      weight->shape != std::vector<std::int64_t>{(count + 1) / 2, std::int64_t(1)})
    say("its weight has the shape " + shape_text(weight->shape) + " instead of [" +
        std::to_string((count + 1) / 2) + ", 1]");
  const auto expect = [&](const std::string& part, const char* type, std::int64_t size) {
    const StoredTensor* tensor = folder.find(weight_name + "." + part);
    if (!tensor)
      say(part + " is missing");
    else if (tensor->dtype != type || tensor->shape != std::vector{size})
      say(part + " is " + tensor->dtype + " " + shape_text(tensor->shape) + " instead of " + type +
          " [" + std::to_string(size) + "]");
    else
      return tensor;
    return static_cast<const StoredTensor*>(nullptr);
  };
  const auto finite = [&](const StoredTensor* tensor) {
    for (std::size_t i = 0; tensor && i < tensor->data.size() / 4; ++i)
      if (!std::isfinite(float_at(*tensor, i)))
        return say(tensor->name + " holds NaN or infinities");
  };
  if (const auto* map = expect("quant_map", "F32", 16)) {
    const auto& table = kind == "nf4" ? nf4_values : fp4_values;
    for (std::size_t i = 0; i < 16; ++i)
      if (!(std::fabs(float_at(*map, i) - table[i]) <= 1e-6f)) {
        say("quant_map is not the table of " + kind + ", which the kernels use");
        break;
      }
  }
  const bool nested = state.contains("nested_blocksize") || state.contains("nested_offset") ||
                      folder.find(weight_name + ".nested_absmax");
  if (!nested)
    return finite(expect("absmax", "F32", blocks));
  expect("absmax", "U8", blocks);
  const auto nested_block = state.value("nested_blocksize", Json());
  if (!nested_block.is_number_integer() || nested_block < 1)
    return say("nested_blocksize is " + nested_block.dump());
  if (!state.value("nested_offset", Json()).is_number())
    say("nested_offset is " + state.value("nested_offset", Json()).dump());
  if (state.value("nested_dtype", Json()) != "float32")
    say("nested_dtype is " + state.value("nested_dtype", Json()).dump());
  const auto per = nested_block.get<std::int64_t>();
  finite(expect("nested_absmax", "F32", (blocks + per - 1) / per));
  finite(expect("nested_quant_map", "F32", 256));
}

void check_eight(const FolderContents& folder, const std::string& module, LoaderRule& rule) {
  const auto say = [&](const std::string& what) { rule.broken(module + ": " + what); };
  const StoredTensor* weight = folder.find(module + ".weight");
  const StoredTensor* top = folder.find(module + ".SCB");
  const StoredTensor* format = folder.find(module + ".weight_format");
  if (!weight || weight->dtype != "I8" || weight->shape.size() != 2)
    return say("its weight is not a matrix of I8");
  if (!top || top->dtype != "F32" || top->shape != std::vector{weight->shape[0]})
    return say("SCB is not F32 [" + std::to_string(weight->shape[0]) + "]");
  for (std::size_t i = 0; i < top->data.size() / 4; ++i)
    if (!(float_at(*top, i) >= 0) || !std::isfinite(float_at(*top, i))) {
      say("SCB of row " + std::to_string(i) + " is no magnitude");
      break;
    }
  if (format &&
      (format->dtype != "U8" || format->data.size() != 1 || format->data[0] != std::byte(0)))
    say("weight_format is not 0 (row by row)");
}

/// A matrix that is no linear layer, by the names in use.
bool no_linear(const std::string& module) {
  const auto last = module.substr(module.rfind('.') + 1);
  static constexpr std::array names{"wte", "wpe", "shared", "position_embedding"};
  return last.find("embed") != std::string::npos || last.find("norm") != std::string::npos ||
         std::find(names.begin(), names.end(), last) != names.end();
}

} // namespace

std::vector<VerifyCheck> bnb_rules(const fs::path& path) {
  std::vector<VerifyCheck> out;
  const auto folder = read_contents(path);
  if (!folder) {
    out.push_back({"files", false, folder.error().text()});
    return out;
  }
  const auto& contents = **folder;
  const Json settings = check_config(contents.config, out);
  const bool eight = settings.value("load_in_8bit", Json()) == true;
  const Json skips = settings.value("llm_int8_skip_modules", Json());

  LoaderRule states("quantized weights", eight
                                             ? "every I8 weight has its SCB, row by row"
                                             : "every packed weight has the parts that rebuild its "
                                               "quant_state");
  LoaderRule list("skipped modules",
                  "the skip list names the linear layers that are not quantized");
  std::set<std::string> quantized;
  std::vector<std::string> plain;
  for (const auto& [name, tensor] : contents.tensors) {
    for (const std::string_view tail : {".weight.absmax", ".weight.quant_map", ".SCB"})
      if (const auto module = without_tail(name, tail); !module.empty())
        quantized.insert(module);
    if (const auto at = name.find(".weight.quant_state."); at != std::string::npos)
      quantized.insert(name.substr(0, at));
    const auto module = without_tail(name, ".weight");
    if (module.empty())
      continue;
    if (tensor->dtype == "I8" || tensor->dtype == "U8")
      quantized.insert(module);
    else if (tensor->shape.size() == 2 && !contents.find(name + ".absmax") && !no_linear(module))
      plain.push_back(module);
  }
  for (const auto& module : quantized) {
    const bool is_eight =
        contents.find(module + ".SCB") ||
        (contents.find(module + ".weight") && contents.find(module + ".weight")->dtype == "I8");
    if (is_eight != eight)
      states.broken(module + " is stored in " + (is_eight ? "8" : "4") +
                    " bits, unlike the settings");
    if (is_eight)
      check_eight(contents, module, states);
    else
      check_four(contents, module, settings, states);
    if (skips.is_array() && skipped(module, skips))
      list.broken(module + " is on the list, but quantized");
  }
  // Without a list, loaders skip the output head.
  const Json in_use = skips.is_array() ? skips : Json::array({"lm_head", "embed_out"});
  if (!quantized.empty())
    for (const auto& module : plain)
      list.require(skipped(module, in_use),
                   module + " is a float matrix that is not on the list, so loaders quantize it");
  states.require(!quantized.empty(), "no weight is quantized");
  out.push_back(states.check());
  out.push_back(list.check());
  return out;
}

} // namespace bitlathe
