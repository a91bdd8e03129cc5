// SPDX-License-Identifier: Apache-2.0
// bitsandbytes: 4-bit tables (nf4, fp4; statistics plain or coded) with the quant_state that its
// loaders rebuild them from, or row-wise int8 for LLM.int8(). One kind per model.
#include "core/export/bnb_rules.h"
#include "core/export/linears.h"
#include "core/export/tensors.h"
#include "core/schemes/activations.h"
#include "core/schemes/deferred.h"
#include "kernels/compute/compute.h"
#include "kernels/num/nf4.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>

namespace bitlathe {

namespace {

using Level = Finding::Level;

/// "nf4", "fp4", "int8"; empty for what the format does not hold.
std::string kind_of(const Scheme& scheme, std::int64_t cols) {
  if (!scheme.family || !scheme.quantized)
    return {};
  if (scheme.family->id == "nf4")
    return scheme.id.substr(0, 3);
  const bool whole_rows = scheme.group == 0 || scheme.group >= cols;
  return scheme.family->id == "int" && scheme.bits == 8 && scheme.symmetric && whole_rows ? "int8"
                                                                                          : "";
}
std::string kind_of(const ExportModule& module) {
  return kind_of(module.scheme, module.source->weight.cols);
}

std::string nearest(const std::string& kind) {
  return kind == "int8" ? "int8-channel-sym" : kind + "-b64";
}

/// The row's largest magnitude from which a loader gets `scale` back, dividing by 127 in f32.
std::optional<float> scb_of(float scale) {
  const float middle = scale * 127.0f;
  float below = middle, above = middle;
  for (int step = 0; step < 3; ++step) {
    if (below / 127.0f == scale)
      return below;
    if (above / 127.0f == scale)
      return above;
    below = std::nextafter(below, 0.0f);
    above = std::nextafter(above, INFINITY);
  }
  return std::nullopt;
}

std::size_t scale_index(const QTensor& weight, std::int64_t row) {
  return weight.scheme.per_tensor ? 0 : std::size_t(weight.stored_row(row));
}

/// Rows whose scale no SCB gives; empty as long as there are no scales.
std::int64_t rows_without_scb(const QTensor& weight) {
  std::int64_t count = 0;
  const auto type = weight.scheme.float_type;
  if (weight.scales.empty() || type != FloatType::f32)
    return 0;
  if (const auto use = weight.use()) // what is wrong with it is said when it is written
    for (std::int64_t row = 0; row < weight.rows; ++row)
      count +=
          !scb_of(load_float(type, weight.scales.data(), std::int64_t(scale_index(weight, row))));
  return count;
}

void examine_module(const ExportModule& module, const std::string& common,
                    std::vector<Finding>& out) {
  const auto& source = *module.source;
  const auto& scheme = module.scheme;
  const auto refuse = [&](const std::string& why) {
    out.push_back({Level::refuse, source.name, why});
  };
  if (!scheme.family)
    return refuse(scheme.id + " weights cannot be decoded, so they cannot be rewritten");
  if (!scheme.quantized)
    return;
  const auto kind = kind_of(module);
  const auto use = nearest(common.empty() ? scheme.bits > 6 ? "int8" : "nf4" : common);
  if (kind.empty())
    return refuse("bitsandbytes holds nf4, fp4 and int8 per output channel, not " + scheme.id +
                  "; nearest: " + use);
  if (!source.linear)
    return refuse("bitsandbytes quantizes linear layers only, and this is " +
                  (source.role == "embedding" ? std::string("an embedding")
                                              : "a module of role " + source.role) +
                  "; nearest: keep its float type");
  if (module.reordered)
    return refuse(refuse_reordered);
  if (kind != common)
    return refuse("A bitsandbytes model has one kind of weights, here " + common + ", not also " +
                  kind + "; nearest: " + use);
  const bool fits =
      module.activations == "none" || (kind == "int8" && module.activations == "llm-int8");
  if (!fits)
    return refuse("bitsandbytes runs " + kind + " weights with " +
                  (kind == "int8" ? "llm-int8" : "float") + " inputs, not " + module.activations +
                  "; nearest: activations " + (kind == "int8" ? "llm-int8" : "none"));
  if (kind == "int8" && source.weight.scheme == scheme)
    if (const auto lost = rows_without_scb(source.weight); lost > 0)
      refuse(std::to_string(lost) +
             " of its scales are f32 numbers that no SCB / 127 gives; nearest: int8-channel-sym");
}

std::string common_kind(const std::vector<ExportModule>& modules) {
  std::map<std::string, std::int64_t> count;
  for (const ExportModule& module : modules)
    if (const auto kind = kind_of(module); !kind.empty() && module.source->linear)
      count[kind] += module.source->weight.rows * module.source->weight.cols;
  const auto most = std::max_element(
      count.begin(), count.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == count.end() ? std::string() : most->first;
}

std::vector<Finding> examine(const Checkpoint& model, const std::vector<ExportModule>& modules) {
  std::vector<Finding> out;
  const auto common = common_kind(modules);
  std::vector<std::string> float_inputs, widened, small, heads;
  std::set<float> thresholds;
  std::set<std::int64_t> blocks;
  std::set<bool> nested;
  for (const ExportModule& module : modules) {
    const Module& source = *module.source;
    if (source.tied_to_embedding)
      continue;
    examine_module(module, common, out);
    const auto kind = kind_of(module);
    if (kind.empty() || kind != common)
      continue;
    if (source.role == "lm_head")
      heads.push_back(source.name);
    if (kind == "int8") {
      if (module.activations == "none")
        float_inputs.push_back(source.name);
      else if (source.activations == "llm-int8")
        thresholds.insert(source.outlier_threshold);
      continue;
    }
    blocks.insert(module.scheme.group);
    nested.insert(module.scheme.nested);
    if (module.scheme.group == 32)
      small.push_back(source.name);
    if (!module.scheme.nested && module.scheme.float_type != FloatType::f32)
      widened.push_back(source.name);
  }
  const auto add = [&](Level level, const std::string& text, const std::string& runtime = {}) {
    out.push_back({level, {}, text, runtime});
  };
  if (common.empty())
    add(Level::refuse, "No module is quantized to nf4, fp4 or int8 per output channel, so there is "
                       "nothing for this format to hold; nearest: safetensors");
  if (thresholds.size() > 1)
    add(Level::refuse, "The outlier thresholds of modules differ, and a bitsandbytes model has one "
                       "for all; nearest: the same llm-int8.threshold everywhere");
  if (!float_inputs.empty())
    add(Level::note,
        "Programs that load bitsandbytes run int8 weights as LLM.int8(), so the "
        "inputs of " +
            std::to_string(float_inputs.size()) +
            " modules that were meant to stay float are coded there: " + name_list(float_inputs));
  if (!widened.empty())
    add(Level::note,
        "Block scales are stored as f32 without a change of value: " + name_list(widened));
  if (!small.empty())
    add(Level::warning,
        "Blocks of 32 values are read by bitsandbytes of 2026 and later only: " + name_list(small),
        "transformers");
  if (blocks.size() > 1 || nested.size() > 1)
    add(Level::note, "Modules differ in block size or in how statistics are stored; each says so "
                     "in its quant_state, config.json only for most of them");
  if (!heads.empty())
    add(Level::warning,
        "vLLM does not quantize the output head with bitsandbytes: keep it in its float type for "
        "vLLM",
        "vllm");
  // vLLM keeps the parts of a joined layer apart, so only parts left in float are trouble.
  examine_partly_kept(modules, out);
  examine_folder(model, out);
  return out;
}

TensorToWrite made_tensor(std::string name, std::string dtype, std::vector<std::int64_t> shape,
                          std::uint64_t bytes, std::function<std::vector<std::byte>()> make) {
  return {std::move(name), std::move(dtype), std::move(shape), bytes,
          [make = std::move(make)](OutputFile& file) { return file.write(make()); }};
}

template <class T> std::vector<std::byte> bytes_of(const T& values) {
  const auto bytes = std::as_bytes(std::span(values));
  return {bytes.begin(), bytes.end()};
}

/// The flattened values, two to a byte, the first one in the high nibble.
Result<void> write_nibbles(OutputFile& file, const QTensor& weight) {
  const auto stride = int_row_bytes(weight.cols, 4);
  const auto code = [&](std::int64_t i) -> unsigned {
    const std::int64_t row = i / weight.cols, col = i % weight.cols;
    return unsigned(weight.codes[std::size_t(row * stride + col / 2)]) >> (col % 2 * 4) & 15u;
  };
  if (weight.cols % 2 == 0)
    return write_in_pieces(file, weight.rows, std::size_t(weight.cols / 2),
                           [&](std::int64_t row, std::byte* out) {
                             const std::byte* in = weight.codes.data() + row * stride;
                             for (std::int64_t i = 0; i < weight.cols / 2; ++i)
                               out[i] = in[i] << 4 | in[i] >> 4;
                           });
  // Two rows make whole bytes; a row that is left over may end with half of one.
  TRY(write_in_pieces(file, weight.rows / 2, std::size_t(weight.cols),
                      [&](std::int64_t pair, std::byte* out) {
                        const std::int64_t first = pair * 2 * weight.cols;
                        for (std::int64_t i = 0; i < weight.cols; ++i)
                          out[i] = std::byte(code(first + 2 * i) << 4 | code(first + 2 * i + 1));
                      }));
  if (weight.rows % 2 == 0)
    return {};
  std::vector<std::byte> last(std::size_t((weight.cols + 1) / 2));
  const std::int64_t first = (weight.rows - 1) * weight.cols, end = first + weight.cols;
  for (std::int64_t i = first; i < end; ++i)
    last[std::size_t((i - first) / 2)] |= std::byte(code(i) << ((i - first) % 2 == 0 ? 4 : 0));
  return file.write(last);
}

std::vector<float> nested_values(const QTensor& weight) {
  std::vector<float> out(weight.nested.size() / sizeof(float));
  std::memcpy(out.data(), weight.nested.data(), out.size() * sizeof(float));
  return out;
}

/// What QuantState.from_dict reads. The text has the same length whatever the mean of the scales
/// is, so that the size of the file is known before there are weights.
std::string quant_state(const QTensor& weight, const std::vector<std::int64_t>& shape,
                        FloatType dtype) {
  static constexpr const char* names[] = {"float32", "float16", "bfloat16"};
  OrderedJson json;
  json["quant_type"] = weight.scheme.id.substr(0, 3);
  json["blocksize"] = weight.scheme.group;
  json["dtype"] = names[std::size_t(dtype)];
  json["shape"] = shape;
  std::string text;
  if (weight.scheme.nested) {
    json["nested_blocksize"] = 256;
    json["nested_dtype"] = "float32";
    const auto values = nested_values(weight);
    json["nested_offset"] = values.empty() ? 0.0 : double(values.back());
    text = json.dump();
    constexpr std::size_t longest = 26; // "-1.1754943508222875e-38" and the like
    const auto number = text.size() - 1 - (text.rfind(':') + 1);
    text.insert(text.size() - 1, longest > number ? longest - number : 0, ' ');
  } else {
    text = json.dump();
  }
  return text;
}

void add_four(const Module& module, FloatType dtype, std::vector<TensorToWrite>& out) {
  const QTensor& weight = module.weight;
  const auto name = module.hf_name() + ".weight";
  const auto kind = weight.scheme.id.substr(0, 3);
  const std::int64_t count = weight.rows * weight.cols;
  const std::int64_t blocks = (count + weight.scheme.group - 1) / weight.scheme.group;
  const auto shape = module.shape.size() < 2 ? std::vector{weight.rows, weight.cols} : module.shape;
  out.push_back({name,
                 "U8",
                 {(count + 1) / 2, 1},
                 std::uint64_t((count + 1) / 2),
                 [&weight](OutputFile& file) { return write_nibbles(file, weight); }});
  if (weight.scheme.nested) {
    const std::int64_t groups = (blocks + 255) / 256;
    out.push_back(
        {name + ".absmax", "U8", {blocks}, std::uint64_t(blocks), [&weight](OutputFile& file) {
           return file.write(weight.scales);
         }});
    out.push_back(
        made_tensor(name + ".nested_absmax", "F32", {groups}, std::uint64_t(groups) * 4, [&weight] {
          auto values = nested_values(weight);
          values.pop_back();
          return bytes_of(values);
        }));
    out.push_back(owned_tensor(name + ".nested_quant_map", "F32", {256}, bytes_of(dynamic_map)));
  } else {
    out.push_back(made_tensor(
        name + ".absmax", "F32", {blocks}, std::uint64_t(blocks) * 4, [&weight, blocks] {
          std::vector<float> values(static_cast<std::size_t>(blocks));
          for (std::int64_t i = 0; i < blocks; ++i)
            values[std::size_t(i)] = load_float(weight.scheme.float_type, weight.scales.data(), i);
          return bytes_of(values);
        }));
  }
  out.push_back(owned_tensor(name + ".quant_map", "F32", {16},
                             bytes_of(kind == "nf4" ? nf4_values : fp4_values)));
  const auto length = quant_state(weight, shape, dtype).size();
  out.push_back(
      made_tensor(name + ".quant_state.bitsandbytes__" + kind, "U8", {std::int64_t(length)}, length,
                  [&weight, shape, dtype] { return bytes_of(quant_state(weight, shape, dtype)); }));
}

Result<void> write_scb(OutputFile& file, const QTensor& weight, const std::string& name) {
  std::vector<float> values(static_cast<std::size_t>(weight.rows));
  for (std::int64_t row = 0; row < weight.rows; ++row) {
    const auto scb = scb_of(load_float(weight.scheme.float_type, weight.scales.data(),
                                       std::int64_t(scale_index(weight, row))));
    if (!scb)
      return Error{"unsupported",
                   "The scale of row " + std::to_string(row) +
                       " is an f32 number that no SCB / 127 gives; nearest: int8-channel-sym",
                   name};
    values[std::size_t(row)] = *scb;
  }
  return file.write(std::as_bytes(std::span(values)));
}

void add_eight(const Module& module, std::vector<TensorToWrite>& out) {
  const QTensor& weight = module.weight;
  const auto& name = module.hf_name();
  out.push_back({name + ".weight",
                 "I8",
                 {weight.rows, weight.cols},
                 std::uint64_t(weight.rows * weight.cols),
                 [&weight](OutputFile& file) {
                   const auto stride = int_row_bytes(weight.cols, 8);
                   return write_in_pieces(
                       file, weight.rows, std::size_t(weight.cols),
                       [&](std::int64_t row, std::byte* to) {
                         const auto* from = weight.codes.data() + weight.stored_row(row) * stride;
                         std::transform(from, from + weight.cols, to,
                                        [](std::byte b) { return b ^ std::byte(0x80); });
                       });
                 }});
  out.push_back({name + ".SCB",
                 "F32",
                 {weight.rows},
                 std::uint64_t(weight.rows) * 4,
                 [&weight, name](OutputFile& file) { return write_scb(file, weight, name); }});
  out.push_back(owned_tensor(name + ".weight_format", "U8", {}, {std::byte(0)})); // "row"
}

bool is_quantized(const Module& module) { return module.weight.scheme.quantized; }

/// Kept layers by their own names and, where all parts are kept, by the name of the layer that
/// vLLM makes of them.
Json skip_list(const Checkpoint& model) {
  auto kept = kept_linears(model, is_quantized);
  std::vector<std::string> all;
  for (const Module& module : model.modules)
    if (module.linear)
      all.push_back(module.hf_name());
  const auto whole = fused_layers(all);
  for (const FusedLayer& fused : fused_layers(kept))
    for (const FusedLayer& layer : whole)
      if (layer.name == fused.name && layer.parts.size() == fused.parts.size())
        kept.push_back(fused.name);
  return kept;
}

Json bnb_config(const Checkpoint& model) {
  static constexpr const char* names[] = {"float32", "float16", "bfloat16"};
  std::map<std::string, int> kinds;
  int nested = 0, plain = 0;
  float threshold = standard_outlier_threshold;
  for (const Module& module : model.modules) {
    const auto kind = kind_of(module.weight.scheme, module.weight.cols);
    if (kind.empty() || module.tied_to_embedding)
      continue;
    ++kinds[kind];
    ++(module.weight.scheme.nested ? nested : plain);
    if (module.activations == "llm-int8")
      threshold = module.outlier_threshold;
  }
  const bool eight = kinds.count("int8") > 0;
  Json out;
  out["quant_method"] = "bitsandbytes";
  out["load_in_4bit"] = out["_load_in_4bit"] = !eight;
  out["load_in_8bit"] = out["_load_in_8bit"] = eight;
  out["bnb_4bit_quant_type"] = kinds.count("nf4") ? "nf4" : "fp4";
  out["bnb_4bit_use_double_quant"] = nested > plain;
  out["bnb_4bit_compute_dtype"] = eight ? "float32" : names[std::size_t(model_float_type(model))];
  out["bnb_4bit_quant_storage"] = "uint8";
  out["llm_int8_threshold"] = double(threshold); // a whole number is refused
  out["llm_int8_skip_modules"] = skip_list(model);
  out["llm_int8_enable_fp32_cpu_offload"] = false;
  out["llm_int8_has_fp16_weight"] = false;
  return out;
}

Result<ExportFiles> files(const ExportInput& input) {
  const auto& model = input.model;
  const FloatType dtype = model_float_type(model);
  std::vector<TensorToWrite> tensors;
  for (const Module& module : model.modules) {
    if (module.tied_to_embedding)
      continue;
    const auto kind = kind_of(module.weight.scheme, module.weight.cols);
    const auto first = tensors.size();
    if (kind.empty())
      tensors.push_back(folder_tensor(module, module.weight.scheme.float_type));
    else if (kind == "int8")
      add_eight(module, tensors);
    else
      add_four(module, dtype, tensors);
    with_weight(module.weight, tensors, first);
    add_bias(module, tensors);
  }
  add_others(model, tensors);
  return folder_files(input, std::move(tensors), bnb_config(model));
}

constexpr UseWith uses[] = {
    {"transformers", "transformers",
     "# pip install transformers accelerate bitsandbytes\n"
     "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
     "tokenizer = AutoTokenizer.from_pretrained(\"{path}\")\n"
     "model = AutoModelForCausalLM.from_pretrained(\"{path}\", device_map=\"auto\")\n"},
    {"vllm", "vLLM",
     "# pip install vllm vllm-bnb-plugin\n"
     "vllm serve {path} --served-model-name {name}\n"},
};

} // namespace

extern const Exporter exporter_bnb;
const Exporter exporter_bnb{
    .id = "bnb",
    .title = "bitsandbytes",
    .summary =
        "A Hugging Face folder with 4-bit tables (NF4, FP4) or row-wise int8 for LLM.int8().",
    .loaders = "transformers, vLLM (plugin)",
    .examine = examine,
    .files = files,
    .uses = uses,
    .rules = bnb_rules};

} // namespace bitlathe
