// SPDX-License-Identifier: Apache-2.0
// Hugging Face folders with GPTQ weights, of either version, also with an order of columns: codes
// stored as [in, out] are turned into rows when they are used.
#include "core/io/mapped.h"
#include "core/model/assemble.h"
#include "core/model/readers/gptq_settings.h"
#include "core/model/readers/packed_columns.h"
#include "core/schemes/deferred.h"
#include "kernels/base/parallel.h"
#include "kernels/compute/compute.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>

namespace bitlathe {

namespace {

constexpr std::array<std::string_view, 1> methods{"gptq"};

/// Files of 2023 have their settings beside config.json only.
bool has_side_settings(const fs::path& path) {
  std::error_code failed;
  if (!fs::is_directory(path, failed) || !fs::is_regular_file(path / "config.json", failed) ||
      !fs::is_regular_file(path / "quantize_config.json", failed))
    return false;
  const auto config = read_json_file(path / "config.json");
  if (!config || !config->is_object() || config->contains("quantization_config"))
    return false;
  const auto settings = read_json_file(path / "quantize_config.json");
  return settings && settings->is_object() && settings->contains("bits") &&
         settings->value("quant_method", Json("gptq")) == "gptq";
}

bool recognises(const fs::path& path) {
  return is_quantized_folder(path, methods) || has_side_settings(path);
}

/// The settings with their keys in the order of the file.
Result<GptqConfig> read_config(const fs::path& path, const Checkpoint& checkpoint) {
  const bool inside = quantization_config(checkpoint.config, methods) != nullptr;
  const fs::path file = path / (inside ? "config.json" : "quantize_config.json");
  TRY(read_json_file(file)); // with every check
  TRY_ASSIGN(const std::string text, read_file(file));
  OrderedJson json = OrderedJson::parse(text, nullptr, false);
  if (inside)
    for (const char* key : {"quantization_config", "compression_config"})
      if (const auto it = json.find(key); it != json.end() && it->is_object() &&
                                          it->value("quant_method", OrderedJson()) == "gptq") {
        const OrderedJson settings = *it;
        return GptqConfig::parse(settings, file.string());
      }
  return GptqConfig::parse(json, file.string());
}

struct Reading {
  const GptqConfig& config;
  const std::string& where;
  std::uint64_t turned = 0;
  std::vector<std::string> not_symmetric, no_order;
};

using Order = std::shared_ptr<const std::vector<std::int32_t>>;

/// Positions -> columns, from the group of every column; null when groups are columns that stand
/// together.
Result<Order> read_order(const std::string& module, const Parts& parts, const QTensor& weight,
                         std::int64_t group, std::int64_t groups, Reading& reading) {
  const auto it = parts.find("g_idx");
  if (it == parts.end() || it->second->data.empty())
    return Order();
  const StoredTensor& tensor = *it->second;
  const auto cols = std::size_t(weight.cols);
  if ((tensor.dtype != "I32" && tensor.dtype != "I64") || tensor.shape.size() != 1 ||
      tensor.shape[0] != weight.cols)
    return bad_part(module,
                    "its g_idx does not give a group to each of " + std::to_string(weight.cols) +
                        " columns",
                    tensor);
  std::vector<std::int64_t> index(cols);
  if (tensor.dtype == "I64") {
    std::memcpy(index.data(), tensor.data.data(), cols * 8);
  } else {
    std::vector<std::int32_t> narrow(cols);
    std::memcpy(narrow.data(), tensor.data.data(), cols * 4);
    std::copy(narrow.begin(), narrow.end(), index.begin());
  }
  bool sequential = true, zero = true;
  std::vector<std::int64_t> count(std::size_t(groups), 0);
  for (std::size_t i = 0; i < cols; ++i) {
    if (index[i] < 0 || index[i] >= groups)
      return bad_part(module,
                      "its g_idx puts column " + std::to_string(i) + " into group " +
                          std::to_string(index[i]) + " of " + std::to_string(groups),
                      tensor);
    ++count[std::size_t(index[i])];
    sequential = sequential && index[i] == std::int64_t(i) / group;
    zero = zero && index[i] == 0;
  }
  if (sequential)
    return Order();
  if (zero) { // what early programs stored for "in order", and loaders still take so
    reading.no_order.push_back(module);
    return Order();
  }
  for (std::int64_t g = 0; g < groups; ++g)
    if (const auto whole = std::min(group, weight.cols - g * group); count[std::size_t(g)] != whole)
      return Error{"unsupported",
                   module + ": its g_idx puts " + std::to_string(count[std::size_t(g)]) +
                       " columns into group " + std::to_string(g) + " instead of " +
                       std::to_string(whole) + "; groups of other sizes cannot be read",
                   tensor.file->path().string()};
  std::vector<std::int32_t> order(cols);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return index[std::size_t(a)] < index[std::size_t(b)];
  });
  return Order(std::make_shared<const std::vector<std::int32_t>>(std::move(order)));
}

