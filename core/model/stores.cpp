// SPDX-License-Identifier: Apache-2.0
#include "core/model/stores.h"

#include "core/model/content.h"

#include <algorithm>
#include <sys/stat.h>

namespace bitlathe {

namespace {

constexpr std::size_t most_entries = 4096;
constexpr std::uint64_t most_manifest_bytes = 4 << 20;

bool starts_with(std::string_view text, std::string_view head) {
  return text.substr(0, head.size()) == head;
}

/// "sha256:<64 digits>" as a file name: nothing else may become part of a path.
std::string blob_name(const std::string& digest) {
  const bool good = digest.size() == 71 && starts_with(digest, "sha256:") &&
                    std::all_of(digest.begin() + 7, digest.end(), [](char c) {
                      return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
                    });
  return good ? "sha256-" + digest.substr(7) : std::string();
}

bool holds_weights(const fs::path& folder) {
  for (const auto& entry : entries_of(folder, most_entries)) {
    const auto extension = entry.extension();
    if (extension == ".safetensors" || extension == ".gguf" || extension == ".bin" ||
        extension == ".pth" || extension == ".pt")
      return true;
  }
  return false;
}

std::string first_line(const fs::path& path) {
  auto text = first_bytes(path, 256);
  return text.substr(0, text.find_first_of(" \t\r\n"));
}

std::string text_of(const Json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
}

} // namespace

std::int64_t modified_seconds(const fs::path& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 ? std::int64_t(info.st_mtime) : 0;
}

fs::path plain_path(const fs::path& path) {
  std::error_code failed;
  auto absolute = fs::absolute(path, failed).lexically_normal();
  if (!absolute.has_filename() && absolute.has_relative_path())
    absolute = absolute.parent_path();
  return absolute;
}

std::vector<fs::path> entries_of(const fs::path& folder, std::size_t limit, std::string* problem) {
  std::vector<fs::path> out;
  std::error_code failed;
  fs::directory_iterator it(folder, failed), end;
  for (; !failed && it != end && out.size() < limit; it.increment(failed))
    out.push_back(it->path());
  if (failed && problem)
    *problem = failed.message();
  std::sort(out.begin(), out.end());
  return out;
}

std::optional<HfRepository> read_hf_repository(const fs::path& folder) {
  if (!is_folder(folder / "snapshots"))
    return std::nullopt;
  HfRepository out;
  const auto name = plain_path(folder).filename().string();
  if (starts_with(name, "models--")) {
    out.id = name.substr(8);
    if (const auto dash = out.id.find("--"); dash != std::string::npos)
      out.id.replace(dash, 2, "/");
  } else if (!is_folder(folder / "refs") && !is_folder(folder / "blobs")) {
    return std::nullopt;
  } else {
    out.id = name;
  }
  std::vector<std::pair<std::string, std::string>> refs; // revision, name
  for (const auto& ref : entries_of(folder / "refs", most_entries))
    refs.emplace_back(first_line(ref), ref.filename().string());
  for (const auto& path : entries_of(folder / "snapshots", most_entries)) {
    if (!is_folder(path))
      continue;
    HfRepository::Snapshot snapshot{path, path.filename().string(), {}, 0, false};
    snapshot.modified = modified_seconds(path);
    snapshot.weights = holds_weights(path);
    for (const auto& [revision, ref] : refs)
      if (revision == snapshot.revision && (snapshot.ref.empty() || ref == "main"))
        snapshot.ref = ref;
    out.snapshots.push_back(std::move(snapshot));
  }
  std::stable_sort(out.snapshots.begin(), out.snapshots.end(), [](const auto& a, const auto& b) {
    const auto rank = [](const HfRepository::Snapshot& s) {
      return std::tuple(!s.weights, s.ref != "main", s.ref.empty(), -s.modified);
    };
    return rank(a) < rank(b);
  });
  for (const auto& blob : entries_of(folder / "blobs", most_entries))
    out.unfinished = out.unfinished || blob.extension() == ".incomplete";
  return out;
}

fs::path hf_repository_of(const fs::path& path) {
  auto folder = plain_path(path);
  for (int up = 0; up < 6 && folder.has_relative_path(); ++up, folder = folder.parent_path())
    if (starts_with(folder.filename().string(), "models--") && is_folder(folder / "snapshots"))
      return folder;
  return {};
}

fs::path hf_link_of_blob(const fs::path& blob) {
  const auto plain = plain_path(blob);
  if (plain.parent_path().filename() != "blobs")
    return {};
  const auto repository = read_hf_repository(plain.parent_path().parent_path());
  if (!repository)
    return {};
  for (const auto& snapshot : repository->snapshots)
    for (const auto& entry : entries_of(snapshot.path, most_entries)) {
      std::error_code failed;
      if (fs::is_symlink(entry, failed) &&
          fs::read_symlink(entry, failed).filename() == plain.filename())
        return entry;
    }
  return {};
}

bool is_ollama_manifest(const Json& json) {
  if (!json.is_object())
    return false;
  const auto layers = json.find("layers");
  if (layers == json.end() || !layers->is_array() || !json.contains("schemaVersion"))
    return false;
  return std::any_of(layers->begin(), layers->end(), [](const Json& layer) {
    return layer.is_object() &&
           starts_with(text_of(layer, "mediaType"), "application/vnd.ollama.image.");
  });
}

fs::path ollama_root_of(const fs::path& path) {
  auto folder = plain_path(path);
  for (int up = 0; up < 8 && folder.has_relative_path(); ++up, folder = folder.parent_path())
    if (is_folder(folder / "manifests") && is_folder(folder / "blobs"))
      return folder;
  return {};
}

Result<OllamaManifest> read_ollama_manifest(const fs::path& file) {
  std::error_code failed;
  const auto where = file.string();
  if (fs::file_size(file, failed) > most_manifest_bytes || failed)
    return Error{"bad-file", "This is not a manifest of Ollama", where};
  TRY_ASSIGN(const Json json, read_json_file(file));
  if (!is_ollama_manifest(json))
    return Error{"bad-file", "This is not a manifest of Ollama", where};
  const auto root = ollama_root_of(file);
  OllamaManifest out;
  // manifests/HOST/NAMESPACE/MODEL/TAG
  std::vector<std::string> parts;
  bool inside = false;
  for (const auto& part : plain_path(file)) {
    if (inside)
      parts.push_back(part.string());
    else if (part == "manifests")
      inside = true;
  }
  if (parts.size() >= 2) {
    const auto tag = parts.back();
    parts.pop_back();
    if (parts.size() > 1 && parts.front() == "registry.ollama.ai")
      parts.erase(parts.begin());
    if (parts.size() > 1 && parts.front() == "library")
      parts.erase(parts.begin());
    for (const auto& part : parts)
      out.name += (out.name.empty() ? "" : "/") + part;
    out.name += ":" + tag;
  } else {
    out.name = file.filename().string();
  }
  const auto blob_of = [&](const Json& layer) {
    const auto name = blob_name(text_of(layer, "digest"));
    if (name.empty() || root.empty())
      return fs::path();
    std::error_code ignored;
    const auto path = root / "blobs" / name;
    const auto old = root / "blobs" / text_of(layer, "digest"); // as written before 2024
    return !fs::exists(path, ignored) && fs::exists(old, ignored) ? old : path;
  };
  int models = 0, tensors = 0;
  for (const auto& layer : json["layers"]) {
    if (!layer.is_object())
      continue;
    const auto type = text_of(layer, "mediaType");
    const auto blob = blob_of(layer);
    out.layers.push_back({type, blob});
    if (type == "application/vnd.ollama.image.tensor")
      ++tensors;
    if (type != "application/vnd.ollama.image.model")
      continue;
    ++models;
    if (out.model.empty())
      out.model = blob;
    if (const auto size = layer.find("size"); size != layer.end() && size->is_number_unsigned())
      out.bytes += size->get<std::uint64_t>();
  }
  if (root.empty())
    out.problem = "The manifest is not inside a models folder of Ollama with its blobs";
  else if (models == 0)
    out.problem = tensors > 0 ? "Its weights are kept as " + std::to_string(tensors) +
                                    " separate tensors, which this version does not read"
                              : "The manifest names no weights: the model runs elsewhere";
  else if (out.model.empty())
    out.problem = "The manifest's digest of the weights is malformed";
  else if (!fs::exists(out.model, failed))
    out.problem = "The blob with the weights is missing: " + out.model.filename().string();
  if (const auto config = json.find("config"); config != json.end() && config->is_object()) {
    out.layers.push_back({text_of(*config, "mediaType"), blob_of(*config)});
    const auto blob = out.layers.back().blob;
    if (!blob.empty() && fs::file_size(blob, failed) < most_manifest_bytes && !failed)
      if (const auto settings = read_json_file(blob); settings && settings->is_object()) {
        out.quant = text_of(*settings, "file_type");
        out.family = text_of(*settings, "model_family");
      }
  }
  return out;
}

std::vector<fs::path> ollama_manifests(const fs::path& folder, std::size_t limit,
                                       std::vector<std::string>* notes, const Feedback* feedback) {
  std::vector<fs::path> out, folders{folder};
  std::vector<int> depths{0};
  while (!folders.empty() && out.size() < limit && !(feedback && feedback->stopped())) {
    const auto next = folders.back();
    const int depth = depths.back();
    folders.pop_back();
    depths.pop_back();
    std::string problem;
    for (const auto& entry : entries_of(next, most_entries, &problem)) {
      std::error_code failed;
      if (fs::is_directory(entry, failed)) {
        if (depth < 6 && !fs::is_symlink(entry, failed)) {
          folders.push_back(entry);
          depths.push_back(depth + 1);
        }
      } else if (out.size() < limit && fs::is_regular_file(entry, failed) &&
                 entry.filename().string().front() != '.') {
        out.push_back(entry);
      }
    }
    if (!problem.empty() && notes)
      notes->push_back("Cannot look into " + next.string() + ": " + problem);
  }
  std::sort(out.begin(), out.end());
  return out;
}

} // namespace bitlathe
