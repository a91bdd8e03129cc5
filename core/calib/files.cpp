// SPDX-License-Identifier: Apache-2.0
// Files of activation statistics. The project's own is a safetensors file with exact sums; the
// other two are llama.cpp's importance matrices (common/imatrix-loader.cpp), which hold mean
// squares.
#include "core/calib/statistics.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace bitlathe {

namespace {

constexpr std::string_view own_format = "bitlathe-activation-statistics";
constexpr std::string_view kv_tensor = "/kv_absmax"; ///< belongs to no module

/// GGUF tensor names and module names, both ways round.
struct Names {
  std::vector<std::pair<std::string, std::string>> pairs; ///< module, tensor

  static Result<Names> of(const Checkpoint& checkpoint) {
    const Arch* arch = find_arch(checkpoint.architecture);
    if (!arch || !checkpoint.spec)
      return Error{"unsupported",
                   "Importance matrices name tensors as GGUF does, which is not known for the "
                   "architecture \"" +
                       checkpoint.architecture + "\"",
                   checkpoint.path.string()};
    Names out;
    for (const ModuleName& name : arch->modules(*checkpoint.spec))
      out.pairs.emplace_back(name.name, name.gguf + ".weight");
    return out;
  }
  std::string tensor_of(const std::string& module) const {
    for (const auto& [m, t] : pairs)
      if (m == module)
        return t;
    return {};
  }
  std::string module_of(const std::string& tensor) const {
    for (const auto& [m, t] : pairs)
      if (t == tensor)
        return m;
    return {};
  }
};

TensorToWrite to_write(std::string name, std::string dtype, std::vector<std::int64_t> shape,
                       std::span<const std::byte> bytes) {
  TensorToWrite out;
  out.name = std::move(name);
  out.dtype = std::move(dtype);
  out.shape = std::move(shape);
  out.bytes = bytes.size();
  out.write = [bytes](OutputFile& file) { return file.write(bytes); };
  return out;
}

template <class T> std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

// ---- own

/// The numbers of one module that are not per column.
struct Scalars {
  std::vector<std::uint64_t> counts; ///< tokens, values, NaN, infinite, zeros
  std::vector<double> moments;       ///< min, max, absmax, four power sums, histogram range,
                                     ///< averages of minimum and maximum
};

Result<void> write_own(const fs::path& path, const ActivationStatistics& statistics) {
  std::vector<TensorToWrite> tensors;
  std::vector<std::unique_ptr<Scalars>> scalars; // alive until the file is written
  for (const auto& [name, m] : statistics.modules) {
    auto& s = *scalars.emplace_back(std::make_unique<Scalars>());
    s.counts = {m.tokens, m.moments.count, m.moments.nan, m.moments.inf, m.moments.zeros};
    s.moments = {double(m.moments.min), double(m.moments.max), double(m.moments.absmax),
                 m.moments.sum,         m.moments.sum2,        m.moments.sum3,
                 m.moments.sum4,        m.histogram_lo,        m.histogram_hi,
                 m.average_min,         m.average_max};
    const auto add = [&, &module = name](const char* part, const char* dtype, std::size_t size,
                                         std::span<const std::byte> bytes) {
      if (size > 0)
        tensors.push_back(to_write(module + "/" + part, dtype, {std::int64_t(size)}, bytes));
    };
    add("counts", "U64", s.counts.size(), bytes_of(s.counts));
    add("moments", "F64", s.moments.size(), bytes_of(s.moments));
    add("min", "F32", m.channel_min.size(), bytes_of(m.channel_min));
    add("max", "F32", m.channel_max.size(), bytes_of(m.channel_max));
    add("sum", "F64", m.channel_sum.size(), bytes_of(m.channel_sum));
    add("sum2", "F64", m.channel_sum2.size(), bytes_of(m.channel_sum2));
    add("histogram", "U64", m.histogram.size(), bytes_of(m.histogram));
  }
  if (!statistics.kv_absmax.empty())
    tensors.push_back(to_write(std::string(kv_tensor), "F32",
                               {std::int64_t(statistics.kv_absmax.size()), 2},
                               bytes_of(statistics.kv_absmax)));
  const std::map<std::string, std::string> metadata{
      {"format", std::string(own_format)},
      {"version", "1"},
      {"samples", std::to_string(statistics.samples)},
      {"tokens", std::to_string(statistics.tokens)},
      {"length", std::to_string(statistics.length)},
      {"calibration",
       record_to_json(statistics.record).dump(-1, ' ', false, Json::error_handler_t::replace)},
      {"sources", Json(statistics.sources).dump(-1, ' ', false, Json::error_handler_t::replace)}};
  return write_safetensors(path, std::move(tensors), metadata);
}

template <class T>
Result<void> take(const StoredTensor& tensor, std::string_view dtype, std::vector<T>& out,
                  const std::string& where) {
  if (tensor.dtype != dtype || tensor.data.size() % sizeof(T) != 0)
    return Error{"bad-file", tensor.name + " must be of the type " + std::string(dtype), where};
  out.resize(tensor.data.size() / sizeof(T));
  if (!out.empty())
    std::memcpy(out.data(), tensor.data.data(), tensor.data.size());
  return {};
}

std::int64_t number_in(const std::map<std::string, std::string>& metadata, const char* key) {
  const auto it = metadata.find(key);
  return it == metadata.end() ? 0 : std::max<std::int64_t>(0, std::atoll(it->second.c_str()));
}

Result<ActivationStatistics> read_own(const fs::path& path) {
  const std::string where = path.string();
  TRY_ASSIGN(const SafetensorsFile file, read_safetensors(path));
  const auto format = file.metadata.find("format");
  if (format == file.metadata.end() || format->second != own_format)
    return Error{"bad-file", "The file holds tensors, but no activation statistics", where};
  if (number_in(file.metadata, "version") != 1)
    return Error{"unsupported", "The statistics were written by a newer version", where};
  ActivationStatistics out;
  out.samples = number_in(file.metadata, "samples");
  out.tokens = number_in(file.metadata, "tokens");
  out.length = number_in(file.metadata, "length");
  if (const auto sources = file.metadata.find("sources"); sources != file.metadata.end()) {
    TRY_ASSIGN(const Json list, parse_json(sources->second, where));
    for (const auto& source : list)
      if (source.is_string())
        out.sources.push_back(source.get<std::string>());
  }
  if (const auto text = file.metadata.find("calibration"); text != file.metadata.end()) {
    TRY_ASSIGN(const Json json, parse_json(text->second, where));
    TRY_ASSIGN(out.record, record_from_json(json, where));
  }
  for (const StoredTensor& tensor : file.tensors) {
    if (tensor.name == kv_tensor) {
      TRY(take(tensor, "F32", out.kv_absmax, where));
      continue;
    }
    const auto slash = tensor.name.rfind('/');
    if (slash == std::string::npos)
      return Error{"bad-file", "Unexpected tensor " + tensor.name, where};
    const std::string part = tensor.name.substr(slash + 1);
    ActivationModule& m = out.modules[tensor.name.substr(0, slash)];
    m.name = tensor.name.substr(0, slash);
    if (part == "counts") {
      std::vector<std::uint64_t> v;
      TRY(take(tensor, "U64", v, where));
      if (v.size() != 5)
        return Error{"bad-file", tensor.name + " must have 5 values", where};
      m.tokens = v[0];
      m.moments.count = v[1];
      m.moments.nan = v[2];
      m.moments.inf = v[3];
      m.moments.zeros = v[4];
    } else if (part == "moments") {
      std::vector<double> v;
      TRY(take(tensor, "F64", v, where));
      if (v.size() != 9 && v.size() != 11) // the last two are newer
        return Error{"bad-file", tensor.name + " must have 9 or 11 values", where};
      m.moments.min = float(v[0]);
      m.moments.max = float(v[1]);
      m.moments.absmax = float(v[2]);
      m.moments.sum = v[3];
      m.moments.sum2 = v[4];
      m.moments.sum3 = v[5];
      m.moments.sum4 = v[6];
      m.histogram_lo = v[7];
      m.histogram_hi = v[8];
      if (v.size() == 11) {
        m.average_min = v[9];
        m.average_max = v[10];
      }
    } else if (part == "min") {
      TRY(take(tensor, "F32", m.channel_min, where));
    } else if (part == "max") {
      TRY(take(tensor, "F32", m.channel_max, where));
    } else if (part == "sum") {
      TRY(take(tensor, "F64", m.channel_sum, where));
    } else if (part == "sum2") {
      TRY(take(tensor, "F64", m.channel_sum2, where));
    } else if (part == "histogram") {
      TRY(take(tensor, "U64", m.histogram, where));
    } else {
      return Error{"bad-file", "Unexpected tensor " + tensor.name, where};
    }
  }
  for (const auto& [name, m] : out.modules) {
    const std::size_t n = m.channel_sum2.size();
    if (n == 0 || m.channel_min.size() != m.channel_max.size() ||
        (!m.channel_min.empty() && m.channel_min.size() != n) ||
        (!m.channel_sum.empty() && m.channel_sum.size() != n))
      return Error{"bad-file", "The statistics of " + name + " are incomplete", where};
    const bool range = std::isfinite(m.moments.min) && std::isfinite(m.moments.max) &&
                       m.moments.min <= m.moments.max && std::isfinite(m.histogram_lo) &&
                       std::isfinite(m.histogram_hi) && m.histogram_lo <= m.histogram_hi;
    if (m.moments.count > 0 && !range)
      return Error{"bad-file", "The statistics of " + name + " hold no range of finite numbers",
                   where};
  }
  return out;
}

// ---- importance matrices

std::vector<std::string> datasets(const ActivationStatistics& statistics) {
  return statistics.sources.empty() ? std::vector<std::string>{"unknown"} : statistics.sources;
}

Result<void> write_imatrix_gguf(const fs::path& path, const ActivationStatistics& statistics,
                                const Names& names) {
  const GgufMetadata metadata{
      {"general.type", GgufValue::string("imatrix")},
      {"imatrix.datasets", GgufValue::strings(datasets(statistics))},
      {"imatrix.chunk_count", GgufValue::u32(std::uint32_t(statistics.samples))},
      {"imatrix.chunk_size", GgufValue::u32(std::uint32_t(statistics.length))}};
  std::vector<TensorToWrite> tensors;
  std::vector<std::unique_ptr<std::vector<float>>> values; // alive until the file is written
  const auto add = [&](std::string name, std::vector<float> v) {
    const auto& kept = *values.emplace_back(std::make_unique<std::vector<float>>(std::move(v)));
    tensors.push_back(
        to_write(std::move(name), "f32", {std::int64_t(kept.size())}, bytes_of(kept)));
  };
  for (const auto& [name, m] : statistics.modules) {
    const std::string tensor = names.tensor_of(name);
    if (tensor.empty())
      continue;
    add(tensor + ".in_sum2", std::vector<float>(m.channel_sum2.begin(), m.channel_sum2.end()));
    add(tensor + ".counts", {float(m.tokens)});
  }
  return write_gguf(path, metadata, std::move(tensors));
}

template <class T> void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

Result<void> write_imatrix_dat(const fs::path& path, const ActivationStatistics& statistics,
                               const Names& names) {
  std::string body;
  std::int32_t entries = 0;
  const auto calls = std::int32_t(std::max<std::int64_t>(1, statistics.samples));
  for (const auto& [name, m] : statistics.modules) {
    const std::string tensor = names.tensor_of(name);
    if (tensor.empty())
      continue;
    ++entries;
    put(body, std::int32_t(tensor.size()));
    body += tensor;
    put(body, calls);
    put(body, std::int32_t(m.channel_sum2.size()));
    for (const double sum : m.channel_sum2)
      put(body, float(m.tokens > 0 ? sum / double(m.tokens) * calls : 0.0));
  }
  std::string dataset;
  for (const auto& source : datasets(statistics))
    dataset += (dataset.empty() ? "" : ",") + source;
  put(body, calls);
  put(body, std::int32_t(dataset.size()));
  body += dataset;
  std::string head;
  put(head, entries);
  return write_file(path, head + body);
}

/// Puts one entry under the module's name; `tensor` is the GGUF name.
Result<void> add_entry(ActivationStatistics& out, const Names& names, const std::string& tensor,
                       std::span<const float> mean_square, std::uint64_t tokens,
                       const std::string& where, std::vector<std::string>* notes) {
  for (const float v : mean_square)
    if (!(v >= 0) || !std::isfinite(v))
      return Error{"bad-file", "The importance of " + tensor + " has a negative or NaN entry",
                   where};
  const std::string module = names.module_of(tensor);
  if (module.empty()) {
    if (notes)
      notes->push_back(tensor + " names no module of this model and is ignored");
    return {};
  }
  ActivationModule& m = out.modules[module];
  m.name = module;
  m.tokens = tokens;
  m.channel_sum2.assign(mean_square.begin(), mean_square.end());
  for (double& v : m.channel_sum2)
    v *= double(std::max<std::uint64_t>(tokens, 1));
  return {};
}

Result<ActivationStatistics> read_imatrix_gguf(const fs::path& path, const Names& names,
                                               std::vector<std::string>* notes) {
  const std::string where = path.string();
  TRY_ASSIGN(const GgufFile file, read_gguf(path));
  const auto* type = find(file.metadata, "general.type");
  if (!type || type->as_string() != "imatrix")
    return Error{"bad-file", "This GGUF holds no importance matrix", where};
  ActivationStatistics out;
  const auto whole = [&](const char* key) {
    const auto* value = find(file.metadata, key);
    return value ? std::max<std::int64_t>(0, value->as_int().value_or(0)) : 0;
  };
  out.samples = whole("imatrix.chunk_count");
  out.length = whole("imatrix.chunk_size");
  out.tokens = out.samples * out.length;
  if (const auto* list = find(file.metadata, "imatrix.datasets"))
    if (const auto* array = std::get_if<std::shared_ptr<GgufArray>>(&list->value); array && *array)
      for (const GgufValue& value : **array)
        out.sources.push_back(value.as_string().value_or(""));

  constexpr std::string_view sums = ".in_sum2", counts = ".counts";
  for (const StoredTensor& tensor : file.tensors) {
    if (!tensor.name.ends_with(sums))
      continue;
    const std::string stem = tensor.name.substr(0, tensor.name.size() - sums.size());
    const auto count = std::find_if(file.tensors.begin(), file.tensors.end(), [&](const auto& t) {
      return t.name == stem + std::string(counts);
    });
    if (count == file.tensors.end())
      return Error{"bad-file", "The sums of " + stem + " have no counts", where};
    std::vector<float> sum, n;
    TRY(take(tensor, "f32", sum, where));
    TRY(take(*count, "f32", n, where));
    if (n.size() != 1) {
      if (notes)
        notes->push_back(stem + " is of " + std::to_string(n.size()) +
                         " experts, which cannot be used yet, and is ignored");
      continue;
    }
    const double tokens = std::nearbyint(double(n[0]));
    if (!(tokens >= 0) || tokens > 1e15)
      return Error{"bad-file", "The count of " + stem + " is not a number of tokens", where};
    for (float& v : sum)
      v = tokens > 0 ? float(double(v) / tokens) : 1.0f; // never seen: all equal
    TRY(add_entry(out, names, stem, sum, std::uint64_t(tokens), where, notes));
  }
  return out;
}

/// Reads fixed-size values and strings off the front of a buffer.
class Reader {
 public:
  explicit Reader(std::string_view data) : data_(data) {}
  bool take(std::int32_t& value) {
    if (data_.size() < sizeof(value))
      return false;
    std::memcpy(&value, data_.data(), sizeof(value));
    data_.remove_prefix(sizeof(value));
    return true;
  }
  bool take(std::int64_t size, std::string_view& bytes) {
    if (size < 0 || std::uint64_t(size) > data_.size())
      return false;
    bytes = data_.substr(0, std::size_t(size));
    data_.remove_prefix(std::size_t(size));
    return true;
  }
  bool empty() const { return data_.empty(); }