std::uint32_t code_at(const std::byte* row, std::int64_t index, int bits) {
  const std::int64_t bit = index * bits;
  std::uint16_t two = std::uint8_t(row[bit / 8]);
  if (bit % 8 + bits > 8)
    two = std::uint16_t(two | unsigned(std::uint8_t(row[bit / 8 + 1])) << 8);
  return unsigned(two) >> (bit % 8) & ((1u << bits) - 1);
}

/// Puts the codes of every row into the order of the groups.
void reorder(std::span<std::byte> rows_of_codes, const std::vector<std::int32_t>& order, int bits) {
  const auto stride = int_row_bytes(std::int64_t(order.size()), bits);
  const auto rows = std::int64_t(rows_of_codes.size()) / stride;
  parallel_for(rows, 16, [&](std::int64_t begin, std::int64_t end) {
    std::vector<std::byte> sorted(static_cast<std::size_t>(stride));
    for (std::int64_t row = begin; row < end; ++row) {
      std::byte* codes = rows_of_codes.data() + row * stride;
      std::size_t at = 0;
      std::uint64_t held = 0;
      int held_bits = 0;
      for (const std::int32_t column : order) {
        held |= std::uint64_t(code_at(codes, column, bits)) << held_bits;
        for (held_bits += bits; held_bits >= 8; held_bits -= 8, held >>= 8)
          sorted[at++] = std::byte(held & 0xFF);
      }
      std::copy(sorted.begin(), sorted.end(), codes); // whole words: nothing is held any more
    }
  });
}

/// How zero points are stored.
struct StoredZeros {
  int bits = 4;
  bool minus_one = false, by_word = false;
};

/// Calls `visit(row, group, zero)` with the zero points as they are meant; false as soon as it
/// says so.
template <class Visit>
bool each_zero(const StoredTensor& tensor, std::int64_t rows, const StoredZeros& form,
               const Visit& visit) {
  const int bits = form.bits;
  const std::int64_t groups = tensor.shape[0], words = tensor.shape[1];
  const std::uint32_t top = (1u << bits) - 1;
  const bool by_word = form.minus_one && form.by_word && bits != 3;
  const std::uint32_t ones = bits == 2 ? 0x55555555u : bits == 4 ? 0x11111111u : 0x01010101u;
  std::vector<std::uint32_t> row(static_cast<std::size_t>(words));
  for (std::int64_t g = 0; g < groups; ++g) {
    std::memcpy(row.data(), tensor.data.data() + g * words * 4, std::size_t(words) * 4);
    if (by_word)
      for (auto& word : row)
        word += ones;
    const auto* bytes = reinterpret_cast<const std::byte*>(row.data());
    for (std::int64_t r = 0; r < rows; ++r) {
      const auto stored = code_at(bytes, r, bits);
      if (!visit(r, g, form.minus_one && !by_word ? (stored + 1) & top : stored))
        return false;
    }
  }
  return true;
}

