// SPDX-License-Identifier: Apache-2.0
#include "core/model/readers/quantized_folder.h"

#include "core/model/assemble.h"
#include "core/model/stores.h"

#include <algorithm>

namespace bitlathe {

const Json* quantization_config(const Json& config, std::span<const std::string_view> methods) {
  for (const char* key : {"quantization_config", "compression_config"}) {
    const auto it = config.find(key);
    if (it == config.end() || !it->is_object())
      continue;
    const auto method = it->find("quant_method");
    if (method == it->end() || !method->is_string())
      continue;
    const auto& id = method->get_ref<const std::string&>();
    if (std::find(methods.begin(), methods.end(), id) != methods.end())
      return &*it;
  }
  return nullptr;
}

bool is_quantized_folder(const fs::path& path, std::span<const std::string_view> methods) {
  std::error_code failed;
  if (!fs::is_directory(path, failed) || !fs::is_regular_file(path / "config.json", failed))
    return false;
  const auto config = read_json_file(path / "config.json");
  return config && config->is_object() && quantization_config(*config, methods);
}

std::shared_ptr<Checkpoint> start_folder(const fs::path& path, std::string_view format) {
  auto checkpoint = std::make_shared<Checkpoint>();
  checkpoint->path = path;
  checkpoint->format = format;
  checkpoint->name = plain_path(path).filename().string();
  read_folder_files(*checkpoint, path);
  return checkpoint;
}

std::size_t last_dot(const std::string& tensor) { return tensor.rfind('.'); }

Result<std::vector<Module>> collect_modules(Checkpoint& checkpoint,
                                            const std::vector<StoredTensor>& tensors,
                                            const ReadParts& read, ModuleEnd end) {
  std::map<std::string, Parts> by_module;
  for (const auto& tensor : tensors) {
    const auto dot = end(tensor.name);
    by_module[dot == std::string::npos ? std::string() : tensor.name.substr(0, dot)]
             [dot == std::string::npos ? tensor.name : tensor.name.substr(dot + 1)] = &tensor;
  }

  std::vector<Module> found;
  for (const auto& [name, parts] : by_module) {
    Module module;
    module.name = name;
    std::vector<std::string> used;
    TRY_ASSIGN(const bool quantized, read(name, parts, module, used));
    const auto weight = parts.find("weight");
    if (!quantized && weight != parts.end()) {
      module.shape = weight->second->shape;
      module.weight = plain_weight(*weight->second);
      used = {"weight"};
    }
    const bool whole = quantized || weight != parts.end();
    for (const auto& [part, tensor] : parts) {
      if (whole && part == "bias" && attach_bias(module, plain_weight(*tensor)))
        continue;
      if (std::find(used.begin(), used.end(), part) == used.end())
        checkpoint.others.push_back(*tensor);
    }
    if (whole)
      found.push_back(std::move(module));
  }
  return found;
}

Error bad_module(const std::string& module, const std::string& what, const std::string& where) {
  return {"bad-file", module + ": " + what, where};
}

Result<FloatType> float_type_of(const StoredTensor& tensor, const std::string& module,
                                const std::string& where) {
  if (tensor.dtype == "F16")
    return FloatType::f16;
  if (tensor.dtype == "BF16")
    return FloatType::bf16;
  if (tensor.dtype == "F32")
    return FloatType::f32;
  return bad_module(module, "its scales are stored as " + tensor.dtype, where);
}

void keep_alive(QTensor& weight, std::initializer_list<const StoredTensor*> parts) {
  auto files = std::make_shared<std::vector<std::shared_ptr<const MappedFile>>>();
  for (const StoredTensor* part : parts)
    if (part && std::find(files->begin(), files->end(), part->file) == files->end())
      files->push_back(part->file);
  weight.keep_alive = std::move(files);
}

} // namespace bitlathe
