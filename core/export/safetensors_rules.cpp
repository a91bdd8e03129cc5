// SPDX-License-Identifier: Apache-2.0
// The rules of the safetensors container and of the folders around it.
#include "core/export/rules.h"
#include "core/export/tensors.h"
#include "core/io/utf8.h"
#include "core/model/content.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <tuple>

namespace bitlathe {

namespace {

constexpr std::uint64_t most_header = 100'000'000;

bool ends_with(std::string_view text, std::string_view tail) {
  return text.size() >= tail.size() && text.substr(text.size() - tail.size()) == tail;
}

/// Elements times bits, or nullopt when that has no size.
std::optional<std::uint64_t> bytes_of(const RawTensor& tensor) {
  std::uint64_t bits = std::uint64_t(safetensors_dtype_bits(tensor.dtype));
  if (bits == 0)
    return std::nullopt;
  for (const auto n : tensor.shape)
    if (n < 0 || __builtin_mul_overflow(bits, std::uint64_t(n), &bits))
      return std::nullopt;
  return bits % 8 == 0 ? std::optional(bits / 8) : std::nullopt;
}

/// One entry of the header; the reason when it is malformed.
std::string read_entry(const Json& entry, RawTensor& out) {
  if (!entry.is_object() || !entry.contains("dtype") || !entry["dtype"].is_string() ||
      !entry.contains("shape") || !entry["shape"].is_array() || !entry.contains("data_offsets") ||
      !entry["data_offsets"].is_array() || entry["data_offsets"].size() != 2)
    return "has no dtype, shape and data_offsets";
  out.dtype = entry["dtype"].get<std::string>();
  for (const Json& n : entry["shape"]) {
    if (!n.is_number_unsigned())
      return "has a shape that is no list of counts";
    out.shape.push_back(n.get<std::int64_t>());
  }
  const Json& offsets = entry["data_offsets"];
  if (!offsets[0].is_number_unsigned() || !offsets[1].is_number_unsigned())
    return "has data_offsets that are no positions";
  out.begin = offsets[0].get<std::uint64_t>();
  out.end = offsets[1].get<std::uint64_t>();
  if (safetensors_dtype_bits(out.dtype) == 0)
    return "has the unknown dtype " + out.dtype;
  const auto bytes = bytes_of(out);
  if (out.end < out.begin || !bytes || *bytes != out.end - out.begin)
    return "takes " + std::to_string(out.end - out.begin) + " bytes, which does not fit its " +
           out.dtype + " shape";
  return {};
}

void check_layout(const RawSafetensors& file, std::uint64_t data, RuleProblems& problems) {
  std::vector<std::tuple<std::uint64_t, std::uint64_t, std::string>> ranges;
  for (const auto& [name, tensor] : file.tensors)
    ranges.emplace_back(tensor.begin, tensor.end, name);
  std::sort(ranges.begin(), ranges.end());
  std::uint64_t at = 0;
  for (const auto& [begin, end, name] : ranges) {
    if (begin > at)
      problems.add("there is a hole of " + std::to_string(begin - at) + " bytes before " + name);
    else if (begin < at)
      problems.add(name + " overlaps the tensor before it");
    at = std::max(at, end);
  }
  if (at > data)
    problems.add("the file is cut off: its data ends " + std::to_string(at - data) +
                 " bytes too early");
  else if (at < data)
    problems.add(std::to_string(data - at) + " bytes follow the last tensor");
}

/// What a configuration needs next to the tensors of a quantized module.
constexpr std::array<std::string_view, 7> packed_suffixes{
    ".qweight",          ".weight_packed", ".SCB",   ".weight_scale",
    ".weight_scale_inv", ".absmax",        ".scales"};

void check_config(const RawFolder& folder, std::vector<VerifyCheck>& checks) {
  RuleProblems problems;
  const Json& config = folder.config;
  if (!config.is_object()) {
    problems.add("there is no config.json that can be read, so nobody can run the model");
  } else {
    const bool named = config.contains("architectures") || config.contains("model_type");
    if (!named)
      problems.add("config.json names no architecture");
    std::vector<std::string> packed;
    for (const auto& [name, tensor] : folder.tensors)
      for (const auto suffix : packed_suffixes)
        if (ends_with(name, suffix)) {
          packed.push_back(name);
          break;
        }
    const bool says = config.contains("quantization_config") || config.contains("quantization") ||
                      config.contains("compression_config");
    if (!packed.empty() && !says)
      problems.add("there are quantized tensors, but config.json has no quantization_config: " +
                   name_list(packed, 2));
    for (const char* key : {"quantization_config", "compression_config"})
      if (const auto it = config.find(key);
          it != config.end() && !it->is_null() &&
          (!it->is_object() || (!it->contains("quant_method") && !config.contains("quantization") &&
                                !it->contains("bits"))))
        problems.add(std::string(key) + " has no quant_method");
    const auto tied = config.find("tie_word_embeddings");
    const bool embedding =
        std::any_of(folder.tensors.begin(), folder.tensors.end(), [](const auto& entry) {
          return ends_with(entry.first, "embed_tokens.weight") ||
                 ends_with(entry.first, "wte.weight") || ends_with(entry.first, "embed_in.weight");
        });
    for (const char* head : {"lm_head.weight", "embed_out.weight"})
      if (tied != config.end() && tied->is_boolean() && tied->get<bool>() && embedding &&
          folder.tensors.count(head) > 0)
        problems.add(std::string(head) +
                     " is stored although tie_word_embeddings says that the embedding is used for "
                     "it: tied weights are stored once");
  }
  checks.push_back(problems.check("config", "config.json and the tensors agree"));
}

/// model.safetensors, or the files of an index with all that is in them.
void check_index(const fs::path& folder, const std::map<std::string, RawSafetensors>& files,
                 std::vector<VerifyCheck>& checks) {
  RuleProblems problems;
  const auto path = folder / "model.safetensors.index.json";
  const auto index = read_json_file(path);
  const auto map = index && index->is_object() ? index->find("weight_map") : Json::const_iterator();
  if (!index || !index->is_object() || map == index->end() || !map->is_object()) {
    problems.add("model.safetensors.index.json has no weight_map");
  } else {
    std::set<std::string> listed;
    std::map<std::string, std::string> seen;
    std::uint64_t total = 0;
    for (const auto& [tensor, file] : map->items()) {
      if (!file.is_string()) {
        problems.add("the index names no file for " + tensor);
        continue;
      }
      const auto name = file.get<std::string>();
      listed.insert(name);
      const auto it = files.find(name);
      if (it == files.end())
        problems.add("the index names " + name + ", which is not there");
      else if (it->second.tensors.count(tensor) == 0)
        problems.add(tensor + " is not in " + name + ", where the index has it");
    }
    for (const auto& [name, file] : files) {
      if (listed.count(name) == 0) {
        problems.add(name + " is a stale file: the index does not list it, but some loaders take "
                            "every file");
        continue;
      }
      for (const auto& [tensor, raw] : file.tensors) {
        total += raw.end - raw.begin;
        if (!map->contains(tensor))
          problems.add(tensor + " of " + name + " is not in the index");
        if (const auto first = seen.emplace(tensor, name); !first.second)
          problems.add(tensor + " is in " + first.first->second + " and in " + name);
      }
    }
    const auto meta = index->find("metadata");
    if (problems.list.empty() && meta != index->end() && meta->is_object() &&
        meta->contains("total_size") && (*meta)["total_size"].is_number_unsigned() &&
        (*meta)["total_size"].get<std::uint64_t>() != total)
      problems.add("the index says " + (*meta)["total_size"].dump() +
                   " bytes of tensors, there are " + std::to_string(total));
  }
  // A list of all missing tensors says the same again and again.
  std::sort(problems.list.begin(), problems.list.end());
  problems.list.erase(std::unique(problems.list.begin(), problems.list.end()), problems.list.end());
  checks.push_back(problems.check("index", "the index and its files agree"));
}

} // namespace

VerifyCheck RuleProblems::check(std::string name, std::string good) const {
  return {std::move(name), list.empty(), list.empty() ? std::move(good) : name_list(list, 5)};
}

RawSafetensors read_raw_safetensors(const fs::path& path) {
  RawSafetensors out;
  RuleProblems problems;
  const auto file = MappedFile::open(path);
  if (!file) {
    out.problems.push_back(file.error().message);
    return out;
  }
  const auto bytes = (*file)->bytes();
  std::uint64_t length = 0;
  if (bytes.size() >= 8)
    std::memcpy(&length, bytes.data(), 8);
  if (bytes.size() < 8 || length > most_header || length > bytes.size() - 8) {
    out.problems.push_back(bytes.size() < 8       ? "the file has no header"
                           : length > most_header ? "the header is longer than 100000000 bytes"
                                                  : "the file ends inside its header");
    return out;
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data() + 8), length);
  if (text.empty() || text.front() != '{' || !is_utf8(text)) {
    out.problems.push_back("the header is no JSON object in UTF-8");
    return out;
  }
  std::set<std::string> names;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& value) {
    if (event == Json::parse_event_t::key && depth == 1 &&
        !names.insert(value.get<std::string>()).second)
      problems.add(value.get<std::string>() + " is in the header twice");
    return true;
  };
  const Json header = Json::parse(text, watch, false);
  if (!header.is_object()) {
    out.problems.push_back("the header is no JSON object");
    return out;
  }
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      for (const auto& [key, value] : entry.items())
        if (value.is_string())
          out.metadata[key] = value.get<std::string>();
        else
          problems.add("the metadata \"" + key + "\" is no text");
      continue;
    }
    RawTensor tensor;
    if (const auto why = read_entry(entry, tensor); !why.empty())
      problems.add(name + " " + why);
    else
      out.tensors.emplace(name, std::move(tensor));
  }
  // Sizes of tensors that could not be read are not known.
  if (problems.list.empty())
    check_layout(out, bytes.size() - 8 - length, problems);
  out.problems.insert(out.problems.end(), problems.list.begin(), problems.list.end());
  return out;
}

