// SPDX-License-Identifier: Apache-2.0
#include "core/export/tensors.h"

#include "core/model/assemble.h"
#include "core/model/transpose.h"
#include "core/schemes/deferred.h"
#include "kernels/base/parallel.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>

namespace bitlathe {

namespace {

Result<void> write_rows(OutputFile& file, const QTensor& stored, FloatType type,
                        const std::function<std::int64_t(std::int64_t)>& row_of) {
  TRY_ASSIGN(const WeightUse use, stored.use());
  const ByRows rows(stored);
  const QTensor& weight = *rows;
  const auto view = weight.view();
  const auto row_bytes = std::size_t(weight.cols) * float_size(type);
  const bool same = weight.scheme.family->id == "float" && weight.scheme.float_type == type;
  if (same && !row_of && !weight.row_order)
    return file.write(weight.codes);
  return write_in_pieces(file, weight.rows, row_bytes, [&](std::int64_t row, std::byte* out) {
    const auto source = row_of ? row_of(row) : row;
    if (same) {
      std::memcpy(out, weight.codes.data() + std::size_t(weight.stored_row(source)) * row_bytes,
                  row_bytes);
      return;
    }
    std::vector<float> values(std::size_t(weight.cols));
    view.layout->decode(view, source, 0, weight.cols, values.data());
    for (std::int64_t col = 0; col < weight.cols; ++col)
      store_float(type, out, col, values[std::size_t(col)]);
  });
}

} // namespace

std::function<Result<void>(OutputFile&)>
with_weight(const QTensor& weight, std::function<Result<void>(OutputFile&)> write) {
  if (!weight.deferred)
    return write;
  return [&weight, write = std::move(write)](OutputFile& file) -> Result<void> {
    TRY_ASSIGN(const WeightUse use, weight.use());
    return write(file);
  };
}

void with_weight(const QTensor& weight, std::vector<TensorToWrite>& tensors, std::size_t first) {
  for (std::size_t i = first; i < tensors.size(); ++i)
    tensors[i].write = with_weight(weight, std::move(tensors[i].write));
}

Result<void>
write_in_pieces(OutputFile& file, std::int64_t rows, std::size_t row_bytes,
                const std::function<void(std::int64_t row, std::byte* out)>& make_row) {
  const auto piece = std::max<std::int64_t>(
      1, std::int64_t((std::size_t(4) << 20) / std::max<std::size_t>(row_bytes, 1)));
  std::vector<std::byte> bytes;
  for (std::int64_t first = 0; first < rows; first += piece) {
    const auto count = std::min(piece, rows - first);
    bytes.resize(std::size_t(count) * row_bytes);
    parallel_for(count, 8, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i)
        make_row(first + i, bytes.data() + std::size_t(i) * row_bytes);
    });
    TRY(file.write(bytes));
  }
  return {};
}

TensorToWrite bytes_tensor(std::string name, std::string dtype, std::vector<std::int64_t> shape,
                           std::span<const std::byte> bytes) {
  return {std::move(name), std::move(dtype), std::move(shape), bytes.size(),
          [bytes](OutputFile& file) { return file.write(bytes); }};
}

TensorToWrite owned_tensor(std::string name, std::string dtype, std::vector<std::int64_t> shape,
                           std::vector<std::byte> bytes) {
  const auto size = bytes.size();
  return {std::move(name), std::move(dtype), std::move(shape), size,
          [held = std::make_shared<std::vector<std::byte>>(std::move(bytes))](OutputFile& file) {
            return file.write(*held);
          }};
}

TensorToWrite float_tensor(std::string name, std::string dtype, std::vector<std::int64_t> shape,
                           const QTensor& weight, FloatType type,
                           std::function<std::int64_t(std::int64_t)> row_of) {
  const auto bytes = std::uint64_t(weight.rows * weight.cols) * float_size(type);
  return {std::move(name), std::move(dtype), std::move(shape), bytes,
          [&weight, type, row_of = std::move(row_of)](OutputFile& file) {
            return write_rows(file, weight, type, row_of);
          }};
}

TensorToWrite folder_tensor(const Module& module, FloatType type) {
  const auto name = module.hf_name() + ".weight";
  if (!module.transposed_in_hf)
    return float_tensor(name, safetensors_dtype(type), module.shape, module.weight, type);
  const auto& weight = module.weight;
  return {name,
          safetensors_dtype(type),
          {weight.cols, weight.rows},
          std::uint64_t(weight.rows * weight.cols) * float_size(type),
          [&weight, type](OutputFile& file) -> Result<void> {
            TRY_ASSIGN(const WeightUse use, weight.use());
            return weight.by_columns && weight.scheme.float_type == type
                       ? file.write(weight.codes)
                       : file.write(transposed_values(weight, type));
          }};
}

void add_bias(const Module& module, std::vector<TensorToWrite>& tensors) {
  if (module.bias.rows == 0)
    return;
  const auto type = module.bias.scheme.float_type;
  tensors.push_back(float_tensor(module.hf_name() + ".bias", safetensors_dtype(type),
                                 {module.bias.cols}, module.bias, type));
}

void add_others(const Checkpoint& model, std::vector<TensorToWrite>& tensors) {
  for (const StoredTensor& other : model.others)
    if (safetensors_dtype_bits(other.dtype) > 0)
      tensors.push_back(bytes_tensor(other.name, other.dtype, other.shape, other.data));
}

