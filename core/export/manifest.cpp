// SPDX-License-Identifier: Apache-2.0
#include "core/export/manifest.h"

#include "core/calib/record.h"
#include "core/export/memo.h"
#include "core/export/tensors.h"
#include "core/io/sha256.h"
#include "core/job/result_store.h"
#include "core/model/content.h"
#include "kernels/base/parallel.h"

#include <algorithm>
#include <array>
#include <set>

namespace bitlathe {

namespace {

bool ends_with(std::string_view text, std::string_view tail) {
  return text.size() >= tail.size() && text.substr(text.size() - tail.size()) == tail;
}

/// The part of a file name that all parts of a split model share.
std::string common_stem(const fs::path& file) {
  const auto split = split_name(file);
  return split ? split->base : file.stem().string();
}

/// The files that a checkpoint is made of: weights, and what configures and tokenizes them.
std::vector<fs::path> checkpoint_files(const fs::path& path) {
  std::vector<fs::path> out;
  std::error_code failed;
  if (!fs::exists(path, failed))
    return out; // a model that was made in memory
  if (!fs::is_directory(path, failed)) {
    const auto split = split_name(path);
    if (!split)
      return {path};
    for (int part = 1; part <= split->parts; ++part)
      out.push_back(path.parent_path() / part_name(*split, part, path.extension().string()));
    return out;
  }
  std::set<std::string> listed;
  const auto index = read_json_file(path / "model.safetensors.index.json");
  if (index && index->is_object() && index->contains("weight_map"))
    for (const Json& file : (*index)["weight_map"])
      if (file.is_string())
        listed.insert(file.get<std::string>());
  for (fs::directory_iterator it(path, failed), end; !failed && it != end; it.increment(failed)) {
    const auto name = it->path().filename().string();
    const bool weights =
        (ends_with(name, ".safetensors") && (listed.empty() || listed.count(name) > 0)) ||
        ends_with(name, ".gguf");
    static constexpr std::array<std::string_view, 5> kinds{".json", ".model", ".tiktoken", ".jinja",
                                                           "merges.txt"};
    const bool side = std::any_of(kinds.begin(), kinds.end(),
                                  [&](std::string_view kind) { return ends_with(name, kind); });
    if ((weights || side) && it->is_regular_file(failed))
      out.push_back(it->path());
  }
  std::sort(out.begin(), out.end());
  return out;
}

OrderedJson file_entry(const std::string& name, std::uint64_t bytes, const std::string& hash) {
  return {{"name", name}, {"bytes", bytes}, {"sha256", hash}};
}

/// Several files at a time.
Result<OrderedJson> hashed(const std::vector<fs::path>& files, ExportMemo* memo,
                           Feedback& feedback) {
  std::vector<Result<std::string>> hashes(files.size(), cancelled_error());
  const auto state_of = [](const fs::path& file) {
    std::error_code failed;
    ExportMemo::Hash out;
    out.bytes = fs::file_size(file, failed);
    out.written = fs::last_write_time(file, failed);
    return out;
  };
  parallel_for(std::int64_t(files.size()), 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = std::size_t(begin); i < std::size_t(end); ++i) {
      const auto known = memo ? memo->hashes.find(files[i]) : decltype(memo->hashes.end())();
      const auto now = state_of(files[i]);
      const bool same = memo && known != memo->hashes.end() && known->second.bytes == now.bytes &&
                        known->second.written == now.written;
      hashes[i] = same ? known->second.sha256 : sha256_of_file(files[i], &feedback);
    }
  });
  for (std::size_t i = 0; memo && i < files.size(); ++i)
    if (hashes[i]) {
      memo->hashes[files[i]] = state_of(files[i]);
      memo->hashes[files[i]].sha256 = *hashes[i];
    }
  OrderedJson out = OrderedJson::array();
  for (std::size_t i = 0; i < files.size(); ++i) {
    TRY_ASSIGN(const std::string hash, hashes[i]);
    std::error_code failed;
    out.push_back(file_entry(files[i].filename().string(), fs::file_size(files[i], failed), hash));
  }
  return out;
}

