// SPDX-License-Identifier: Apache-2.0
#include "core/model/checkpoint.h"

#include "core/model/assemble.h"
#include "core/model/kv_scales.h"
#include "core/model/locate_path.h"
#include "core/text/tokenizer.h"

#include <algorithm>
#include <array>

namespace bitlathe {

std::string Module::dtype() const {
  const auto& scheme = weight.scheme;
  if (scheme.family && scheme.family->id == "int")
    return "I" + std::to_string(int(scheme.bits));
  if (scheme.family && scheme.family->id != "float")
    return scheme.id;
  const auto* block = scheme.family ? nullptr : find_gguf_type(scheme.id);
  if ((block && block->block > 1) || scheme.id.rfind("type ", 0) == 0)
    return scheme.id;
  std::string upper = scheme.id;
  std::transform(upper.begin(), upper.end(), upper.begin(),
                 [](char c) { return c >= 'a' && c <= 'z' ? char(c - 32) : c; });
  return upper;
}

const Module* Checkpoint::find_module(std::string_view module_name) const {
  for (const auto& module : modules)
    if (module.name == module_name)
      return &module;
  return nullptr;
}

const Module* Checkpoint::find_part(int layer, std::string_view part) const {
  for (const auto& module : modules)
    if (module.layer == layer && module.part == part)
      return &module;
  return nullptr;
}

std::int64_t Checkpoint::parameters() const {
  std::int64_t total = 0;
  for (const auto& module : modules)
    total += module.parameters();
  return total;
}

std::uint64_t Checkpoint::bytes() const {
  std::uint64_t total = 0;
  for (const auto& module : modules)
    total += module.bytes();
  for (const auto& other : others)
    total += other.data.size();
  return total;
}

bool Checkpoint::quantized() const {
  return std::any_of(modules.begin(), modules.end(),
                     [](const Module& m) { return m.weight.scheme.quantized; });
}

Result<std::shared_ptr<const Checkpoint>> open_checkpoint(const fs::path& path) {
  // Library functions below may throw (memory, file system); nothing may leave this target.
  try {
    TRY_ASSIGN(auto located, locate_path(path));
    std::string known;
    for (const CheckpointReader* reader : all_checkpoint_readers()) {
      known += (known.empty() ? "" : ", ") + std::string(reader->id);
      if (!reader->recognises(located.path))
        continue;
      auto opened = reader->open(located.path);
      if (!opened)
        return explain_failure(std::move(opened.error()), located.path);
      Checkpoint& checkpoint = **opened;
      checkpoint.path = located.path;
      if (!located.name.empty())
        checkpoint.name = located.name;
      checkpoint.notes.insert(checkpoint.notes.begin(), located.notes.begin(), located.notes.end());
      return std::shared_ptr<const Checkpoint>(std::move(*opened));
    }
    return explain_unknown(located.path, known);
  } catch (const std::bad_alloc&) {
    return Error{"out-of-memory", "There is not enough memory to open the checkpoint",
                 path.string()};
  } catch (const std::exception& problem) {
    return Error{"io", std::string("Cannot open the checkpoint: ") + problem.what(), path.string()};
  }
}

void read_folder_files(Checkpoint& checkpoint, const fs::path& folder) {
  std::error_code failed;
  const auto config_path = folder / "config.json";
  if (!fs::exists(config_path, failed)) {
    checkpoint.config = Json::object();
    checkpoint.why_not_runnable = "There is no config.json beside the weights";
  } else if (auto config = read_json_file(config_path); !config || !config->is_object()) {
    checkpoint.config = Json::object();
    checkpoint.why_not_runnable =
        "config.json cannot be read: " +
        (config ? std::string("it is not a JSON object") : config.error().message);
  } else {
    checkpoint.config = std::move(*config);
  }

  static constexpr std::array names{"generation_config.json",
                                    "tokenizer.json",
                                    "tokenizer_config.json",
                                    "special_tokens_map.json",
                                    "added_tokens.json",
                                    "vocab.json",
                                    "merges.txt",
                                    "tokenizer.model",
                                    "chat_template.jinja",
                                    "chat_template.json",
                                    "preprocessor_config.json"};
  for (const char* name : names)
    if (fs::is_regular_file(folder / name, failed))
      checkpoint.side_files.push_back(folder / name);
  std::vector<fs::path> code; // of models that bring their own classes
  for (fs::directory_iterator it(folder, failed), end; !failed && it != end; it.increment(failed))
    if (it->path().extension() == ".py" && it->is_regular_file(failed))
      code.push_back(it->path());
  std::sort(code.begin(), code.end());
  checkpoint.side_files.insert(checkpoint.side_files.end(), code.begin(), code.end());

  if (fs::is_regular_file(folder / "bitlathe.json", failed)) { // written by our own exporters
    const auto where = (folder / "bitlathe.json").string();
    const auto json = read_json_file(folder / "bitlathe.json");
    const Json kv = json && json->is_object() ? json->value("kv", Json()) : Json();
    const auto keys = json_string_or(kv, "k", "f16", where);
    const auto values = json_string_or(kv, "v", "f16", where);
    const auto scales = kv_scales_from_json(
        json && json->is_object() ? json->value("kv_scales", Json()) : Json(), where);
    if (json && keys && values && scales) {
      checkpoint.kv_keys = *keys;
      checkpoint.kv_values = *values;
      checkpoint.kv_scales = *scales;
    } else {
      checkpoint.notes.push_back("bitlathe.json cannot be read; the KV cache scheme is f16");
    }
  }

  auto tokenizer = Tokenizer::from_folder(folder);
  if (tokenizer) {
    checkpoint.tokenizer = std::move(*tokenizer);
    for (auto& note : checkpoint.tokenizer->notes())
      checkpoint.notes.push_back(std::move(note));
  } else {
    checkpoint.tokenizer_problem = tokenizer.error().text();
  }
}

} // namespace bitlathe