std::string safetensors_dtype(FloatType type) {
  static constexpr std::array names{"F32", "F16", "BF16"};
  return names[std::size_t(type)];
}

FloatType model_float_type(const Checkpoint& model) {
  for (const char* key : {"dtype", "torch_dtype"}) {
    const auto it = model.config.find(key);
    if (it == model.config.end() || !it->is_string())
      continue;
    if (*it == "bfloat16")
      return FloatType::bf16;
    if (*it == "float16")
      return FloatType::f16;
    if (*it == "float32")
      return FloatType::f32;
  }
  std::map<FloatType, std::int64_t> count;
  for (const auto& module : model.modules)
    if (module.weight.scheme.family && !module.weight.scheme.quantized)
      count[module.weight.scheme.float_type] += module.parameters();
  // Vectors alone do not say it: GGUF keeps norms in f32 whatever the model's type.
  const auto most = std::max_element(
      count.begin(), count.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  const bool matrices =
      std::any_of(model.modules.begin(), model.modules.end(), [](const Module& module) {
        return module.shape.size() > 1 && module.weight.scheme.family &&
               !module.weight.scheme.quantized;
      });
  return most == count.end() || !matrices ? FloatType::f16 : most->first;
}

Result<std::vector<FileToWrite>> model_files(const ExportInput& input,
                                             const Json& quantization_config) {
  const auto& model = input.model;
  OrderedJson config = OrderedJson::object();
  for (const auto& [key, value] : model.config.items())
    if (key != "quantization_config" && key != "compression_config" && key != "quantization")
      config[key] = value;
  static constexpr std::array torch_names{"float32", "float16", "bfloat16"};
  const char* dtype = torch_names[std::size_t(model_float_type(model))];
  config[config.contains("dtype") ? "dtype" : "torch_dtype"] = dtype;
  if (config.contains("torch_dtype"))
    config["torch_dtype"] = dtype;
  for (const auto& module : model.modules)
    if (module.role == "lm_head")
      config["tie_word_embeddings"] = module.tied_to_embedding;
  if (!quantization_config.is_null())
    config["quantization_config"] = quantization_config;
  // The settings of MLX name no method, and MLX looks for them under its own key.
  if (quantization_config.is_object() && !quantization_config.contains("quant_method"))
    config["quantization"] = quantization_config;
  std::vector<FileToWrite> out;
  for (const auto& file : model.side_files) {
    TRY_ASSIGN(auto copy, copied_file(file));
    out.push_back(std::move(copy));
  }
  out.push_back(text_file(
      "config.json", config.dump(2, ' ', false, OrderedJson::error_handler_t::replace) + "\n"));
  return out;
}

Result<ExportFiles> folder_files(const ExportInput& input, std::vector<TensorToWrite> tensors,
                                 const Json& quantization_config) {
  TRY_ASSIGN(auto weights, safetensors_files(std::move(tensors), input.shard_limit));
  TRY_ASSIGN(auto files, model_files(input, quantization_config));
  std::move(weights.begin(), weights.end(), std::back_inserter(files));
  return ExportFiles{".", std::move(files)};
}

void examine_folder(const Checkpoint& model, std::vector<Finding>& findings, bool holds_kv_scheme) {
  using Level = Finding::Level;
  if (model.config.empty() || architecture_name(model.config).empty())
    findings.push_back({Level::note,
                        {},
                        "The source has no usable config.json: the export holds the weights, but "
                        "other programs need the configuration to run them"});
  std::vector<std::string> lost;
  for (const auto& other : model.others)
    if (safetensors_dtype_bits(other.dtype) == 0)
      lost.push_back(other.name);
  if (!lost.empty())
    findings.push_back(
        {Level::note,
         {},
         std::to_string(lost.size()) +
             " unused tensors of types that safetensors lacks are left out: " + name_list(lost)});
  const auto is_tokenizer = [](const fs::path& file) {
    return file.filename() == "tokenizer.json" || file.filename() == "tokenizer.model";
  };
  if (std::none_of(model.side_files.begin(), model.side_files.end(), is_tokenizer))
    findings.push_back({Level::note,
                        {},
                        model.gguf.empty()
                            ? "The source has no tokenizer files, so the export has none either"
                            : "The tokenizer of a GGUF is not turned into tokenizer.json: copy "
                              "tokenizer files of the original model into the exported folder"});
  if (const auto rope = model.config.find("rope_scaling");
      rope != model.config.end() && rope->is_object() && rope->value("rope_type", "") == "factors")
    for (const char* runtime : {"transformers", "vllm"})
      findings.push_back({Level::warning,
                          {},
                          "The position scaling of this model is a list of factors, which is not "
                          "read from config.json: long texts would come out wrong",
                          runtime});
  if (!holds_kv_scheme && (model.kv_keys != "f16" || model.kv_values != "f16"))
    findings.push_back({Level::note,
                        {},
                        "The KV cache scheme (keys " + model.kv_keys + ", values " +
                            model.kv_values +
                            ") is kept in bitlathe.json; other programs set it at run time"});
}

std::string name_list(const std::vector<std::string>& names, std::size_t shown) {
  std::string out;
  for (std::size_t i = 0; i < names.size() && i < shown; ++i)
    out += (i ? ", " : "") + names[i];
  if (names.size() > shown)
    out += " and " + std::to_string(names.size() - shown) + " more";
  return out;
}

} // namespace bitlathe