 private:
  std::string_view data_;
};

Result<ActivationStatistics> read_imatrix_dat(const fs::path& path, const Names& names,
                                              std::string_view content,
                                              std::vector<std::string>* notes) {
  const Error bad{"bad-file",
                  "The file is neither statistics of this project nor an importance matrix",
                  path.string()};
  Reader reader(content);
  ActivationStatistics out;
  std::int32_t entries = 0;
  if (!reader.take(entries) || entries < 1 || entries > 1'000'000)
    return bad;
  for (std::int32_t i = 0; i < entries; ++i) {
    std::int32_t length = 0, calls = 0, count = 0;
    std::string_view name, data;
    if (!reader.take(length) || length < 1 || length > 4096 || !reader.take(length, name) ||
        !reader.take(calls) || !reader.take(count) || count < 1 ||
        !reader.take(std::int64_t(count) * 4, data))
      return bad;
    std::vector<float> values(static_cast<std::size_t>(count));
    std::memcpy(values.data(), data.data(), data.size());
    if (calls > 0)
      for (float& v : values)
        v /= float(calls);
    TRY(add_entry(out, names, std::string(name), values, std::uint64_t(std::max(calls, 1)),
                  path.string(), notes));
  }
  std::int32_t chunks = 0, length = 0;
  std::string_view dataset;
  if (reader.take(chunks)) {
    out.samples = std::max(chunks, 0);
    if (reader.take(length) && reader.take(length, dataset) && !dataset.empty())
      out.sources.emplace_back(dataset);
  }
  return out;
}

/// Every entry must be as wide as its module; entries without a module are dropped with a note.
Result<void> match_modules(ActivationStatistics& statistics, const Checkpoint& checkpoint,
                           const fs::path& path, std::vector<std::string>* notes) {
  for (auto it = statistics.modules.begin(); it != statistics.modules.end();) {
    const Module* module = checkpoint.find_module(it->first);
    if (!module) {
      if (notes)
        notes->push_back(it->first + " is no module of this model and is ignored");
      it = statistics.modules.erase(it);
      continue;
    }
    const auto columns = std::int64_t(it->second.channel_sum2.size());
    if (module->weight.cols != columns && module->weight.cols > 0)
      return Error{"mismatch",
                   "The statistics of " + it->first + " have " + std::to_string(columns) +
                       " columns, the module has " + std::to_string(module->weight.cols) +
                       "; they were made with another model",
                   path.string()};
    ++it;
  }
  if (statistics.modules.empty())
    return Error{"mismatch", "The statistics fit no module of this model", path.string()};
  return {};
}

} // namespace

