// SPDX-License-Identifier: Apache-2.0
#include "core/model/locate_path.h"

#include "core/model/checkpoint.h"
#include "core/model/content.h"
#include "core/model/stores.h"

#include <algorithm>
#include <array>

namespace bitlathe {

namespace {

constexpr std::size_t most_entries = 4096;
constexpr std::size_t most_children = 64;

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
  return text;
}

std::string file_name(const fs::path& path) { return path.filename().string(); }

/// "a, b, c and 4 more".
std::string listed(const std::vector<std::string>& names) {
  std::string out;
  for (std::size_t i = 0; i < names.size() && i < 8; ++i)
    out += (i ? ", " : "") + names[i];
  if (names.size() > 8)
    out += " and " + std::to_string(names.size() - 8) + " more";
  return out;
}

/// Weights that a folder's own reader will take: anything but GGUF, of which there may be several.
bool folder_is_model(const fs::path& folder) {
  for (const CheckpointReader* reader : all_checkpoint_readers())
    if (reader->id != "gguf" && reader->recognises(folder))
      return true;
  return false;
}

struct GgufFiles {
  std::vector<fs::path> models; ///< first parts only
  std::vector<fs::path> others; ///< vision projectors, importance matrices
};
GgufFiles gguf_files(const fs::path& folder) {
  GgufFiles out;
  for (const auto& entry : entries_of(folder, most_entries)) {
    const auto extension = lower(entry.extension().string());
    if (extension != ".gguf" && (!extension.empty() || first_bytes(entry, 4) != "GGUF"))
      continue;
    if (!is_file(entry))
      continue;
    const auto split = split_name(entry);
    if (split && split->part != 1)
      continue;
    const auto name = lower(file_name(entry));
    const bool other =
        name.find("mmproj") != std::string::npos || name.find("imatrix") != std::string::npos;
    (other ? out.others : out.models).push_back(entry);
  }
  return out;
}

/// The files of a folder without any known ending that are safetensors nevertheless.
std::vector<fs::path> bare_safetensors(const fs::path& folder) {
  std::vector<fs::path> out;
  for (const auto& entry : entries_of(folder, most_entries))
    if (entry.extension().empty() && content_kind(entry) == "safetensors")
      out.push_back(entry);
  return out;
}

std::string repository_name(const std::string& id) {
  const auto slash = id.rfind('/');
  return slash == std::string::npos ? id : id.substr(slash + 1);
}

/// A name for files: no characters that file systems dislike.
std::string file_safe(std::string name) {
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c == ':' || c == '/' || c == '\\'; }, '-');
  return name;
}

class Locator {
 public:
  explicit Locator(fs::path given) : given_(std::move(given)) {}

  Result<LocatedPath> run() {
    std::error_code failed;
    const auto status = fs::status(given_, failed);
    if (!fs::exists(status)) {
      std::error_code ignored;
      if (fs::is_symlink(given_, ignored))
        return error("not-found", "The link points to \"" +
                                      fs::read_symlink(given_, ignored).string() +
                                      "\", which is not there");
      return error("not-found", failed && failed != std::errc::no_such_file_or_directory
                                    ? "Cannot open the checkpoint: " + failed.message()
                                    : "There is no such file or folder");
    }
    if (!fs::is_directory(status) && !fs::is_regular_file(status))
      return error("bad-file", "This is neither a file nor a folder");
    TRY(fs::is_directory(status) ? folder(given_, 0) : file(given_));
    if (out_.name.empty())
      if (const auto repository = hf_repository_of(out_.path); !repository.empty())
        if (const auto known = read_hf_repository(repository)) {
          const auto parent = plain_path(out_.path).parent_path();
          if (is_folder(out_.path) && file_name(parent) == "snapshots")
            out_.name = repository_name(known->id);
        }
    return std::move(out_);
  }

 private:
  Error error(std::string code, std::string message) const {
    return {std::move(code), std::move(message), given_.string()};
  }
  void note(std::string text) { out_.notes.push_back(std::move(text)); }

  Result<void> take(const fs::path& path) {
    out_.path = path;
    return {};
  }

