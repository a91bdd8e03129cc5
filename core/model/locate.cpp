// SPDX-License-Identifier: Apache-2.0
#include "core/model/locate.h"

#include "core/model/content.h"
#include "core/model/stores.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <set>

namespace bitlathe {

namespace {

constexpr std::size_t most_entries = 4096;
/// A listing for people: more would not be read, and hostile folders stay cheap.
constexpr std::size_t most_models = 2000;
constexpr int deepest = 4; ///< LM Studio: publisher/model, sometimes one or two more

std::uint64_t size_of(const fs::path& path) {
  std::error_code failed;
  const auto size = fs::file_size(path, failed);
  return failed ? 0 : size;
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
  return text;
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

std::string text_of(const Json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
}

/// "gptq 4 bit" of a quantized Hugging Face configuration, else the number type.
std::string quant_of_config(const fs::path& config_path) {
  const auto json =
      size_of(config_path) < (4u << 20) ? read_json_file(config_path) : Result<Json>(Json());
  if (!json || !json->is_object())
    return {};
  for (const char* key : {"quantization_config", "compression_config"}) {
    const auto config = json->find(key);
    if (config == json->end() || !config->is_object())
      continue;
    std::string out = text_of(*config, "quant_method");
    if (out.empty())
      out = "quantized";
    if (const auto bits = config->find("bits"); bits != config->end() && bits->is_number_integer())
      out += " " + bits->dump() + " bit";
    else if (config->value("load_in_4bit", Json()) == true)
      out += " 4 bit";
    else if (config->value("load_in_8bit", Json()) == true)
      out += " 8 bit";
    return out;
  }
  auto type = text_of(*json, "torch_dtype");
  if (type.empty())
    type = text_of(*json, "dtype");
  if (type.empty())
    if (const auto text = json->find("text_config"); text != json->end() && text->is_object())
      type = text_of(*text, text->contains("torch_dtype") ? "torch_dtype" : "dtype");
  return type == "bfloat16" ? "bf16" : type == "float16" ? "f16" : type == "float32" ? "f32" : type;
}

void describe_gguf(const fs::path& path, LocatedModel& out) {
  out.format = "gguf";
  out.bytes = size_of(path);
  out.modified = modified_seconds(path);
  out.quant = quant_of_name(path.filename().string());
  const auto peek = peek_gguf(path);
  if (!peek) {
    out.problem = "The file is cut off";
    return;
  }
  if (peek->file_type)
    if (const auto name = gguf_file_type_name(*peek->file_type); !name.empty())
      out.quant = name;
  if (const auto split = split_name(path))
    for (int part = 2; part <= split->parts && part < 1000; ++part) {
      const auto more = path.parent_path() / part_name(*split, part, path.extension().string());
      out.bytes += size_of(more);
      if (out.problem.empty() && !is_file(more))
        out.problem =
            "Part " + std::to_string(part) + " of " + std::to_string(split->parts) + " is missing";
    }
  if (!peek->type.empty() && peek->type != "model")
    out.problem = "It holds no model but: " + peek->type;
}

/// A folder with the files of one model.
void describe_folder(const fs::path& folder, LocatedModel& out) {
  out.modified = modified_seconds(folder);
  std::uint64_t safetensors = 0, pickles = 0;
  fs::path gguf;
  bool configured = false, index = false;
  std::string missing;
  for (const auto& entry : entries_of(folder, most_entries)) {
    const auto extension = lower(entry.extension().string());
    const auto name = entry.filename().string();
    if (extension == ".safetensors") {
      std::error_code failed;
      if (!fs::exists(entry, failed))
        missing = name;
      safetensors += size_of(entry);
      out.modified = std::max(out.modified, modified_seconds(entry));
    } else if (extension == ".gguf") {
      const auto split = split_name(entry);
      if (gguf.empty() && (!split || split->part == 1) &&
          lower(name).find("mmproj") == std::string::npos)
        gguf = entry;
    } else if (extension == ".bin" || extension == ".pth" || extension == ".pt") {
      pickles += name == "training_args.bin" ? 0 : size_of(entry);
    }
    configured = configured || name == "config.json";
    index = index || name == "model.safetensors.index.json";
    if (name == "result.json" &&
        first_bytes(entry, 4096).find("\"bitlathe_result\"") != std::string::npos)
      out.format = "result";
  }
  if (out.format == "result") {
    for (const auto& entry : entries_of(folder / "tensors", 1u << 16))
      out.bytes += size_of(entry);
    return;
  }
  if (safetensors > 0 || index || !missing.empty()) {
    out.format = "safetensors";
    out.bytes = safetensors;
    out.quant = configured ? quant_of_config(folder / "config.json") : std::string();
    if (!missing.empty())
      out.problem = missing + " is missing: the link in the cache points nowhere";
  } else if (!gguf.empty()) {
    describe_gguf(gguf, out);
  } else if (pickles > 0) {
    out.format = "pytorch";
    out.bytes = pickles;
    out.quant = configured ? quant_of_config(folder / "config.json") : std::string();
    out.problem = "Its weights are PyTorch pickles; convert them to safetensors";
  } else {
    out.problem = "The folder holds no weights";
  }
}

/// Shards that an index lists but the folder lacks.
std::string missing_shard(const fs::path& folder) {
  const auto path = folder / "model.safetensors.index.json";
  if (!is_file(path) || size_of(path) > (64u << 20))
    return {};
  const auto json = read_json_file(path);
  if (!json || !json->is_object())
    return {};
  const auto map = json->find("weight_map");
  if (map == json->end() || !map->is_object())
    return {};
  std::set<std::string> files;
  for (const auto& [tensor, file] : map->items())
    if (file.is_string())
      files.insert(file.get<std::string>());
  for (const auto& file : files)
    if (file.find('/') == std::string::npos && !is_file(folder / file))
      return file;
  return {};
}

class Finder {
 public:
  Finder(FoundModels& out, const Feedback& feedback) : out_(out), feedback_(feedback) {}

  void look(const ModelPlace& place) {
    FoundModels::Place seen{place, false, 0};
    std::error_code failed;
    const auto status = fs::status(place.path, failed);
    seen.exists = fs::is_directory(status);
    const auto before = out_.models.size();
    if (failed && failed != std::errc::no_such_file_or_directory &&
        failed != std::errc::not_a_directory)
      note("Cannot look into " + place.path.string() + ": " + failed.message());
    if (seen.exists) {
      const auto canonical = fs::weakly_canonical(place.path, failed).string();
      if (!places_.insert(place.source + canonical).second)
        return; // the same folder by another name
      if (place.source == "huggingface")
        hugging_face(place.path);
      else if (place.source == "ollama")
        ollama(place.path);
      else
        gguf_tree(place);
    }
    seen.models = int(out_.models.size() - before);
    out_.places.push_back(std::move(seen));
  }

  bool stopped() {
    out_.cancelled = out_.cancelled || feedback_.stopped();
    return out_.cancelled || full();
  }

 private:
  void note(std::string text) {
    if (out_.notes.size() < 50)
      out_.notes.push_back(std::move(text));
  }
  bool full() {
    if (out_.models.size() < most_models)
      return false;
    if (!said_full_)
      note("Only the first " + std::to_string(most_models) + " models are listed");
    said_full_ = true;
    return true;
  }
  std::vector<fs::path> list(const fs::path& folder) {
    std::string problem;
    auto entries = entries_of(folder, most_entries, &problem);
    if (!problem.empty())
      note("Cannot look into " + folder.string() + ": " + problem);
    return entries;
  }

  void hugging_face(const fs::path& hub) {
    for (const auto& folder : list(hub)) {
      if (stopped())
        return;
      if (folder.filename().string().rfind("models--", 0) != 0)
        continue;
      const auto repository = read_hf_repository(folder);
      if (!repository || repository->snapshots.empty())
        continue;
      // The best snapshot stands for the repository; others with weights can be opened too.
      bool first = true;
      for (const auto& snapshot : repository->snapshots) {
        if (!first && !snapshot.weights)
          break;
        LocatedModel model;
        model.source = "huggingface";
        model.name = repository->id + (first ? "" : " @ " + snapshot.revision.substr(0, 8));
        model.path = snapshot.path;
        describe_folder(snapshot.path, model);
        if (model.format.empty() && !repository->unfinished)
          break; // only a tokenizer or a configuration was fetched
        if (const auto shard = model.format == "safetensors" && model.problem.empty()
                                   ? missing_shard(snapshot.path)
                                   : std::string();
            !shard.empty())
          model.problem = "The shard " + shard + " is missing";
        if (!model.problem.empty() && repository->unfinished)
          model.problem = "The download was not finished";
        first = false;
        if (model.format == "gguf")
          gguf_folder(snapshot.path, model.source, repository->id);
        else
          add(std::move(model));
      }
    }
  }

  void ollama(const fs::path& root) {
    if (!is_folder(root / "manifests"))
      return;
    std::vector<std::string> problems;
    for (const auto& path :
         ollama_manifests(root / "manifests", most_models, &problems, &feedback_)) {
      if (stopped())
        return;
      const auto manifest = read_ollama_manifest(path);
      if (!manifest)
        continue;
      LocatedModel model;
      model.source = "ollama";
      model.name = manifest->name;
      model.path = path;
      model.format = manifest->model.empty() ? "" : "gguf";
      model.quant = manifest->quant;
      model.bytes = manifest->bytes;
      model.modified = modified_seconds(path);
      model.problem = manifest->problem;
      if (model.problem.empty()) {
        LocatedModel file;
        describe_gguf(manifest->model, file);
        model.bytes = file.bytes;
        if (model.quant.empty())
          model.quant = file.quant;
        model.problem = file.problem;
      }
      add(std::move(model));
    }
    for (auto& problem : problems)
      note(std::move(problem));
  }

  /// Folders of GGUF files and of Hugging Face models, as LM Studio keeps them.
  void gguf_tree(const ModelPlace& place) {
    const auto walk = [&](const auto& self, const fs::path& folder, int depth) -> void {
      if (stopped())
        return;
      const auto relative = folder.lexically_relative(place.path).string();
      gguf_folder(folder, place.source, relative == "." ? "" : relative);
      bool safetensors = false;
      std::vector<fs::path> folders;
      for (const auto& entry : list(folder)) {
        safetensors = safetensors || entry.extension() == ".safetensors";
        std::error_code failed;
        if (is_folder(entry) && entry.filename().string().front() != '.' &&
            (depth == 0 || !fs::is_symlink(entry, failed)))
          folders.push_back(entry);
      }
      if (safetensors) {
        LocatedModel model;
        model.source = place.source;
        model.name = relative;
        model.path = folder;
        describe_folder(folder, model);
        add(std::move(model));
      }
      if (depth < deepest)
        for (const auto& child : folders)
          self(self, child, depth + 1);
    };
    walk(walk, place.path, 0);
  }

  /// Every GGUF model of a folder; several quantizations are several models.
  void gguf_folder(const fs::path& folder, const std::string& source, const std::string& name) {
    std::vector<fs::path> files;
    for (const auto& entry : entries_of(folder, most_entries)) {
      const auto split = split_name(entry);
      if (lower(entry.extension().string()) == ".gguf" && (!split || split->part == 1) &&
          is_file(entry) && lower(entry.filename().string()).find("mmproj") == std::string::npos)
        files.push_back(entry);
    }
    for (const auto& file : files) {
      if (stopped())
        return;
      LocatedModel model;
      model.source = source;
      const auto stem = split_name(file) ? split_name(file)->base : file.stem().string();
      model.name = name.empty() ? stem : files.size() > 1 ? name + "/" + stem : name;
      model.path = file;
      describe_gguf(file, model);
      add(std::move(model));
    }
  }

  void add(LocatedModel model) {
    if (!full())
      out_.models.push_back(std::move(model));
  }

  FoundModels& out_;
  const Feedback& feedback_;
  std::set<std::string> places_;
  bool said_full_ = false;
};

} // namespace

std::string_view source_title(std::string_view source) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 5> titles{
      {{"recent", "Opened before"},
       {"huggingface", "Hugging Face cache"},
       {"ollama", "Ollama"},
       {"lmstudio", "LM Studio"},
       {"llamacpp", "llama.cpp"}}};
  for (const auto& [id, title] : titles)
    if (id == source)
      return title;
  return source;
}

std::vector<ModelPlace> usual_model_places() {
  std::vector<ModelPlace> out;
  const auto add = [&](const char* source, const fs::path& path) {
    if (path.is_absolute())
      out.push_back({source, path});
  };
  const auto from = [&](const char* source, const char* variable, const char* below) {
    if (const auto value = environment(variable); !value.empty())
      add(source, *below ? fs::path(value) / below : fs::path(value));
  };
  const fs::path home = environment("HOME");
  from("huggingface", "HF_HUB_CACHE", "");
  from("huggingface", "HUGGINGFACE_HUB_CACHE", "");
  from("huggingface", "HF_HOME", "hub");
  from("huggingface", "XDG_CACHE_HOME", "huggingface/hub");
  add("huggingface", home / ".cache/huggingface/hub");
  from("ollama", "OLLAMA_MODELS", "");
  add("ollama", home / ".ollama/models");
  for (const char* path : {"/usr/share/ollama/.ollama/models", "/var/lib/ollama/.ollama/models",
                           "/var/lib/ollama/models", "/var/lib/ollama"})
    add("ollama", path);
  // LM Studio leaves the place of its folder in the home, and that of the models in its settings.
  fs::path studio = home / ".lmstudio";
  if (auto pointer = first_bytes(home / ".lmstudio-home-pointer", 4096); !pointer.empty())
    studio = pointer.substr(0, pointer.find_first_of("\r\n"));
  if (const auto settings = studio / "settings.json";
      is_file(settings) && size_of(settings) < (4u << 20))
    if (const auto json = read_json_file(settings); json && json->is_object())
      if (const auto folder = text_of(*json, "downloadsFolder"); !folder.empty())
        add("lmstudio", folder);
  add("lmstudio", studio / "models");
  add("lmstudio", home / ".lmstudio/models");
  add("lmstudio", home / ".cache/lm-studio/models");
  from("llamacpp", "LLAMA_CACHE", "");
  from("llamacpp", "XDG_CACHE_HOME", "llama.cpp");
  add("llamacpp", home / ".cache/llama.cpp");
  std::vector<ModelPlace> unique;
  for (auto& place : out)
    if (std::none_of(unique.begin(), unique.end(), [&](const ModelPlace& known) {
          return known.source == place.source && known.path == place.path;
        }))
      unique.push_back(std::move(place));
  return unique;
}

LocatedModel describe_model(const fs::path& path) {
  LocatedModel out;
  out.path = path;
  const auto plain = plain_path(path);
  out.name = plain.filename().string();
  std::error_code failed;
  const auto status = fs::status(path, failed);
  if (!fs::exists(status)) {
    out.problem = failed && failed != std::errc::no_such_file_or_directory ? failed.message()
                                                                           : "Not there any more";
    return out;
  }
  if (fs::is_directory(status)) {
    fs::path folder = path;
    if (const auto repository = read_hf_repository(path);
        repository && !repository->snapshots.empty())
      folder = repository->snapshots.front().path;
    if (const auto repository = hf_repository_of(folder); !repository.empty())
      if (const auto known = read_hf_repository(repository))
        out.name = known->id;
    describe_folder(folder, out);
    return out;
  }
  out.modified = modified_seconds(path);
  out.bytes = size_of(path);
  const auto kind = content_kind(path);
  if (kind == "gguf") {
    describe_gguf(path, out);
    out.name = plain.stem().string();
  } else if (kind == "safetensors") {
    out.format = "safetensors";
    out.name = plain.stem().string();
  } else if (kind == "json") {
    if (out.bytes <= (4u << 20))
      if (const auto manifest = read_ollama_manifest(path)) {
        out.name = manifest->name;
        out.format = "gguf";
        out.quant = manifest->quant;
        out.bytes = manifest->bytes;
        out.problem = manifest->problem;
        return out;
      }
    out.format =
        first_bytes(path, 4096).find("\"bitlathe_session\"") != std::string::npos ? "session" : "";
    if (out.format == "session")
      out.name = plain.stem().string();
    else
      out.problem = "This is no model";
  } else {
    out.problem = kind == "none" ? "Cannot be read" : "This is no model";
  }
  return out;
}

FoundModels locate_models(const std::vector<ModelPlace>& places,
                          const std::vector<fs::path>& recent, const Feedback& feedback) {
  FoundModels out;
  try {
    for (const auto& path : recent) {
      if (feedback.stopped())
        break;
      auto model = describe_model(path);
      model.source = "recent";
      out.models.push_back(std::move(model));
    }
    Finder finder(out, feedback);
    for (const auto& place : places)
      if (!finder.stopped())
        finder.look(place);
  } catch (const std::exception& problem) { // the file system library may throw on memory
    out.notes.push_back(std::string("The search was given up: ") + problem.what());
  }
  out.cancelled = out.cancelled || feedback.stopped();
  // Recent ones stay as they were used; others by source in the order of the places.
  std::vector<std::string> order{"recent"};
  for (const auto& place : places)
    order.push_back(place.source);
  const auto rank = [&](const LocatedModel& model) {
    return std::find(order.begin(), order.end(), model.source) - order.begin();
  };
  std::stable_sort(out.models.begin(), out.models.end(),
                   [&](const LocatedModel& a, const LocatedModel& b) {
                     if (rank(a) != rank(b))
                       return rank(a) < rank(b);
                     return a.source != "recent" && a.modified > b.modified;
                   });
  return out;
}

} // namespace bitlathe