Result<void> read_module(const std::string& name, const Parts& parts, Reading& reading,
                         Module& module) {
  if (parts.count("weight"))
    return bad_part(name, "it is stored both packed and plain", *parts.at("weight"));
  const auto settings = reading.config.find(name);
  if (!settings)
    return bad_module(name, "\"dynamic\" leaves it out, but it is stored quantized", reading.where);
  TRY_ASSIGN(const StoredTensor* codes, packed_matrix(name, parts, "qweight", reading.where));
  TRY_ASSIGN(const StoredTensor* scales, packed_matrix(name, parts, "scales", reading.where));
  TRY_ASSIGN(const StoredTensor* zeros, packed_matrix(name, parts, "qzeros", reading.where));

  const int bits = settings->bits;
  QTensor& out = module.weight;
  out.rows = codes->shape[1];
  if (codes->shape[0] * 32 % bits != 0)
    return bad_part(name,
                    "its qweight has " + std::to_string(codes->shape[0]) +
                        " rows, which hold no whole number of " + std::to_string(bits) +
                        "-bit codes",
                    *codes);
  out.cols = codes->shape[0] * 32 / bits;
  const std::int64_t group = settings->group > 0 ? std::min(settings->group, out.cols) : out.cols;
  const std::int64_t groups = (out.cols + group - 1) / group;
  const auto why = "the qweight and the settings (" + std::to_string(bits) + " bits, group_size " +
                   std::to_string(settings->group > 0 ? settings->group : -1) + ")";
  TRY(expect_shape(name, "scales", *scales, groups, out.rows, why));
  TRY(expect_shape(name, "qzeros", *zeros, groups, (out.rows * bits + 31) / 32, why));

  TRY_ASSIGN(out.column_order, read_order(name, parts, out, group, groups, reading));
  TRY_ASSIGN(
      const FloatType type,
      float_type_of(*scales, name, scales->file ? scales->file->path().string() : reading.where));
  const StoredZeros form{bits, reading.config.minus_one, reading.config.by_word};
  const bool symmetric =
      settings->symmetric &&
      each_zero(*zeros, out.rows, form, [&](std::int64_t, std::int64_t, std::uint32_t zero) {
        return zero == 1u << (bits - 1);
      });
  if (settings->symmetric && !symmetric)
    reading.not_symmetric.push_back(name);

  std::string id = "int" + std::to_string(bits);
  id += settings->group > 0 ? "-g" + std::to_string(settings->group) : "-channel";
  id += symmetric ? "-sym" : "-asym";
  id += scales->dtype == "BF16" ? "-sbf16" : scales->dtype == "F32" ? "-sf32" : "";
  TRY_ASSIGN(out.scheme, parse_scheme(id));
  TRY(defer(out, out.scheme.family->bytes(out.scheme, out.rows, out.cols),
            [name, type, form, order = out.column_order, codes = *codes, scales = *scales,
             zeros = *zeros](const DeferredParts::Spans& made) {
              turn_words(codes.data, codes.shape[0], codes.shape[1], made.codes);
              forget_mapped(codes.data);
              if (order)
                reorder(made.codes, *order, form.bits);
              if (!made.zeros.empty())
                each_zero(zeros, codes.shape[1], form,
                          [&](std::int64_t row, std::int64_t g, std::uint32_t zero) {
                            made.zeros[std::size_t(row * zeros.shape[0] + g)] = std::byte(zero);
                            return true;
                          });
              return turn_scales(name, scales, type, made.scales);
            }));
  reading.turned += out.codes.size();
  module.shape = matrix_shape(out);
  return {};
}

std::string some_of(const std::vector<std::string>& names) {
  return names.front() +
         (names.size() > 1 ? " and " + std::to_string(names.size() - 1) + " more" : "");
}

Result<std::shared_ptr<Checkpoint>> open(const fs::path& path) {
  auto checkpoint = start_folder(path, "gptq");
  TRY_ASSIGN(const GptqConfig config, read_config(path, *checkpoint));
  TRY_ASSIGN(const auto file, read_safetensors_folder(path));
  const auto where = path.string();
  Reading reading{config, where, 0, {}, {}};
  const ReadParts read = [&](const std::string& name, const Parts& parts, Module& module,
                             std::vector<std::string>& used) -> Result<bool> {
    if (!parts.count("qweight")) {
      for (const char* part : {"qzeros", "g_idx"})
        if (const auto it = parts.find(part); it != parts.end())
          return bad_part(name, "it has " + std::string(part) + ", but no qweight", *it->second);
      return false;
    }
    TRY(read_module(name, parts, reading, module));
    used = {"qweight", "qzeros", "scales", "g_idx"};
    return true;
  };
  TRY_ASSIGN(auto found, collect_modules(*checkpoint, file.tensors, read));
  assemble(*checkpoint, std::move(found), file.tensors, where);
  auto& notes = checkpoint->notes;
  if (reading.turned > 0)
    notes.push_back("The codes (" + std::to_string(reading.turned) +
                    " bytes) are stored as [in, out] and are brought into rows one module at a "
                    "time, when it is used");
  if (!reading.not_symmetric.empty())
    notes.push_back("The settings say symmetric, but the zero points say otherwise and are used; "
                    "vLLM ignores them and would decode wrongly: " +
                    some_of(reading.not_symmetric));
  if (!reading.no_order.empty())
    notes.push_back("A g_idx of zeros is taken for groups of columns that stand together: " +
                    some_of(reading.no_order));
  return checkpoint;
}

} // namespace

extern const CheckpointReader checkpoint_reader_gptq;
const CheckpointReader checkpoint_reader_gptq{
    "gptq", "A Hugging Face folder with GPTQ weights, version 1 or 2.", recognises, open};

} // namespace bitlathe