/// Where the weights come from: of a kept result, the checkpoint that it was made of.
fs::path original_of(const fs::path& path) {
  fs::path source = path;
  for (int depth = 0; depth < 8; ++depth) {
    const auto kept = read_result(source);
    if (!kept)
      break;
    source = kept->source;
  }
  return source;
}

/// How a kept result was made.
void add_result(const KeptResult& kept, OrderedJson& out) {
  Recipe recipe = kept.recipe;
  std::error_code failed;
  for (CalibrationFile& file : recipe.calibration_files) // to be found from another folder too
    if (fs::exists(file.path, failed))
      file.path = fs::absolute(file.path, failed).lexically_normal().string();
  out["recipe"] = recipe_to_json(recipe);
  OrderedJson made{{"backend", kept.summary.backend}};
  for (const char* key : {"version", "instruction_set", "threads"})
    if (const auto it = kept.machine.find(key); it != kept.machine.end())
      made[key] = *it;
  out["made_with"] = std::move(made);
  CalibrationRecord record = kept.summary.calibration;
  for (CalibrationSource& file : record.sources)
    if (fs::exists(file.path, failed))
      file.path = fs::absolute(file.path, failed).lexically_normal().string();
  if (!record.empty())
    out["calibration"] = record_to_json(record);
}

} // namespace

fs::path manifest_name(const ExportFiles& described) {
  if (described.checkpoint == ".")
    return "bitlathe.json";
  return common_stem(described.checkpoint) + ".manifest.json";
}

fs::path manifest_path(const fs::path& checkpoint) {
  std::error_code failed;
  if (fs::is_directory(checkpoint, failed)) {
    const auto own = checkpoint / "bitlathe.json";
    std::vector<fs::path> found; // of single files in the folder
    if (!fs::exists(own, failed))
      for (fs::directory_iterator it(checkpoint, failed), end; !failed && it != end;
           it.increment(failed))
        if (ends_with(it->path().filename().string(), ".manifest.json"))
          found.push_back(it->path());
    return found.size() == 1 ? found.front() : own;
  }
  return checkpoint.parent_path() / (common_stem(checkpoint) + ".manifest.json");
}

Result<OrderedJson> export_manifest(const Checkpoint& model, const Exporter& exporter,
                                    const ExportOptions& options, const ExportFiles& described,
                                    const std::vector<std::string>& hashes, Feedback& feedback) {
  OrderedJson out;
  out["bitlathe_export"] = 1;
  out["version"] = BITLATHE_VERSION;
  out["format"] = exporter.id;
  out["formats"] = options.formats.empty() ? std::vector<std::string>{std::string(exporter.id)}
                                           : options.formats;
  out["name"] = options.name.empty() ? model.name : options.name;
  out["shard_size"] = options.shard_limit;

  const auto kept = read_result(model.path);
  const fs::path source = original_of(model.path);
  std::error_code failed;
  OrderedJson from{{"path", fs::absolute(source, failed).lexically_normal().string()},
                   {"architecture", model.architecture}};
  feedback.set_step("Hashing the source");
  TRY_ASSIGN(from["files"], hashed(checkpoint_files(source), options.memo.get(), feedback));
  out["source"] = std::move(from);
  if (kept)
    add_result(*kept, out);

  out["kv"] = {{"k", model.kv_keys}, {"v", model.kv_values}};
  if (!model.kv_scales.empty())
    out["kv_scales"] = model.kv_scales;
  out["modules"] = OrderedJson::object();
  for (std::size_t i = 0; i < model.modules.size(); ++i) {
    const Module& module = model.modules[i];
    if (module.tied_to_embedding)
      continue;
    OrderedJson entry{{"scheme", module.weight.scheme.id}};
    if (!module.stored_name.empty())
      entry["stored_name"] = module.stored_name;
    if (module.weight.scheme.quantized)
      entry["activations"] = module.activations;
    if (kept && i < kept->summary.modules.size() && kept->summary.modules[i].name == module.name) {
      if (!kept->summary.modules[i].method.empty())
        entry["method"] = kept->summary.modules[i].method;
      entry["reason"] = kept->summary.modules[i].reason;
    }
    out["modules"][module.name] = std::move(entry);
  }
  out["files"] = OrderedJson::array();
  for (std::size_t i = 0; i < described.files.size(); ++i)
    out["files"].push_back(
        file_entry(described.files[i].name.generic_string(), described.files[i].bytes, hashes[i]));
  return out;
}