  Result<void> folder(const fs::path& path, int depth) {
    if (folder_is_model(path)) {
      if (const auto extra = gguf_files(path).models; !extra.empty())
        note("The folder also holds " + std::to_string(extra.size()) + " GGUF " +
             (extra.size() == 1 ? "file" : "files") + " (" + file_name(extra.front()) +
             (extra.size() > 1 ? ", ..." : "") + "), which can be opened by name");
      return take(path);
    }
    if (const auto repository = read_hf_repository(path))
      return snapshot(*repository, depth);
    const auto root = ollama_root_of(path);
    if (!root.empty())
      return ollama(root, path);
    const auto gguf = gguf_files(path);
    if (!gguf.models.empty() || !gguf.others.empty())
      return pick_gguf(gguf);
    if (const auto bare = bare_safetensors(path); bare.size() == 1)
      return take(bare.front());
    if (file_name(plain_path(path)) == "snapshots")
      if (const auto repository = read_hf_repository(plain_path(path).parent_path()))
        return snapshot(*repository, depth);
    return children(path, depth);
  }

  Result<void> snapshot(const HfRepository& repository, int depth) {
    if (repository.snapshots.empty())
      return error("not-found",
                   "The cache of " + repository.id + " holds no snapshot" +
                       (repository.unfinished ? ": the download was not finished" : ""));
    const auto& chosen = repository.snapshots.front();
    if (!chosen.weights)
      return error("not-found",
                   "The cache of " + repository.id +
                       " holds no weights, only other files of the model" +
                       (repository.unfinished ? ": the download was not finished" : ""));
    if (repository.snapshots.size() > 1)
      note("The cache holds " + std::to_string(repository.snapshots.size()) + " snapshots of " +
           repository.id + "; " + chosen.revision.substr(0, 12) + " is open, " +
           (chosen.ref.empty() ? "the newest with weights" : "the one of refs/" + chosen.ref));
    out_.name = repository_name(repository.id);
    return folder(chosen.path, depth + 1);
  }

  Result<void> pick_gguf(const GgufFiles& gguf) {
    const auto& models = gguf.models.empty() ? gguf.others : gguf.models;
    if (models.size() > 1) {
      std::vector<std::string> names;
      for (const auto& model : models)
        names.push_back(file_name(model));
      return error("bad-argument", "The folder holds " + std::to_string(models.size()) +
                                       " models; open one of them: " + listed(names));
    }
    if (!gguf.models.empty() && !gguf.others.empty())
      note(file_name(gguf.others.front()) + " beside the model is no part of it and not used");
    out_.name.clear(); // the file's name says more: it has the quantization in it
    return take(models.front());
  }

  Result<void> ollama(const fs::path& root, const fs::path& path) {
    const auto plain = plain_path(path);
    const bool whole = plain == root || file_name(plain) == "blobs";
    std::vector<std::string> names;
    fs::path only;
    for (const auto& manifest : ollama_manifests(whole ? root / "manifests" : plain, 1000))
      if (const auto read = read_ollama_manifest(manifest)) {
        names.push_back(read->name + " (" + manifest.lexically_relative(plain).string() + ")");
        only = manifest;
      }
    if (names.size() == 1)
      return file(only);
    if (names.empty())
      return error("not-found", "This folder of Ollama holds no model");
    return error("bad-argument",
                 "The folder holds " + std::to_string(names.size()) +
                     " models of Ollama; open one of their manifests: " + listed(names));
  }

  /// A folder of models: publisher/model, a cache of repositories, several parts of a pipeline.
  Result<void> children(const fs::path& path, int depth) {
    std::vector<std::string> names;
    fs::path only;
    std::size_t looked_at = 0;
    const auto look = [&](const auto& self, const fs::path& folder, int level) -> void {
      for (const auto& entry : entries_of(folder, most_entries)) {
        if (!is_folder(entry) || file_name(entry).front() == '.' || looked_at >= most_children)
          continue;
        ++looked_at;
        const bool model = folder_is_model(entry) || read_hf_repository(entry) ||
                           !gguf_files(entry).models.empty();
        if (model) {
          names.push_back(entry.lexically_relative(path).string());
          only = entry;
        } else if (level < 1) {
          self(self, entry, level + 1);
        }
      }
    };
    if (depth < 2)
      look(look, path, 0);
    if (names.size() == 1) {
      note("The model is in the folder \"" + names.front() + "\"");
      return this->folder(only, depth + 2);
    }
    if (names.size() > 1)
      return error("bad-argument",
                   "The folder holds " + std::to_string(names.size()) +
                       " models in folders of their own; open one of them: " + listed(names));
    return take(path); // no reader will know it, and then the reason is found
  }

  Result<void> file(const fs::path& path) {
    const auto kind = content_kind(path);
    const auto plain = plain_path(path);
    if (kind == "gguf") {
      const auto split = split_name(plain);
      if (split && split->part != 1 && split->parts > 1) {
        const auto first = path.parent_path() / part_name(*split, 1, plain.extension().string());
        if (is_file(first)) {
          note("This is part " + std::to_string(split->part) + " of " +
               std::to_string(split->parts) + "; the whole model is open");
          return take(first);
        }
      }
      name_blob(plain);
      return take(path);
    }
    if (kind == "safetensors")
      return safetensors(path);
    if (kind == "json" || kind == "text")
      return text(path, kind);
    name_blob(plain);
    return take(path);
  }

