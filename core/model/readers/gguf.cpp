// SPDX-License-Identifier: Apache-2.0
// GGUF files, whole or split into parts. Tensors keep their blocks; rows that files keep in another
// order are seen in Hugging Face order through QTensor::row_order.
#include "core/arch/rope.h"
#include "core/model/assemble.h"
#include "core/model/content.h"
#include "core/text/tokenizer.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

namespace bitlathe {

namespace {

/// The model file of a folder: its only .gguf, or the first part of its only split model.
fs::path model_file(const fs::path& path) {
  std::error_code failed;
  if (!fs::is_directory(path, failed))
    return path;
  std::vector<fs::path> found;
  for (fs::directory_iterator it(path, failed), end; !failed && it != end; it.increment(failed)) {
    const auto split = split_name(it->path());
    if (it->path().extension() == ".gguf" && (!split || split->part == 1))
      found.push_back(it->path());
  }
  return found.size() == 1 ? found.front() : fs::path();
}

bool recognises(const fs::path& path) { return first_bytes(model_file(path), 4) == "GGUF"; }

std::int64_t split_number(const GgufFile& file, const char* key, std::int64_t otherwise) {
  const auto* value = find(file.metadata, key);
  return value ? value->as_int().value_or(otherwise) : otherwise;
}

/// The whole of a model, whichever of its parts `path` is. The metadata are those of part 1.
Result<GgufFile> read_parts(const fs::path& path) {
  TRY_ASSIGN(GgufFile opened, read_gguf(path));
  const auto parts = split_number(opened, "split.count", 1);
  if (parts <= 1)
    return opened;
  const auto name = split_name(path);
  if (!name || name->parts != parts)
    return Error{"bad-file",
                 "This is one of " + std::to_string(parts) +
                     " files that make up a model; its name must end in -0000N-of-" +
                     std::to_string(parts) + ".gguf (five digits) for the others to be found",
                 path.string()};
  GgufFile whole;
  for (int part = 1; part <= name->parts; ++part) {
    const auto at = path.parent_path() / part_name(*name, part, ".gguf");
    auto read = part == name->part ? Result<GgufFile>(std::move(opened)) : read_gguf(at);
    if (!read && read.error().code == "not-found")
      return Error{"not-found",
                   "Part " + std::to_string(part) + " of " + std::to_string(parts) +
                       " of this model is missing",
                   at.string()};
    if (!read)
      return std::move(read.error());
    if (split_number(*read, "split.count", 1) != parts ||
        split_number(*read, "split.no", part - 1) != part - 1)
      return Error{"bad-file",
                   "This file says that it is part " +
                       std::to_string(split_number(*read, "split.no", 0) + 1) + " of " +
                       std::to_string(split_number(*read, "split.count", 1)) +
                       ", which does not fit its name",
                   at.string()};
    if (part == 1) {
      whole = std::move(*read);
      continue;
    }
    std::move(read->tensors.begin(), read->tensors.end(), std::back_inserter(whole.tensors));
  }
  std::set<std::string_view> seen;
  for (const auto& tensor : whole.tensors)
    if (!seen.insert(tensor.name).second)
      return Error{"bad-file", "Tensor \"" + tensor.name + "\" is in two parts", path.string()};
  const auto total = split_number(whole, "split.tensors.count", std::int64_t(whole.tensors.size()));
  if (total != std::int64_t(whole.tensors.size()))
    return Error{"bad-file",
                 "The parts hold " + std::to_string(whole.tensors.size()) + " tensors instead of " +
                     std::to_string(total),
                 path.string()};
  return whole;
}

/// Gives a weight the row order of Hugging Face. Matrices stay mapped and only learn the order;
/// vectors (biases) are copied.
void unpermute(QTensor& tensor, const ModuleName& name) {
  const bool vector = tensor.rows == 1;
  const auto rows = vector ? tensor.cols : tensor.rows;
  if (rows <= 0 || rows > INT32_MAX || name.shape.empty() || rows != name.shape[0])
    return; // a wrong shape is reported later
  auto order = std::make_shared<std::vector<std::int32_t>>(std::size_t(rows));
  for (std::int64_t row = 0; row < rows; ++row) {
    const auto hf_row = name.hf_row_of_gguf(row);
    if (hf_row < 0 || hf_row >= rows)
      return;
    (*order)[std::size_t(hf_row)] = std::int32_t(row);
  }
  if (!vector) {
    tensor.row_order = std::move(order);
    return;
  }
  if (tensor.scheme.quantized)
    return; // no container stores biases in blocks; attach_bias() and the shapes decide
  const auto bytes = tensor.codes.size() / std::size_t(rows);
  tensor.owned_codes.resize(tensor.codes.size());
  for (std::int64_t row = 0; row < rows; ++row)
    std::memcpy(tensor.owned_codes.data() + std::size_t(row) * bytes,
                tensor.codes.data() + std::size_t((*order)[std::size_t(row)]) * bytes, bytes);
  tensor.keep_alive.reset();
  tensor.own();
}

/// The values of a vector minus what GGUF files add to them.
void subtract(QTensor& tensor, float offset) {
  std::vector<float> values(std::size_t(tensor.cols));
  const auto view = tensor.view();
  view.layout->decode(view, 0, 0, tensor.cols, values.data());
  QTensor out;
  out.scheme = float_scheme(FloatType::f32);
  out.rows = 1;
  out.cols = tensor.cols;
  out.owned_codes.resize(values.size() * sizeof(float));
  for (std::int64_t i = 0; i < tensor.cols; ++i)
    store_float(FloatType::f32, out.owned_codes.data(), i, values[std::size_t(i)] - offset);
  out.own();
  tensor = std::move(out);
}

bool split_suffix(const std::string& name, std::string& stem, std::string& suffix) {
  const auto dot = name.rfind('.');
  if (dot == std::string::npos)
    return false;
  stem = name.substr(0, dot);
  suffix = name.substr(dot + 1);
  return suffix == "weight" || suffix == "bias";
}

Result<std::shared_ptr<Checkpoint>> open(const fs::path& given) {
  const auto path = model_file(given);
  auto checkpoint = std::make_shared<Checkpoint>();
  TRY_ASSIGN(GgufFile file, read_parts(path));
  const auto where = path.string();
  checkpoint->path = given;
  checkpoint->format = "gguf";
  const auto split = split_name(path);
  checkpoint->name = split ? split->base : path.stem().string();

  const auto text = [&](const char* key) {
    const auto* value = find(file.metadata, key);
    return value ? value->as_string().value_or("") : std::string();
  };
  const auto kind = text("general.type");
  if (!kind.empty() && kind != "model")
    return Error{"bad-file", "This GGUF holds no model but: " + kind, where};

  const Arch* arch = nullptr;
  for (const Arch* candidate : all_archs())
    if (candidate->match_gguf(file.metadata))
      arch = candidate;
  checkpoint->config = Json{{"model_type", text("general.architecture")}};
  std::map<std::string, ModuleName> by_stem;
  if (file.tensors.empty()) {
    checkpoint->why_not_runnable = "The file holds a vocabulary only, and no tensors";
  } else if (arch) {
    auto config = arch->config_from_gguf(file);
    if (!config) {
      checkpoint->why_not_runnable = config.error().text();
    } else {
      checkpoint->config = std::move(*config);
      const auto spec = arch->spec(checkpoint->config, where);
      if (spec && spec->layers <= std::int64_t(file.tensors.size())) {
        for (auto& name : arch->modules(*spec))
          by_stem.emplace(name.gguf, name);
      }
    }
  }

  auto tokenizer = Tokenizer::from_gguf(file.metadata, where);
  if (tokenizer) {
    checkpoint->tokenizer = std::move(*tokenizer);
    for (auto& note : checkpoint->tokenizer->notes())
      checkpoint->notes.push_back(std::move(note));
  } else {
    checkpoint->tokenizer_problem = tokenizer.error().text();
  }

  std::vector<Module> found;
  std::map<std::string, std::size_t> index;
  std::vector<StoredTensor> tensors; // under Hugging Face names
  for (const bool biases : {false, true})
    for (const auto& stored : file.tensors) {
      std::string stem, suffix;
      const bool named = split_suffix(stored.name, stem, suffix);
      if ((named && suffix == "bias") != biases)
        continue;
      if (is_rope_tensor(stored.name) && checkpoint->config.contains("rope_scaling"))
        continue; // read into the configuration
      const auto known = by_stem.find(stem);
      const auto* name = named && known != by_stem.end() ? &known->second : nullptr;
      StoredTensor tensor = stored;
      if (name)
        tensor.name = name->name + "." + suffix;
      QTensor weight = plain_weight(tensor);
      if (name && name->hf_row_of_gguf && weight.scheme.family)
        unpermute(weight, *name);
      if (name && name->gguf_offset != 0 && weight.scheme.family && weight.rows == 1)
        subtract(weight, name->gguf_offset);
      const auto module_name = tensor.name.substr(0, tensor.name.rfind('.'));
      if (named && !biases) {
        Module module;
        module.name = module_name;
        module.shape = tensor.shape;
        module.weight = std::move(weight);
        index.emplace(module.name, found.size());
        found.push_back(std::move(module));
      } else {
        const auto it = named ? index.find(module_name) : index.end();
        if (it == index.end() || !attach_bias(found[it->second], std::move(weight)))
          checkpoint->others.push_back(tensor);
      }
      tensors.push_back(std::move(tensor));
    }
  checkpoint->gguf = std::move(file.metadata);
  assemble(*checkpoint, std::move(found), tensors, where);
  return checkpoint;
}

} // namespace

extern const CheckpointReader checkpoint_reader_gguf;
const CheckpointReader checkpoint_reader_gguf{
    "gguf", "A GGUF file of llama.cpp, whole or in parts.", recognises, open};

} // namespace bitlathe