Result<void> write_statistics(const fs::path& path, const ActivationStatistics& statistics,
                              const Checkpoint& checkpoint, std::string_view format) {
  if (statistics.modules.empty())
    return Error{"bad-argument", "There are no activation statistics to write", path.string()};
  if (format == "own")
    return write_own(path, statistics);
  if (format != "imatrix-gguf" && format != "imatrix-dat")
    return Error{"bad-argument",
                 "There is no statistics format \"" + std::string(format) +
                     "\"; it must be own, imatrix-gguf or imatrix-dat",
                 {}};
  TRY_ASSIGN(const Names names, Names::of(checkpoint));
  return format == "imatrix-gguf" ? write_imatrix_gguf(path, statistics, names)
                                  : write_imatrix_dat(path, statistics, names);
}

Result<ActivationStatistics> read_statistics(const fs::path& path, const Checkpoint& checkpoint,
                                             std::vector<std::string>* notes) {
  TRY_ASSIGN(const auto file, MappedFile::open(path));
  const auto bytes = file->bytes();
  const std::string_view content(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  ActivationStatistics out;
  if (content.size() > 8 && content[8] == '{') {
    TRY_ASSIGN(out, read_own(path));
  } else {
    TRY_ASSIGN(const Names names, Names::of(checkpoint));
    if (content.starts_with("GGUF")) {
      TRY_ASSIGN(out, read_imatrix_gguf(path, names, notes));
    } else {
      TRY_ASSIGN(out, read_imatrix_dat(path, names, content, notes));
    }
  }
  TRY(match_modules(out, checkpoint, path, notes));
  return out;
}

} // namespace bitlathe