RawFolder read_raw_folder(const fs::path& path) {
  RawFolder out;
  std::map<std::string, RawSafetensors> files;
  std::error_code failed;
  const bool folder = fs::is_directory(path, failed);
  if (!folder)
    files[path.filename().string()] = read_raw_safetensors(path);
  else
    for (fs::directory_iterator it(path, failed), end; !failed && it != end; it.increment(failed))
      if (it->path().extension() == ".safetensors")
        files[it->path().filename().string()] = read_raw_safetensors(it->path());

  RuleProblems container;
  std::size_t count = 0;
  bool unnamed = false;
  for (const auto& [name, file] : files) {
    count += file.tensors.size();
    for (const auto& problem : file.problems)
      container.add(name + ": " + problem);
    const auto format = file.metadata.find("format");
    static constexpr std::array<std::string_view, 4> known{"pt", "tf", "flax", "mlx"};
    unnamed = unnamed || (file.problems.empty() &&
                          (format == file.metadata.end() ||
                           std::find(known.begin(), known.end(), format->second) == known.end()));
  }
  if (files.empty())
    container.add("there is no safetensors file");
  out.checks.push_back(
      container.check("container", std::to_string(files.size()) + " files are whole, " +
                                       std::to_string(count) + " tensors" +
                                       (unnamed ? "; no \"format\" in the metadata, "
                                                  "which transformers before 5 wants"
                                                : "")));
  const bool indexed = folder && fs::exists(path / "model.safetensors.index.json", failed);
  if (indexed)
    check_index(path, files, out.checks);
  const bool whole = files.count("model.safetensors") > 0;
  for (const auto& [name, file] : files)
    if (indexed || !whole || name == "model.safetensors")
      out.tensors.insert(file.tensors.begin(), file.tensors.end());
  if (folder && !indexed && whole)
    for (const auto& [name, file] : files)
      if (name.rfind("model-", 0) == 0 && name.find("-of-") != std::string::npos)
        out.checks.push_back({"index", false,
                              name + " is a stale file beside model.safetensors: there is no index "
                                     "that lists it"});
  if (!folder)
    return out;
  if (auto config = read_json_file(path / "config.json"))
    out.config = std::move(*config);
  check_config(out, out.checks);
  return out;
}