  /// Names the model that a blob of Ollama or of the Hugging Face cache belongs to.
  void name_blob(const fs::path& plain) {
    if (!out_.name.empty() || file_name(plain.parent_path()) != "blobs")
      return;
    if (const auto link = hf_link_of_blob(plain); !link.empty()) {
      out_.name = link.stem().string();
      return;
    }
    if (const auto manifest = manifest_with(plain))
      out_.name = file_safe(manifest->name);
  }

  static std::optional<OllamaManifest> manifest_with(const fs::path& blob) {
    const auto root = ollama_root_of(blob);
    if (root.empty())
      return std::nullopt;
    for (const auto& path : ollama_manifests(root / "manifests", 1000))
      if (auto manifest = read_ollama_manifest(path))
        for (const auto& layer : manifest->layers)
          if (file_name(layer.blob) == file_name(blob))
            return std::move(*manifest);
    return std::nullopt;
  }

  /// A file of a folder with a configuration stands for that model, if it is what opening the
  /// folder would read.
  Result<void> safetensors(const fs::path& path) {
    const auto plain = plain_path(path);
    if (const auto link = hf_link_of_blob(plain); !link.empty() && link != plain) {
      note("This blob of the cache is " + file_name(link) + " of a model, which is open");
      return safetensors(link);
    }
    const auto folder = plain.parent_path();
    const auto index = folder / "model.safetensors.index.json";
    if (is_file(index))
      if (const auto json = read_json_file(index); json && json->is_object())
        if (const auto map = json->find("weight_map"); map != json->end() && map->is_object())
          for (const auto& [tensor, file] : map->items())
            if (file == file_name(plain)) {
              note("This is one shard of a model; the whole model is open");
              return take(folder);
            }
    std::size_t others = 0;
    for (const auto& entry : entries_of(folder, most_entries))
      others += entry.extension() == ".safetensors" && file_name(entry) != file_name(plain);
    const bool described =
        is_file(folder / "config.json") || is_file(folder / "adapter_config.json");
    const bool main = file_name(plain) == "model.safetensors" || others == 0;
    const bool named_so = plain.extension() == ".safetensors";
    if (described && main && named_so && !is_file(index))
      return take(folder);
    name_blob(plain);
    return take(path);
  }

  Result<void> text(const fs::path& path, std::string_view kind) {
    const auto plain = plain_path(path);
    std::error_code failed;
    if (kind == "json" && fs::file_size(path, failed) <= (4u << 20) && !failed)
      if (const auto json = read_json_file(path); json && is_ollama_manifest(*json)) {
        TRY_ASSIGN(const auto manifest, read_ollama_manifest(path));
        if (!manifest.problem.empty())
          return error("not-found", manifest.name + ": " + manifest.problem);
        out_.name = file_safe(manifest.name);
        return take(manifest.model);
      }
    if (const auto blob = manifest_with(plain); blob && file_name(plain.parent_path()) == "blobs")
      for (const auto& layer : blob->layers)
        if (file_name(layer.blob) == file_name(plain)) {
          const auto dot = layer.media_type.rfind('.');
          return error("bad-file",
                       "This blob of Ollama is no model but the " +
                           (layer.media_type.find("container.image") != std::string::npos
                                ? std::string("settings")
                                : layer.media_type.substr(dot == std::string::npos ? 0 : dot + 1)) +
                           " of " + blob->name +
                           (blob->model.empty() ? std::string()
                                                : "; its weights are " + file_name(blob->model)));
        }
    // Files that describe a model stand for its folder.
    static constexpr std::array described{"config.json",
                                          "generation_config.json",
                                          "tokenizer.json",
                                          "tokenizer_config.json",
                                          "special_tokens_map.json",
                                          "added_tokens.json",
                                          "vocab.json",
                                          "merges.txt",
                                          "chat_template.jinja",
                                          "chat_template.json",
                                          "adapter_config.json",
                                          "quantize_config.json",
                                          "quant_config.json",
                                          "result.json",
                                          "bitlathe.json",
                                          "params.json",
                                          "README.md",
                                          "preprocessor_config.json"};
    const auto name = file_name(plain);
    const auto index = std::string_view(".safetensors.index.json");
    const bool known =
        std::any_of(described.begin(), described.end(), [&](const char* d) { return name == d; }) ||
        (name.size() > index.size() && name.substr(name.size() - index.size()) == index);
    if (known && folder_is_model(plain.parent_path())) {
      note(name + " stands for its folder, which is open");
      return take(plain.parent_path());
    }
    return take(path);
  }

