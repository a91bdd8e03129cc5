// SPDX-License-Identifier: Apache-2.0
// A Hugging Face folder with plain float weights, or one safetensors file.
#include "core/model/assemble.h"
#include "core/model/content.h"
#include "core/model/stores.h"

#include <map>

namespace bitlathe {

namespace {

bool has_safetensors(const fs::path& folder) {
  std::error_code failed;
  for (fs::directory_iterator it(folder, failed), end; !failed && it != end; it.increment(failed))
    if (it->path().extension() == ".safetensors" ||
        it->path().filename() == "model.safetensors.index.json")
      return true;
  return false;
}

bool recognises(const fs::path& path) {
  std::error_code failed;
  if (fs::is_directory(path, failed))
    return has_safetensors(path);
  return path.extension() == ".safetensors" || content_kind(path) == "safetensors";
}

bool ends_with(std::string_view text, std::string_view tail) {
  return text.size() > tail.size() && text.substr(text.size() - tail.size()) == tail;
}

/// A LoRA adapter can be looked at, but is no model by itself.
void describe_adapter(Checkpoint& checkpoint, const fs::path& config_path) {
  const auto config = read_json_file(config_path);
  const Json& json = config && config->is_object() ? *config : Json::object();
  const auto base = json.value("base_model_name_or_path", Json());
  const auto rank = json.value("r", Json());
  std::string what = "This is an adapter (";
  const auto type = json.value("peft_type", Json());
  what += type.is_string() ? type.get<std::string>() : std::string("LoRA");
  if (rank.is_number_integer())
    what += ", rank " + rank.dump();
  what += ") for " + (base.is_string() ? base.get<std::string>() : std::string("another model"));
  checkpoint.why_not_runnable = what + ", not a whole model; merge it into that model first";
}

Result<std::shared_ptr<Checkpoint>> open(const fs::path& path) {
  auto checkpoint = std::make_shared<Checkpoint>();
  std::error_code failed;
  const bool is_folder = fs::is_directory(path, failed);
  const auto absolute = plain_path(path); // links stay: their folder has the other files
  const auto folder = is_folder ? absolute : absolute.parent_path();
  checkpoint->path = path;
  checkpoint->format = "safetensors";
  checkpoint->name = is_folder ? absolute.filename().string() : absolute.stem().string();
  TRY_ASSIGN(const auto file, is_folder ? read_safetensors_folder(path) : read_safetensors(path));
  if (file.tensors.empty())
    return Error{"bad-file", "The checkpoint holds no tensors", path.string()};
  if (is_folder && fs::exists(path / "model.safetensors", failed) &&
      fs::exists(path / "model.safetensors.index.json", failed))
    checkpoint->notes.push_back("The folder has both model.safetensors and an index of shards");
  read_folder_files(*checkpoint, folder);
  if (checkpoint->config.empty() && fs::exists(folder / "adapter_config.json", failed))
    describe_adapter(*checkpoint, folder / "adapter_config.json");

  for (const char* key : {"quantization_config", "compression_config"}) {
    const auto quantization = checkpoint->config.find(key);
    if (quantization == checkpoint->config.end() || !quantization->is_object())
      continue;
    const auto method = quantization->value("quant_method", Json());
    checkpoint->why_not_runnable =
        "The checkpoint is quantized in a way that cannot be read yet (" +
        (method.is_string() ? method.get<std::string>() : std::string("unnamed")) + ")";
  }

  std::vector<Module> found;
  std::map<std::string, std::size_t> index;
  for (const auto& tensor : file.tensors) {
    if (!ends_with(tensor.name, ".weight"))
      continue;
    Module module;
    module.name = tensor.name.substr(0, tensor.name.size() - 7);
    module.shape = tensor.shape;
    module.weight = plain_weight(tensor);
    index.emplace(module.name, found.size());
    found.push_back(std::move(module));
  }
  for (const auto& tensor : file.tensors) {
    if (ends_with(tensor.name, ".weight"))
      continue;
    const auto it = ends_with(tensor.name, ".bias")
                        ? index.find(tensor.name.substr(0, tensor.name.size() - 5))
                        : index.end();
    if (it == index.end() || !attach_bias(found[it->second], plain_weight(tensor)))
      checkpoint->others.push_back(tensor);
  }
  assemble(*checkpoint, std::move(found), file.tensors, (folder / "config.json").string());
  return checkpoint;
}

} // namespace

extern const CheckpointReader checkpoint_reader_safetensors;
const CheckpointReader checkpoint_reader_safetensors{
    "safetensors", "A Hugging Face folder, or one safetensors file, with float weights.",
    recognises, open};

} // namespace bitlathe
