// SPDX-License-Identifier: Apache-2.0
#include "core/job/result_store.h"

#include "core/model/kv_scales.h"
#include "kernels/base/parallel.h"
#include "kernels/cpu/isa.h"

#include <algorithm>
#include <cstdio>

namespace bitlathe {

namespace {

OrderedJson module_to_json(const ModuleResult& m) {
  OrderedJson json;
  json["name"] = m.name;
  json["scheme"] = m.scheme;
  json["method"] = m.method;
  json["reason"] = m.reason;
  json["bytes"] = m.bytes;
  json["quantized"] = m.quantized;
  json["mse"] = json_number(m.mse);
  json["sqnr_db"] = json_number(m.sqnr_db);
  json["cosine"] = json_number(m.cosine);
  json["max_abs_error"] = json_number(m.max_abs_error);
  json["seconds"] = m.seconds;
  if (m.output_error >= 0)
    json["output_error"] = json_number(m.output_error);
  if (m.activation_scale != 0)
    json["activation_scale"] = m.activation_scale;
  if (m.outlier_threshold != 0)
    json["outlier_threshold"] = m.outlier_threshold;
  if (!m.notes.empty())
    json["notes"] = m.notes;
  return json;
}

ModuleResult module_from_json(const Json& json) {
  ModuleResult m;
  m.name = json.value("name", "");
  m.scheme = json.value("scheme", "");
  m.method = json.value("method", "");
  m.reason = json.value("reason", "");
  m.bytes = json.value("bytes", std::uint64_t(0));
  m.quantized = json.value("quantized", false);
  const auto number = [&](const char* key) {
    const auto it = json.find(key);
    return it != json.end() && it->is_number() ? it->get<double>() : 0.0;
  };
  m.mse = number("mse");
  m.sqnr_db = number("sqnr_db");
  m.cosine = number("cosine");
  m.max_abs_error = float(number("max_abs_error"));
  m.seconds = number("seconds");
  m.output_error = json.contains("output_error") ? number("output_error") : -1;
  m.activation_scale = float(number("activation_scale"));
  m.outlier_threshold = float(number("outlier_threshold"));
  for (const Json& note : json.value("notes", Json::array()))
    if (note.is_string())
      m.notes.push_back(note.get<std::string>());
  return m;
}

TensorToWrite part(const char* name, std::span<const std::byte> bytes) {
  return {name, "U8", {std::int64_t(bytes.size())}, bytes.size(), [bytes](OutputFile& out) {
            return out.write(bytes);
          }};
}

class FolderResultWriter final : public ResultWriter {
 public:
  FolderResultWriter(fs::path folder, const Checkpoint& source, const Plan& plan)
      : folder_(std::move(folder)), source_(fs::absolute(source.path)), recipe_(plan.recipe) {}

  ~FolderResultWriter() override {
    if (finished_)
      return;
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }

  Result<void> add(const PlannedModule& module, const QTensor& tensor,
                   const ModuleResult& result) override {
    OrderedJson entry;
    TRY_ASSIGN(entry, write(module.name, tensor));
    entry["activations"] = module.activations;
    if (result.activation_scale != 0)
      entry["activation_scale"] = result.activation_scale;
    if (result.outlier_threshold != 0)
      entry["outlier_threshold"] = result.outlier_threshold;
    files_.push_back(std::move(entry));
    return {};
  }

  Result<void> add_bias(const std::string& module, const QTensor& bias) override {
    OrderedJson entry;
    TRY_ASSIGN(entry, write(module, bias));
    entry["part"] = "bias";
    files_.push_back(std::move(entry));
    return {};
  }

  void set_activations(const std::string& module, float scale, float outlier_threshold) override {
    for (OrderedJson& entry : files_) {
      if (entry["module"] != module || !entry.contains("activations"))
        continue;
      if (scale != 0)
        entry["activation_scale"] = scale;
      if (outlier_threshold != 0)
        entry["outlier_threshold"] = outlier_threshold;
    }
  }

  Result<void> finish(const QuantizeSummary& summary) override {
    OrderedJson json;
    json["bitlathe_result"] = 1;
    json["version"] = BITLATHE_VERSION;
    json["source"] = source_.string();
    json["recipe"] = recipe_to_json(recipe_);
    json["backend"] = summary.backend;
    const auto isa = isa_from_environment();
    json["instruction_set"] = isa ? isa_name(*isa) : isa_name(Isa::scalar);
    json["threads"] = thread_count();
    json["seconds"] = summary.seconds;
    json["bytes_before"] = summary.bytes_before;
    json["bytes_after"] = summary.bytes_after;
    json["bits_per_weight"] = summary.bits_per_weight;
    json["bits_per_quantized_weight"] = summary.bits_per_quantized_weight;
    if (!summary.kv_scales.empty())
      json["kv_scales"] = summary.kv_scales;
    if (!summary.calibration.empty())
      json["calibration"] = record_to_json(summary.calibration);
    json["notes"] = summary.notes;
    json["tensors"] = files_;
    json["modules"] = OrderedJson::array();
    for (const ModuleResult& module : summary.modules)
      json["modules"].push_back(module_to_json(module));
    TRY(write_file(folder_ / "result.json", json.dump(1) + "\n"));
    finished_ = true;
    return {};
  }