std::string claimed_format(const fs::path& path) {
  std::error_code failed;
  if (!fs::is_directory(path, failed)) {
    const auto kind = content_kind(path);
    return kind == "gguf" || path.extension() == ".gguf"                 ? "gguf"
           : kind == "safetensors" || path.extension() == ".safetensors" ? "safetensors"
                                                                         : "";
  }
  bool gguf = false, safetensors = false;
  for (fs::directory_iterator it(path, failed), end; !failed && it != end; it.increment(failed)) {
    gguf = gguf || it->path().extension() == ".gguf";
    safetensors = safetensors || it->path().extension() == ".safetensors";
  }
  if (gguf && !safetensors)
    return "gguf";
  if (!safetensors)
    return {};
  const auto config = read_json_file(path / "config.json");
  if (!config || !config->is_object())
    return "safetensors";
  for (const char* key : {"quantization_config", "compression_config"})
    if (const auto it = config->find(key); it != config->end() && it->is_object()) {
      const auto method = it->find("quant_method");
      if (method == it->end() || !method->is_string())
        continue;
      if (*method == "bitsandbytes")
        return "bnb";
      if (find_exporter(method->get<std::string>()))
        return method->get<std::string>();
    }
  return config->contains("quantization") ? "mlx" : "safetensors";
}

std::vector<VerifyCheck> loader_rules(const fs::path& path, const Exporter* exporter) {
  std::vector<VerifyCheck> checks;
  const auto format = claimed_format(path);
  if (!format.empty() && format != "gguf")
    checks = read_raw_folder(path).checks;
  if (exporter && exporter->rules) {
    auto more = exporter->rules(path);
    std::move(more.begin(), more.end(), std::back_inserter(checks));
  }
  return checks;
}

} // namespace bitlathe
