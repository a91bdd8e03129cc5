// SPDX-License-Identifier: Apache-2.0
// A kept result opened as a checkpoint: quantized modules from its folder, everything else from its
// source.
#include "core/job/result_store.h"
#include "core/model/assemble.h"
#include "core/model/content.h"

#include <algorithm>
#include <cstring>
#include <map>

namespace bitlathe {

namespace {

/// Other programs write files of that name too: the marker stands at the beginning of ours.
bool recognises(const fs::path& path) {
  return first_bytes(path / "result.json", 4096).find("\"bitlathe_result\"") != std::string::npos;
}

/// Results whose source is a result: a few are plausible, a circle is not.
constexpr int most_nested = 8;
thread_local int nested = 0;
struct Nesting {
  Nesting() { ++nested; }
  ~Nesting() { --nested; }
};

using Order = std::shared_ptr<const std::vector<std::int32_t>>;

/// Every column once.
Result<Order> read_order(std::span<const std::byte> bytes, std::int64_t cols,
                         const std::string& where) {
  std::vector<std::int32_t> order(bytes.size() / sizeof(std::int32_t));
  std::memcpy(order.data(), bytes.data(), order.size() * sizeof(std::int32_t));
  std::vector<bool> seen(order.size());
  bool good = std::int64_t(order.size()) == cols;
  for (const std::int32_t column : order) {
    good = good && column >= 0 && column < cols && !seen[std::size_t(column)];
    if (good)
      seen[std::size_t(column)] = true;
  }
  if (!good)
    return Error{"bad-file", "The order of columns does not name every column once", where};
  return Order(std::make_shared<const std::vector<std::int32_t>>(std::move(order)));
}

Result<QTensor> read_tensor(const fs::path& file, const Json& entry, const std::string& where) {
  QTensor tensor;
  TRY_ASSIGN(const std::string scheme, json_string(entry, "scheme", where));
  TRY_ASSIGN(tensor.scheme, parse_scheme(scheme));
  TRY_ASSIGN(tensor.rows, json_int(entry, "rows", where));
  TRY_ASSIGN(tensor.cols, json_int(entry, "cols", where));
  TRY_ASSIGN(const SafetensorsFile stored, read_safetensors(file));
  for (const StoredTensor& part : stored.tensors) {
    if (part.name == "column_order") {
      TRY_ASSIGN(tensor.column_order, read_order(part.data, tensor.cols, file.string()));
      continue;
    }
    (part.name == "codes"    ? tensor.codes
     : part.name == "scales" ? tensor.scales
     : part.name == "nested" ? tensor.nested
                             : tensor.zeros) = part.data;
    tensor.keep_alive = part.file;
  }
  if (tensor.rows < 0 || tensor.cols < 0)
    return Error{"bad-file", "Negative shape", where};
  const auto expected = tensor.scheme.family->bytes(tensor.scheme, tensor.rows, tensor.cols);
  if (tensor.codes.size() != expected.codes || tensor.scales.size() != expected.scales ||
      tensor.zeros.size() != expected.zeros || tensor.nested.size() != expected.nested)
    return Error{"bad-file", "The stored parts do not have the size their scheme needs",
                 file.string()};
  return tensor;
}

Result<std::shared_ptr<Checkpoint>> open(const fs::path& path) {
  const std::string where = (path / "result.json").string();
  TRY_ASSIGN(const KeptResult kept, read_result(path));
  const Nesting nesting;
  if (nested > most_nested)
    return Error{"bad-file", "The result is made from a result, and so on without an end", where};
  auto source = open_checkpoint(kept.source);
  if (!source)
    return Error{source.error().code,
                 "The checkpoint this result was made from cannot be opened: " +
                     source.error().message,
                 source.error().where.empty() ? kept.source.string() : source.error().where};
  // Freshly opened and shared with nobody.
  auto checkpoint = std::const_pointer_cast<Checkpoint>(*source);
  std::map<std::string_view, Module*> by_name;
  for (Module& module : checkpoint->modules)
    by_name.emplace(module.name, &module);
  for (const Json& entry : kept.tensors) {
    TRY_ASSIGN(const std::string name, json_string(entry, "module", where));
    TRY_ASSIGN(const std::string file, json_string(entry, "file", where));
    const auto known = by_name.find(name);
    Module* module = known == by_name.end() ? nullptr : known->second;
    if (!module)
      return Error{"mismatch", "The source checkpoint has no module \"" + name + "\"", where};
    if (file.find('/') != std::string::npos)
      return Error{"bad-file", "A tensor file lies outside the result", where};
    TRY_ASSIGN(QTensor tensor, read_tensor(path / "tensors" / file, entry, where));
    TRY_ASSIGN(const std::string part, json_string_or(entry, "part", "weight", where));
    if (part == "bias") {
      if (tensor.rows != 1 || tensor.cols != module->bias.cols)
        return Error{"mismatch", "The bias of \"" + name + "\" has another length", where};
      module->bias = std::move(tensor);
      continue;
    }
    if (tensor.rows != module->weight.rows || tensor.cols != module->weight.cols)
      return Error{"mismatch", "The source checkpoint has another shape for \"" + name + "\"",
                   where};
    module->weight = std::move(tensor);
    TRY_ASSIGN(module->activations, json_string_or(entry, "activations", "none", where));
    TRY_ASSIGN(const double scale, json_number_or(entry, "activation_scale", 0, where));
    TRY_ASSIGN(const double threshold, json_number_or(entry, "outlier_threshold", 0, where));
    module->activation_scale = float(scale);
    module->outlier_threshold = float(threshold);
  }
  const auto embedding =
      std::find_if(checkpoint->modules.begin(), checkpoint->modules.end(),
                   [](const Module& module) { return module.part == "embedding"; });
  for (Module& head : checkpoint->modules) // a tied head follows its embedding
    if (head.tied_to_embedding && embedding != checkpoint->modules.end())
      head.weight = view_of(embedding->weight);
  checkpoint->path = path;
  checkpoint->format = "result";
  checkpoint->kv_keys = kept.recipe.kv_keys;
  checkpoint->kv_values = kept.recipe.kv_values;
  if (!kept.summary.kv_scales.empty()) // else those of the source still hold
    checkpoint->kv_scales = kept.summary.kv_scales;
  return checkpoint;
}

} // namespace

extern const CheckpointReader checkpoint_reader_result;
const CheckpointReader checkpoint_reader_result{
    "result", "A kept quantization result of this program.", recognises, open};

} // namespace bitlathe
