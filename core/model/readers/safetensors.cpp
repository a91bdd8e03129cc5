// SPDX-License-Identifier: Apache-2.0
// A Hugging Face folder with plain float weights, or one safetensors file.
#include "core/model/assemble.h"

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
  return path.extension() == ".safetensors";
}

bool ends_with(std::string_view text, std::string_view tail) {
  return text.size() > tail.size() && text.substr(text.size() - tail.size()) == tail;
}

Result<std::shared_ptr<Checkpoint>> open(const fs::path& path) {
  auto checkpoint = std::make_shared<Checkpoint>();
  std::error_code failed;
  const bool is_folder = fs::is_directory(path, failed);
  const auto absolute = fs::weakly_canonical(fs::absolute(path), failed);
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