  fs::path given_;
  LocatedPath out_;
};

struct Kind {
  std::string_view id, sentence;
};
constexpr std::array kinds{
    Kind{"ggml",
         "This is a GGML file from before GGUF; convert the original model with llama.cpp's "
         "convert_hf_to_gguf.py, or open the original"},
    Kind{"pytorch", "This is a PyTorch pickle, which can run code when opened; convert it to "
                    "safetensors"},
    Kind{"numpy", "This is a NumPy file; convert it to safetensors"},
    Kind{"zip", "This is a zip archive; unpack it and open the model in it"},
    Kind{"tar", "This is a tar archive; unpack it and open the model in it"},
    Kind{"hdf5", "This is an HDF5 file of Keras or TensorFlow; convert it to safetensors"},
    Kind{"onnx", "This looks like an ONNX file, which is an export to be run by its runtime, not a "
                 "model to open"},
    Kind{"lfs", "This is a pointer that Git LFS left in place of the file; `git lfs pull` fetches "
                "the file itself"},
    Kind{"html", "This is a web page, not a model: the download went wrong"},
    Kind{"empty", "The file is empty"},
};

const Kind* find_kind(std::string_view id) {
  for (const auto& kind : kinds)
    if (kind.id == id)
      return &kind;
  return nullptr;
}

} // namespace

Result<LocatedPath> locate_path(const fs::path& given) { return Locator(given).run(); }

Error explain_unknown(const fs::path& path, const std::string& known_formats) {
  const auto where = path.string();
  if (!is_folder(path)) {
    const auto kind = content_kind(path);
    const auto name = file_name(path);
    if (name.find("-partial") != std::string::npos || path.extension() == ".incomplete" ||
        path.extension() == ".part")
      return {"bad-file", "The download of this file was not finished", where};
    if (const auto* known = find_kind(kind))
      return {kind == "empty" || kind == "html" || kind == "lfs" ? "bad-file" : "unsupported",
              std::string(known->sentence), where};
    if (kind == "none")
      return {"io", "The file cannot be read: permission denied", where};
    const char* what = kind == "json"   ? "This is a JSON file"
                       : kind == "text" ? "This is a text file"
                                        : "The file is of no known kind";
    return {"bad-file", std::string(what) + " and no checkpoint (" + known_formats + ")", where};
  }
  std::string problem;
  const auto entries = entries_of(path, most_entries, &problem);
  if (!problem.empty())
    return {"io", "Cannot list the folder: " + problem, where};
  if (entries.empty())
    return {"bad-file", "The folder is empty", where};
  // The first file that would be a model in another format is the best explanation.
  bool configured = false;
  for (const auto& entry : entries) {
    const auto kind = content_kind(entry);
    const auto* known = find_kind(kind);
    configured = configured || file_name(entry) == "config.json";
    if (!known || kind == "empty" || kind == "html" || entry.filename() == "training_args.bin")
      continue;
    if (kind == "pytorch")
      return {"unsupported",
              "The folder holds PyTorch pickles (" + file_name(entry) +
                  "), which can run code when opened; convert them to safetensors",
              where};
    return {"unsupported", file_name(entry) + ": " + std::string(known->sentence), where};
  }
  for (const auto& entry : entries) // weights by name that are none by content
    for (const char* extension : {".bin", ".pth", ".pt", ".ckpt"})
      if (entry.extension() == extension && is_file(entry))
        return {"unsupported",
                "The folder holds PyTorch files (" + file_name(entry) +
                    "), which this program does not open; convert them to safetensors",
                where};
  if (configured)
    return {"bad-file", "The folder has a config.json, but no weights", where};
  return {"bad-file", "The folder holds no checkpoint of a known format (" + known_formats + ")",
          where};
}

Error explain_failure(Error error, const fs::path& path) {
  if (error.code != "bad-file" && error.code != "not-found")
    return error;
  for (const fs::path& file : {fs::path(error.where), path}) {
    const auto kind = content_kind(file);
    if (kind == "lfs" || kind == "html")
      return {error.code, std::string(find_kind(kind)->sentence), file.string()};
  }
  if (error.code == "not-found") {
    const auto repository = hf_repository_of(path);
    const auto known = repository.empty() ? std::nullopt : read_hf_repository(repository);
    if (known && known->unfinished)
      error.message += "; the download of " + known->id + " was not finished";
  }
  return error;
}

} // namespace bitlathe