Result<std::optional<ManifestSettings>> read_manifest_settings(const fs::path& path) {
  TRY_ASSIGN(const Json json, read_json_file(path));
  if (!json.is_object() || !json.contains("bitlathe_export"))
    return std::optional<ManifestSettings>();
  const auto where = path.string();
  ManifestSettings out;
  TRY_ASSIGN(out.format, json_string_or(json, "format", "", where));
  TRY_ASSIGN(out.name, json_string_or(json, "name", "", where));
  TRY_ASSIGN(const std::int64_t shard, json_int_or(json, "shard_size", 0, where));
  out.shard_limit = shard > 0 ? std::uint64_t(shard) : 0;
  for (const Json& format : json.value("formats", Json::array()))
    if (format.is_string())
      out.formats.push_back(format.get<std::string>());
  out.modules = json.value("modules", Json::object());
  out.calibrated = json.contains("calibration");
  if (const auto source = json.find("source"); source != json.end() && source->is_object())
    out.source_files = source->value("files", Json::array());
  if (const auto made = json.find("made_with"); made != json.end()) {
    TRY_ASSIGN(out.backend, json_string_or(*made, "backend", "", where));
    TRY_ASSIGN(out.instruction_set, json_string_or(*made, "instruction_set", "", where));
  }
  return std::optional(std::move(out));
}

Result<std::vector<std::string>> source_differences(const ManifestSettings& manifest,
                                                    const Checkpoint& source, Feedback& feedback,
                                                    ExportMemo* memo) {
  std::vector<std::string> out;
  TRY_ASSIGN(const OrderedJson here,
             hashed(checkpoint_files(original_of(source.path)), memo, feedback));
  std::vector<std::string> other;
  for (const Json& file : manifest.source_files) {
    const auto same = std::any_of(here.begin(), here.end(), [&](const OrderedJson& entry) {
      return file.is_object() && entry["sha256"] == file.value("sha256", "");
    });
    if (!same && file.is_object())
      other.push_back(file.value("name", ""));
  }
  if (!other.empty())
    out.push_back("The source is not the one of the manifest, so the result will be another: " +
                  name_list(other) + " differ or are missing");
  return out;
}

Result<VerifyCheck> check_manifest(const fs::path& checkpoint, Feedback& feedback) {
  const auto path = manifest_path(checkpoint);
  std::error_code failed;
  if (!fs::is_regular_file(path, failed))
    return VerifyCheck();
  const auto json = read_json_file(path);
  if (!json || !json->is_object() || !json->contains("files") || !(*json)["files"].is_array())
    return VerifyCheck{"manifest", false, path.string() + " cannot be read"};
  std::vector<std::string> changed, edited;
  std::size_t same = 0;
  for (const Json& file : (*json)["files"]) {
    if (!file.is_object() || !file.contains("name") || !file["name"].is_string())
      continue;
    const auto name = file["name"].get<std::string>();
    const auto hash = sha256_of_file(path.parent_path() / name, &feedback);
    if (!hash && hash.error().cancelled())
      return hash.error();
    // People mend templates and settings of tokenizers; weights and the configuration are as
    // they were, or not what was made.
    const bool matters = !ends_with(name, ".json") || ends_with(name, "config.json") ||
                         ends_with(name, ".index.json");
    const bool tokenizer = name.rfind("tokenizer", 0) == 0 || name.rfind("generation", 0) == 0;
    if (hash && *hash == file.value("sha256", ""))
      ++same;
    else if (!hash)
      changed.push_back(name + " is missing");
    else
      (matters && !tokenizer ? changed : edited).push_back(name + " is not as it was written");
  }
  auto good = std::to_string(same) + " files have the hashes of the manifest";
  if (!edited.empty())
    good += "; " + name_list(edited);
  return VerifyCheck{"manifest", changed.empty(), changed.empty() ? good : name_list(changed, 5)};
}

} // namespace bitlathe