 private:
  /// Writes a tensor's file; the value is its entry of the manifest.
  Result<OrderedJson> write(const std::string& module, const QTensor& tensor) {
    char file[32];
    std::snprintf(file, sizeof file, "%05zu.bltensor", files_.size());
    std::vector<TensorToWrite> parts;
    parts.push_back(part("codes", tensor.codes));
    if (!tensor.scales.empty())
      parts.push_back(part("scales", tensor.scales));
    if (!tensor.zeros.empty())
      parts.push_back(part("zeros", tensor.zeros));
    if (!tensor.nested.empty())
      parts.push_back(part("nested", tensor.nested));
    if (tensor.column_order)
      parts.push_back(part("column_order", std::as_bytes(std::span(*tensor.column_order))));
    TRY(write_safetensors(folder_ / "tensors" / file, std::move(parts),
                          {{"module", module}, {"scheme", tensor.scheme.id}}));
    return OrderedJson{{"module", module},
                       {"file", file},
                       {"scheme", tensor.scheme.id},
                       {"rows", tensor.rows},
                       {"cols", tensor.cols}};
  }

  fs::path folder_, source_;
  Recipe recipe_;
  OrderedJson files_ = OrderedJson::array();
  bool finished_ = false;
};

} // namespace

Result<std::unique_ptr<ResultWriter>>
ResultWriter::create(const fs::path& folder, const Checkpoint& source, const Plan& plan) {
  std::error_code problem;
  if (fs::exists(folder / "result.json") || (fs::exists(folder) && !fs::is_empty(folder, problem)))
    return Error{"bad-argument", "The folder for the result is not empty", folder.string()};
  fs::create_directories(folder / "tensors", problem);
  if (problem)
    return Error{"io", "Cannot create the folder for the result: " + problem.message(),
                 folder.string()};
  return std::unique_ptr<ResultWriter>(new FolderResultWriter(folder, source, plan));
}

Result<KeptResult> read_result(const fs::path& folder) {
  const fs::path manifest = folder / "result.json";
  TRY_ASSIGN(const Json json, read_json_file(manifest));
  const std::string where = manifest.string();
  TRY_ASSIGN(const std::int64_t version, json_int(json, "bitlathe_result", where));
  if (version != 1)
    return Error{"unsupported", "This result was written by a newer version", where};
  KeptResult result;
  result.folder = folder;
  TRY_ASSIGN(const std::string source, json_string(json, "source", where));
  result.source = source;
  TRY_ASSIGN(result.recipe, recipe_from_json(json.value("recipe", Json::object()), where));
  QuantizeSummary& summary = result.summary;
  TRY_ASSIGN(summary.backend, json_string_or(json, "backend", "", where));
  TRY_ASSIGN(summary.seconds, json_number_or(json, "seconds", 0, where));
  TRY_ASSIGN(const std::int64_t before, json_int_or(json, "bytes_before", 0, where));
  TRY_ASSIGN(const std::int64_t after, json_int_or(json, "bytes_after", 0, where));
  summary.bytes_before = std::uint64_t(before);
  summary.bytes_after = std::uint64_t(after);
  TRY_ASSIGN(summary.bits_per_weight, json_number_or(json, "bits_per_weight", 0, where));
  TRY_ASSIGN(summary.bits_per_quantized_weight,
             json_number_or(json, "bits_per_quantized_weight", 0, where));
  TRY_ASSIGN(summary.kv_scales, kv_scales_from_json(json.value("kv_scales", Json()), where));
  if (const auto it = json.find("calibration"); it != json.end()) {
    TRY_ASSIGN(summary.calibration, record_from_json(*it, where));
  }
  result.tensors = json.value("tensors", Json::array());
  for (const char* key : {"version", "instruction_set", "threads"})
    if (const auto it = json.find(key); it != json.end())
      result.machine[key] = *it;
  for (const Json& note : json.value("notes", Json::array()))
    if (note.is_string())
      summary.notes.push_back(note.get<std::string>());
  for (const Json& module : json.value("modules", Json::array()))
    if (module.is_object())
      summary.modules.push_back(module_from_json(module));
  std::error_code ignored;
  for (fs::recursive_directory_iterator it(folder, ignored), end; it != end; it.increment(ignored))
    if (it->is_regular_file(ignored))
      result.bytes += it->file_size(ignored);
  return result;
}

} // namespace bitlathe
