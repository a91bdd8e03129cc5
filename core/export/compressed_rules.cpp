// SPDX-License-Identifier: Apache-2.0
#include "core/export/compressed_rules.h"

#include "core/export/linears.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <QRegularExpression>
#include <set>

namespace bitlathe {

namespace {

const std::set<std::string> formats{
    "dense",           "int-quantized",        "float-quantized",
    "naive-quantized", "pack-quantized",       "nvfp4-pack-quantized",
    "mixed-precision", "mxfp4-pack-quantized", "mxfp8-quantized"};
/// Other keys make the models of the settings fail; the last two do in versions before 2026.
const std::set<std::string> settings_keys{
    "num_bits", "type",     "symmetric", "group_size",      "strategy",    "block_structure",
    "dynamic",  "actorder", "observer",  "observer_kwargs", "scale_dtype", "zp_dtype"};

const Json& member(const Json& object, const char* key) {
  static const Json none;
  if (!object.is_object())
    return none;
  const auto it = object.find(key);
  return it == object.end() ? none : *it;
}

std::int64_t number(const Json& object, const char* key) {
  const Json& value = member(object, key);
  return value.is_number_integer() ? value.get<std::int64_t>() : 0;
}

std::string text(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

/// How an entry of "targets" or "ignore" hits a name: 0 not at all, 1 exactly, 2 by expression.
int hit(const Json& entry, const std::string& module) {
  if (!entry.is_string())
    return 0;
  const auto& pattern = entry.get_ref<const std::string&>();
  if (pattern == module)
    return 1;
  if (pattern.rfind("re:", 0) != 0)
    return 0;
  const QRegularExpression expression(QString::fromStdString("\\A(?:" + pattern.substr(3) + ")"));
  return expression.isValid() && expression.match(QString::fromStdString(module)).hasMatch() ? 2
                                                                                             : 0;
}

class Checker {
 public:
  Checker(const FolderContents& folder, const Json& settings)
      : folder_(folder), settings_(settings) {}

  std::vector<VerifyCheck> run() {
    check_container();
    check_settings();
    std::vector<std::string> quantized, linears;
    for (const auto& [name, tensor] : folder_.tensors) {
      for (const char* tail : {".weight_packed", ".weight"}) {
        const auto module = without_tail(name, tail);
        if (module.empty())
          continue;
        const bool codes = tail == std::string_view(".weight_packed") || tensor->dtype == "I8" ||
                           tensor->dtype == "F8_E4M3";
        if (codes)
          quantized.push_back(module);
        else if (tensor->shape.size() == 2 && linear_by_name(module))
          check_kept(module);
        if (codes || tensor->shape.size() == 2)
          linears.push_back(module);
      }
    }
    std::sort(quantized.begin(), quantized.end());
    tensors_.require(!quantized.empty(), "no weight is quantized");
    for (const auto& module : quantized)
      check_module(module);
    check_left_over(quantized);
    const VerifyCheck vllm = check_vllm(linears, quantized);
    return {container_.check(), configuration_.check(), targets_.check(), tensors_.check(), vllm};
  }

 private:
  static bool linear_by_name(const std::string& module) {
    return ends_with(module, "_proj") || module == "lm_head";
  }

  void check_container() {
    const auto& metadata = folder_.file.metadata;
    const auto format = metadata.find("format");
    container_.require(format != metadata.end() && format->second == "pt",
                       "the metadata has no \"format\": \"pt\", which transformers before 5 "
                       "demands");
  }

  void check_settings() {
    auto& rule = configuration_;
    rule.require(member(settings_, "quant_method") == "compressed-tensors",
                 "quant_method is " + member(settings_, "quant_method").dump());
    rule.require(member(settings_, "quantization_status") == "compressed",
                 "quantization_status is " + member(settings_, "quantization_status").dump() +
                     "; transformers takes the weights for uncompressed ones");
    const Json& format = member(settings_, "format");
    rule.require(format.is_string() && formats.count(text(format)) > 0,
                 "format " + format.dump() + " is not known");
    const Json& groups = member(settings_, "config_groups");
    if (!groups.is_object() || groups.empty())
      return rule.broken("there are no config_groups");
    for (const auto& [name, group] : groups.items()) {
      const Json& own = member(group, "format");
      rule.require(own.is_null() || (own.is_string() && formats.count(text(own)) > 0 &&
                                     own != "mixed-precision"),
                   name + " has the format " + own.dump());
      rule.require(format != "mixed-precision" || own.is_string(),
                   name + " has no format of its own, which mixed-precision needs");
      rule.require(own.is_null() || format == "mixed-precision" || own == format,
                   name + " has another format than the whole, which is not mixed-precision");
      rule.require(member(group, "targets").is_array() && !member(group, "targets").empty(),
                   name + " has no targets");
      for (const char* side : {"weights", "input_activations", "output_activations"})
        check_arguments(name + "." + side, member(group, side));
    }
    const Json& kv = member(settings_, "kv_cache_scheme");
    if (kv.is_object())
      rule.require(number(kv, "num_bits") == 8 && member(kv, "type") == "float",
                   "kv_cache_scheme is not an 8-bit float, and vLLM knows no other");
  }

  void check_arguments(const std::string& where, const Json& arguments) {
    auto& rule = configuration_;
    if (arguments.is_null())
      return;
    if (!arguments.is_object())
      return rule.broken(where + " is not an object");
    for (const auto& [key, value] : arguments.items())
      rule.require(settings_keys.count(key) > 0, where + " has the unknown key \"" + key + "\"");
    const Json& strategy = member(arguments, "strategy");
    const bool grouped = strategy == "group" || strategy == "tensor_group";
    rule.require(!grouped || number(arguments, "group_size") > 0,
                 where + " has groups without a group_size");
    rule.require(strategy != "token" || member(arguments, "dynamic") == true,
                 where + " has a scale per token that is not dynamic");
    const Json& block = member(arguments, "block_structure");
    rule.require(strategy != "block" || (block.is_array() && block.size() == 2),
                 where + " has blocks without a block_structure");
    rule.require(member(arguments, "dynamic") != true || member(arguments, "observer").is_null() ||
                     member(arguments, "observer") == "memoryless" ||
                     member(arguments, "observer") == "minmax",
                 where + " is dynamic and has an observer");
  }

  bool ignored(const std::string& module) const {
    const Json& list = member(settings_, "ignore");
    return list.is_array() && std::any_of(list.begin(), list.end(), [&](const Json& entry) {
             return hit(entry, module) != 0;
           });
  }

  /// The group that a linear layer belongs to, and its entry; null: none.
  std::pair<const Json*, std::string> group_of(const std::string& module) const {
    const Json& groups = member(settings_, "config_groups");
    for (const int rank : {1, 2, 3})
      for (const auto& item : groups.items())
        for (const Json& entry : member(item.value(), "targets"))
          if (rank == 3 ? entry == "Linear" : hit(entry, module) == rank)
            return {&item.value(), text(entry)};
    return {nullptr, {}};
  }

  void check_kept(const std::string& module) {
    if (!ignored(module) && group_of(module).first)
      targets_.broken(module + " is stored as floats, but a group covers it");
  }

  const StoredTensor* part(const std::string& module, const char* name) {
    return folder_.find(module + "." + name);
  }

  /// A tensor of these types and this shape.
  const StoredTensor* expect(const std::string& module, const char* name, std::string_view types,
                             const std::vector<std::vector<std::int64_t>>& shapes) {
    const StoredTensor* tensor = part(module, name);
    const std::string full = module + "." + name;
    if (!tensor) {
      tensors_.broken(full + " is missing");
      return nullptr;
    }
    const bool type =
        ("|" + std::string(types) + "|").find("|" + tensor->dtype + "|") != std::string::npos;
    const bool shape = std::find(shapes.begin(), shapes.end(), tensor->shape) != shapes.end();
    if (!type || !shape) {
      tensors_.broken(full + " is " + tensor->dtype + " " + shape_text(tensor->shape) +
                      " instead of " + std::string(types) + " " + shape_text(shapes.front()));
      return nullptr;
    }
    return tensor;
  }

  void check_scales(const StoredTensor* tensor) {
    if (!tensor)
      return;
    const bool floats = tensor->dtype == "F32" || tensor->dtype == "F16" || tensor->dtype == "BF16";
    std::int64_t count = 1, wrong = 0;
    for (const auto n : tensor->shape)
      count *= n;
    for (std::int64_t i = 0; i < count; ++i) {
      if (floats) {
        const auto type = tensor->dtype == "F32"   ? FloatType::f32
                          : tensor->dtype == "F16" ? FloatType::f16
                                                   : FloatType::bf16;
        const float value = load_float(type, tensor->data.data(), i);
        wrong += !(value > 0) || !std::isfinite(value);
      } else { // E4M3 and powers of two have a code that is no number
        const auto code = unsigned(tensor->data[std::size_t(i)]);
        wrong += tensor->dtype == "U8" ? code == 0xff : (code & 0x7f) == 0x7f;
      }
    }
    tensors_.require(wrong == 0, tensor->name + " holds " + std::to_string(wrong) +
                                     " values that are no scales");
  }

  void check_module(const std::string& module) {
    if (ignored(module))
      return targets_.broken(module + " is ignored, but quantized");
    const auto [group, entry] = group_of(module);
    if (!group)
      return targets_.broken(module + " is quantized, and no group covers it");
    const Json& weights = member(*group, "weights");
    const Json& own = member(*group, "format");
    const auto format = text(own.is_null() ? member(settings_, "format") : own);
    const auto bits = number(weights, "num_bits");
    if (format == "nvfp4-pack-quantized" || format == "mxfp4-pack-quantized")
      check_small_floats(module, weights, format == "nvfp4-pack-quantized");
    else if (format == "pack-quantized")
      check_packed(module, weights, bits);
    else if (format == "int-quantized" || format == "float-quantized" ||
             format == "naive-quantized")
      check_bytes(module, weights,
                  format == "float-quantized" || member(weights, "type") == "float");
    check_inputs(module, member(*group, "input_activations"));
  }

  void check_small_floats(const std::string& module, const Json& weights, bool nvfp4) {
    const StoredTensor* packed = part(module, "weight_packed");
    if (!packed || packed->dtype != "U8" || packed->shape.size() != 2)
      return tensors_.broken(module + ".weight_packed is no matrix of bytes");
    const auto rows = packed->shape[0], cols = packed->shape[1] * 2;
    const std::int64_t group = nvfp4 ? 16 : 32;
    configuration_.require(number(weights, "group_size") == group &&
                               number(weights, "num_bits") == 4 &&
                               member(weights, "type") == "float",
                           "the settings of " + module +
                               " are not those of 4-bit floats in groups "
                               "of " +
                               std::to_string(group));
    if (cols % group != 0)
      return tensors_.broken(module + " has " + std::to_string(cols) + " columns");
    check_scales(expect(module, "weight_scale", nvfp4 ? "F8_E4M3" : "U8", {{rows, cols / group}}));
    if (nvfp4)
      check_scales(expect(module, "weight_global_scale", "F32", {{1}}));
  }

  void check_packed(const std::string& module, const Json& weights, std::int64_t bits) {
    const StoredTensor* packed = part(module, "weight_packed");
    const StoredTensor* shape = expect(module, "weight_shape", "I64|I32", {{2}});
    if (!packed || packed->dtype != "I32" || packed->shape.size() != 2 || bits < 1 || bits > 8)
      return tensors_.broken(module + ".weight_packed is no matrix of words");
    if (!shape)
      return;
    std::int64_t size[2];
    for (int i = 0; i < 2; ++i) {
      std::int32_t narrow = 0;
      if (shape->dtype == "I64")
        std::memcpy(&size[i], shape->data.data() + i * 8, 8);
      else
        std::memcpy(&narrow, shape->data.data() + i * 4, 4), size[i] = narrow;
    }
    const std::int64_t words = (size[1] * bits + 31) / 32;
    if (size[0] < 1 || size[1] < 1 || packed->shape != std::vector{size[0], words})
      return tensors_.broken(module + ".weight_packed is " + shape_text(packed->shape) +
                             " instead of " + shape_text({size[0], words}));
    check_grid(module, weights, size[0], size[1], bits, true);
    if (member(weights, "actorder") != "group")
      return;
    const StoredTensor* index = expect(module, "weight_g_idx", "I32|I64", {{size[1]}});
    const auto group = number(weights, "group_size");
    std::int64_t wrong = 0;
    for (std::int64_t i = 0; index && i < size[1]; ++i) {
      std::int64_t of = 0;
      std::int32_t narrow = 0;
      if (index->dtype == "I64")
        std::memcpy(&of, index->data.data() + i * 8, 8);
      else
        std::memcpy(&narrow, index->data.data() + i * 4, 4), of = narrow;
      wrong += of < -1 || (group > 0 && of >= (size[1] + group - 1) / group);
    }
    tensors_.require(wrong == 0, module + ".weight_g_idx names groups that are not there");
  }

  void check_bytes(const std::string& module, const Json& weights, bool floats) {
    const StoredTensor* weight = part(module, "weight");
    if (!weight || weight->shape.size() != 2 || weight->dtype != (floats ? "F8_E4M3" : "I8"))
      return tensors_.broken(module + ".weight is no matrix of " + (floats ? "f8" : "int8"));
    check_grid(module, weights, weight->shape[0], weight->shape[1], number(weights, "num_bits"),
               false);
  }

  void check_grid(const std::string& module, const Json& weights, std::int64_t rows,
                  std::int64_t cols, std::int64_t bits, bool packed) {
    const auto strategy = text(member(weights, "strategy"));
    const auto group = number(weights, "group_size");
    std::int64_t grids = 1, grid_rows = rows;
    if (strategy == "group") {
      if (group < 1 || cols % group != 0)
        return tensors_.broken(module + ": " + std::to_string(cols) +
                               " columns do not divide into groups of " + std::to_string(group));
      grids = cols / group;
    } else if (strategy == "block") {
      const Json& block = member(weights, "block_structure");
      if (!block.is_array() || block.size() != 2 || !block[0].is_number_integer() ||
          !block[1].is_number_integer() || block[0] < 1 || block[1] < 1)
        return;
      const auto high = block[0].get<std::int64_t>(), wide = block[1].get<std::int64_t>();
      grid_rows = (rows + high - 1) / high;
      grids = (cols + wide - 1) / wide;
    }
    std::vector<std::vector<std::int64_t>> shapes{{grid_rows, grids}};
    if (strategy == "tensor")
      shapes = {{1}, {}};
    check_scales(expect(module, "weight_scale", "F32|F16|BF16", shapes));
    const StoredTensor* zero = part(module, "weight_zero_point");
    if (member(weights, "symmetric") != false)
      tensors_.require(!zero, module + " is symmetric and has zero points, which vLLM does not "
                                       "know what to do with");
    else if (packed)
      expect(module, "weight_zero_point", "I32", {{(rows * bits + 31) / 32, grids}});
    else
      tensors_.require(zero != nullptr, module + ".weight_zero_point is missing");
  }

  void check_inputs(const std::string& module, const Json& inputs) {
    const bool local = member(inputs, "dynamic") == "local";
    const bool fixed = inputs.is_object() && !local && member(inputs, "dynamic") != true;
    if (local)
      check_scales(expect(module, "input_global_scale", "F32", {{1}}));
    if (fixed)
      check_scales(expect(module, "input_scale", "F32|F16|BF16", {{1}, {}}));
    tensors_.require(fixed || !part(module, "input_scale"),
                     module + ".input_scale is there, but inputs have no fixed scale");
  }

  void check_left_over(const std::vector<std::string>& quantized) {
    for (const auto& [name, tensor] : folder_.tensors)
      for (const char* tail : {".weight_scale", ".weight_shape", ".weight_zero_point"})
        if (const auto module = without_tail(name, tail);
            !module.empty() && !std::binary_search(quantized.begin(), quantized.end(), module))
          tensors_.broken(name + " belongs to no quantized weight");
  }

  /// What vLLM alone minds: no rule of the format is broken by it.
  VerifyCheck check_vllm(const std::vector<std::string>& linears,
                         const std::vector<std::string>& quantized) {
    LoaderRule remarks("vLLM", "the parts of layers that vLLM joins are stored alike");
    for (const FusedLayer& layer : fused_layers(linears)) {
      std::set<std::string> kinds;
      std::set<std::string> factors, inputs; ///< as bytes
      for (const auto& name : layer.parts) {
        const bool codes = std::binary_search(quantized.begin(), quantized.end(), name);
        const auto [group, entry] = group_of(name);
        kinds.insert(!codes ? "float" : group ? member(*group, "weights").dump() : "?");
        const auto keep = [&](const char* tail, auto& to) {
          if (const StoredTensor* tensor = part(name, tail))
            to.emplace(reinterpret_cast<const char*>(tensor->data.data()), tensor->data.size());
        };
        keep("weight_global_scale", factors);
        keep("input_scale", inputs);
        keep("input_global_scale", inputs);
      }
      remarks.require(kinds.size() < 2,
                      layer.name + " has parts with different settings, which is refused");
      remarks.require(factors.size() < 2,
                      layer.name + " has several weight_global_scale, of which one is used");
      remarks.require(inputs.size() < 2,
                      layer.name + " has several scales of inputs, of which one is used");
    }
    VerifyCheck check = remarks.check();
    check.ok = true;
    return check;
  }

  const FolderContents& folder_;
  const Json& settings_;
  LoaderRule container_{"container", "the header names the format pt"};
  LoaderRule configuration_{"configuration", "the settings are those of compressed-tensors"};
  LoaderRule targets_{"targets", "groups cover what is quantized, and nothing else"};
  LoaderRule tensors_{"quantized weights", "every weight has its parts, of the right shape"};
};

} // namespace

std::vector<VerifyCheck> compressed_rules(const fs::path& path) {
  const auto folder = read_contents(path);
  if (!folder)
    return {{"files", false, folder.error().text()}};
  const Json* settings = nullptr;
  for (const char* key : {"quantization_config", "compression_config"})
    if (const Json& found = member((*folder)->config, key); found.is_object() && !settings)
      settings = &found;
  if (!settings)
    return {{"configuration", false, "config.json has no quantization_config"}};
  return Checker(**folder, *settings).run();
}

} // namespace bitlathe
