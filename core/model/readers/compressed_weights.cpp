// SPDX-License-Identifier: Apache-2.0
#include "core/model/readers/compressed_weights.h"

#include "core/model/assemble.h"
#include "core/schemes/deferred.h"
#include "kernels/base/parallel.h"
#include "kernels/compute/compute.h"
#include "kernels/num/float8.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

namespace bitlathe {

namespace {

std::string text_of(const std::vector<std::int64_t>& shape) {
  std::string out;
  for (const auto n : shape)
    out += (out.empty() ? "" : ", ") + std::to_string(n);
  return "[" + out + "]";
}

using Order = std::shared_ptr<const std::vector<std::int32_t>>;

/// The parts of one module being read.
struct Reader {
  const std::string& module;
  const Parts& parts;
  const CompressedSettings& settings;
  CompressedReading& reading;
  QTensor& out;
  /// What of the codes and of the zero points cannot stay as it is, and the bytes of both; null:
  /// nothing.
  using Make = std::function<Result<void>(std::span<std::byte>)>;
  Make make_codes = {}, make_zeros = {};
  SchemeFamily::Bytes made = {};

  Error bad(const std::string& what) const { return bad_module(module, what, reading.where); }
  const StoredTensor* part(const char* name) const {
    const auto it = parts.find(name);
    return it == parts.end() ? nullptr : it->second;
  }

  Result<void> read();
  Result<void> read_bytes(const StoredTensor& weight);
  Result<void> read_packed(const StoredTensor& packed);
  Result<void> read_order();
  Result<void> read_zeros(std::int64_t grids, std::int64_t grid_rows);
  Result<void> read_scales(const std::string& element);
  Result<void> read_small_floats();
  Result<void> read_mxfp8(const StoredTensor& weight);
  Result<void> defer_parts();
};

/// Code `index` of a packed line whose words lie `stride` words apart. Before 2026, words held
/// whole codes only (`padded`).
std::uint8_t packed_code(const std::byte* line, std::int64_t index, int bits, std::int64_t stride,
                         bool padded) {
  const std::int64_t per_word = 32 / bits;
  const std::int64_t bit = padded ? index / per_word * 32 + index % per_word * bits : index * bits;
  std::uint32_t low = 0, high = 0;
  std::memcpy(&low, line + bit / 32 * stride * 4, 4);
  if (bit % 32 + bits > 32)
    std::memcpy(&high, line + (bit / 32 + 1) * stride * 4, 4);
  const auto both = std::uint64_t(high) << 32 | low;
  return std::uint8_t(both >> (bit % 32) & ((1u << bits) - 1));
}

/// Whether `words` hold `count` codes densely (false), padded per word (true), or not at all.
std::optional<bool> packing(std::int64_t words, std::int64_t count, int bits) {
  if (words == (count * bits + 31) / 32)
    return false;
  const std::int64_t per_word = 32 / bits;
  if (words == (count + per_word - 1) / per_word)
    return true;
  return std::nullopt;
}

Result<std::pair<std::int64_t, std::int64_t>>
stored_shape(const StoredTensor& tensor, const std::string& module, const std::string& where) {
  std::int64_t wide[2] = {};
  std::int32_t narrow[2] = {};
  if (tensor.dtype == "I64" && tensor.data.size() == 16) {
    std::memcpy(wide, tensor.data.data(), 16);
  } else if (tensor.dtype == "I32" && tensor.data.size() == 8) {
    std::memcpy(narrow, tensor.data.data(), 8);
    std::copy(narrow, narrow + 2, wide);
  } else {
    return bad_module(module, "its weight_shape is not a pair of whole numbers", where);
  }
  if (wide[0] < 1 || wide[1] < 1 || wide[0] > (1ll << 32) || wide[1] > (1ll << 32))
    return bad_module(
        module, "its weight_shape is " + std::to_string(wide[0]) + " x " + std::to_string(wide[1]),
        where);
  return std::pair(wide[0], wide[1]);
}

/// Codes made by `code_of(row, column)` as the stream of layout "int", in the stored order, in
/// bytes that are zero.
template <class CodeOf>
void pack(std::int64_t rows, std::int64_t cols, int bits, const Order& order,
          std::span<std::byte> out, CodeOf code_of) {
  const auto stride = int_row_bytes(cols, bits);
  parallel_for(rows, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      auto* dense = reinterpret_cast<std::uint8_t*>(out.data()) + row * stride;
      for (std::int64_t i = 0; i < cols; ++i) {
        const auto code = unsigned(code_of(row, order ? (*order)[std::size_t(i)] : i));
        const auto bit = i * bits;
        dense[bit / 8] = std::uint8_t(dense[bit / 8] | code << (bit % 8));
        if (bit % 8 + bits > 8)
          dense[bit / 8 + 1] = std::uint8_t(dense[bit / 8 + 1] | code >> (8 - bit % 8));
      }
    }
  });
}

/// weight_g_idx names the group of every column. Canonical rows hold the columns of a group side by
/// side.
Result<void> Reader::read_order() {
  const StoredTensor* stored = part("weight_g_idx");
  if (!stored)
    return settings.ordered
               ? Result<void>(bad("its columns have an order (actorder \"group\"), but "
                                  "weight_g_idx is missing"))
               : Result<void>();
  const bool wide = stored->dtype == "I64";
  if ((!wide && stored->dtype != "I32") ||
      stored->data.size() != std::size_t(out.cols) * (wide ? 8 : 4))
    return bad("its weight_g_idx " + text_of(stored->shape) +
               " does not name a group for each of " + std::to_string(out.cols) + " columns");
  const std::int64_t group = settings.group > 0 ? settings.group : out.cols;
  const std::int64_t groups = (out.cols + group - 1) / group;
  std::vector<std::int64_t> of(std::size_t(out.cols)), count(std::size_t(groups), 0);
  bool unset = true;
  for (std::size_t i = 0; i < of.size(); ++i) {
    std::int32_t narrow = 0;
    if (wide)
      std::memcpy(&of[i], stored->data.data() + i * 8, 8);
    else
      std::memcpy(&narrow, stored->data.data() + i * 4, 4);
    of[i] = wide ? of[i] : narrow;
    unset = unset && of[i] == -1;
  }
  if (unset) // as it is before anything was ordered
    return {};
  for (const auto g : of) {
    if (g < 0 || g >= groups)
      return bad("its weight_g_idx names group " + std::to_string(g) + " of " +
                 std::to_string(groups));
    ++count[std::size_t(g)];
  }
  for (std::int64_t g = 0; g < groups; ++g)
    if (count[std::size_t(g)] != std::min(group, out.cols - g * group))
      return Error{"unsupported",
                   module + ": group " + std::to_string(g) + " of its weight_g_idx has " +
                       std::to_string(count[std::size_t(g)]) +
                       " columns, and groups of different sizes cannot be held",
                   reading.where};
  std::vector<std::int32_t> order(of.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return of[std::size_t(a)] < of[std::size_t(b)];
  });
  if (!std::is_sorted(order.begin(), order.end())) {
    out.column_order = std::make_shared<const std::vector<std::int32_t>>(std::move(order));
    ++reading.ordered;
  }
  return {};
}

/// Signed bytes, whatever the number of bits: codes with a bias.
Result<void> Reader::read_bytes(const StoredTensor& weight) {
  if (weight.shape.size() != 2 || weight.data.empty())
    return bad("its weight is no matrix");
  out.rows = weight.shape[0];
  out.cols = weight.shape[1];
  TRY(read_order());
  made.codes = std::uint64_t(out.rows * int_row_bytes(out.cols, settings.bits));
  make_codes = [module = module, where = weight.file->path().string(), weight, bits = settings.bits,
                order = out.column_order](std::span<std::byte> codes) -> Result<void> {
    const std::int64_t rows = weight.shape[0], cols = weight.shape[1];
    const int half = 1 << (bits - 1);
    const auto* values = reinterpret_cast<const std::int8_t*>(weight.data.data());
    if (bits < 8) {
      const auto [least, most] = std::minmax_element(values, values + weight.data.size());
      if (*least < -half || *most >= half)
        return bad_module(module,
                          "its weight is stored as bytes, of which some do not fit " +
                              std::to_string(bits) + " bits, unlike the settings",
                          where);
    }
    if (bits < 8 || order) {
      pack(rows, cols, bits, order, codes,
           [&](std::int64_t row, std::int64_t col) { return values[row * cols + col] + half; });
      return {};
    }
    const auto stride = int_row_bytes(cols, 8); // a bias of 128 is the highest bit
    parallel_for(rows, 64, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row)
        std::transform(weight.data.begin() + row * cols, weight.data.begin() + (row + 1) * cols,
                       codes.begin() + row * stride,
                       [](std::byte b) { return b ^ std::byte(0x80); });
    });
    return {};
  };
  reading.copied += made.codes;
  return {};
}

Result<void> Reader::read_packed(const StoredTensor& packed) {
  const StoredTensor* shape = part("weight_shape");
  if (packed.dtype != "I32" || packed.shape.size() != 2)
    return bad("its weight_packed is not a matrix of I32");
  if (!shape)
    return bad("weight_shape is missing");
  TRY_ASSIGN(const auto size, stored_shape(*shape, module, reading.where));
  out.rows = size.first;
  out.cols = size.second;
  const auto padded = packing(packed.shape[1], out.cols, settings.bits);
  if (packed.shape[0] != out.rows || !padded)
    return bad("its weight_packed " + text_of(packed.shape) + " does not hold " +
               std::to_string(settings.bits) + "-bit codes of " + std::to_string(out.rows) + " x " +
               std::to_string(out.cols));
  TRY(read_order());
  if (!*padded && !out.column_order) {
    out.codes = packed.data;
    return {};
  }
  made.codes = std::uint64_t(out.rows * int_row_bytes(out.cols, settings.bits));
  make_codes = [packed, cols = out.cols, bits = settings.bits, padded = *padded,
                order = out.column_order](std::span<std::byte> codes) -> Result<void> {
    pack(packed.shape[0], cols, bits, order, codes, [&](std::int64_t row, std::int64_t col) {
      return packed_code(packed.data.data() + row * packed.shape[1] * 4, col, bits, 1, padded);
    });
    return {};
  };
  (*padded ? reading.repacked : reading.copied) += made.codes;
  return {};
}

Result<void> Reader::read_zeros(std::int64_t grids, std::int64_t grid_rows) {
  const StoredTensor* stored = part("weight_zero_point");
  if (settings.symmetric)
    return stored ? Result<void>(bad("it is symmetric but has zero points")) : Result<void>();
  if (!stored)
    return bad("weight_zero_point is missing");
  const StoredTensor& tensor = *stored;
  made.zeros = std::uint64_t(grids * grid_rows);
  const bool bytes = tensor.dtype == "I8" && tensor.data.size() == made.zeros;
  const auto padded = tensor.shape.size() == 2 && tensor.shape[1] == grids
                          ? packing(tensor.shape[0], grid_rows, settings.bits)
                          : std::nullopt;
  if (!bytes && (tensor.dtype != "I32" || !padded))
    return bad("its weight_zero_point does not fit its shape");
  make_zeros = [module = module, tensor, bytes, grids, grid_rows, bits = settings.bits,
                padded = padded.value_or(false)](std::span<std::byte> zeros) -> Result<void> {
    if (bytes) {
      const auto bias = std::byte(1u << (bits - 1));
      std::transform(tensor.data.begin(), tensor.data.end(), zeros.begin(),
                     [&](std::byte b) { return std::byte(unsigned(b) + unsigned(bias)); });
    } else {
      for (std::int64_t row = 0; row < grid_rows; ++row)
        for (std::int64_t g = 0; g < grids; ++g)
          zeros[std::size_t(row * grids + g)] =
              std::byte(packed_code(tensor.data.data() + g * 4, row, bits, grids, padded));
    }
    const unsigned top = (1u << bits) - 1;
    if (std::any_of(zeros.begin(), zeros.end(), [&](std::byte b) { return unsigned(b) > top; }))
      return bad_module(module, "a zero point is out of range", tensor.file->path().string());
    return {};
  };
  reading.copied += made.zeros;
  return {};
}

/// Scales of integers and 8-bit floats, and with them the scheme.
Result<void> Reader::read_scales(const std::string& element) {
  const StoredTensor& scale = *part("weight_scale");
  TRY_ASSIGN(const FloatType type, float_type_of(scale, module, reading.where));
  const auto count = std::int64_t(scale.data.size() / float_size(type));
  std::string id = element;
  std::int64_t grids = 1, grid_rows = out.rows;
  if (settings.strategy == "block") {
    if (settings.block_rows != 128 || settings.block_cols != 128)
      return Error{"unsupported",
                   module + ": blocks of " + std::to_string(settings.block_rows) + " x " +
                       std::to_string(settings.block_cols) + " cannot be held (known: 128 x 128)",
                   reading.where};
    id += "-b128x128";
    grids = (out.cols + 127) / 128;
    grid_rows = (out.rows + 127) / 128;
  } else if (settings.strategy == "tensor" && count == 1 && out.rows > 1) {
    id += "-tensor";
    grid_rows = 1;
  } else if (settings.group > 0) {
    id += "-g" + std::to_string(settings.group);
    grids = (out.cols + settings.group - 1) / settings.group;
  } else {
    id += "-channel";
  }
  if (count != grids * grid_rows)
    return bad("it has " + std::to_string(count) + " scales instead of " +
               std::to_string(grids * grid_rows));
  out.scales = scale.data;
  if (!settings.floats)
    id += settings.symmetric ? "-sym" : "-asym";
  id += type == FloatType::bf16 ? "-sbf16" : type == FloatType::f32 ? "-sf32" : "";
  TRY_ASSIGN(out.scheme, parse_scheme(id));
  return settings.floats ? Result<void>() : read_zeros(grids, grid_rows);
}

/// nvfp4 and mxfp4: bytes of two codes each.
Result<void> Reader::read_small_floats() {
  const StoredTensor *packed = part("weight_packed"), *scale = part("weight_scale");
  const bool nvfp4 = settings.group == 16;
  const std::int64_t group = settings.group;
  if (!packed || packed->dtype != "U8" || packed->shape.size() != 2 || packed->data.empty())
    return bad("its 4-bit floats are not stored as weight_packed, a matrix of bytes");
  out.rows = packed->shape[0];
  out.cols = packed->shape[1] * 2;
  const bool type_fits = scale->dtype == "U8" || scale->dtype == (nvfp4 ? "F8_E4M3" : "F8_E8M0");
  if (!type_fits || out.cols % group != 0 ||
      scale->data.size() != std::size_t(out.rows * (out.cols / group)))
    return bad("its weight_scale (" + scale->dtype + " " + text_of(scale->shape) +
               ") does not fit " + std::to_string(out.rows) + " x " + std::to_string(out.cols) +
               " values in groups of " + std::to_string(group));
  float factor = 1;
  if (nvfp4) {
    const StoredTensor* global = part("weight_global_scale");
    if (!global)
      return bad("weight_global_scale is missing");
    const auto value = single_float(*global);
    factor = value ? 1.0f / *value : 0.0f;
    if (!value || !(*value > 0) || !std::isfinite(*value) || !std::isfinite(factor))
      return bad("its weight_global_scale is not one number above 0");
  }
  // Rows that end within a block are filled up.
  const std::int64_t whole = nvfp4 ? (out.cols + 63) / 64 * 64 : out.cols;
  const bool plain = factor == 1 && whole == out.cols;
  TRY_ASSIGN(out.scheme, parse_scheme(!nvfp4 ? "mxfp4" : plain ? "nvfp4" : "nvfp4-sf32"));
  if (out.scheme.id == "nvfp4-sf32") {
    out.owned_scales.resize(sizeof factor);
    std::memcpy(out.owned_scales.data(), &factor, sizeof factor);
  }
  out.own();
  made.codes = out.scheme.family->bytes(out.scheme, out.rows, out.cols).codes;
  make_codes = [module = module, packed = *packed, scale = *scale, whole, group,
                nvfp4](std::span<std::byte> blocks) -> Result<void> {
    const std::int64_t rows = packed.shape[0], cols = packed.shape[1] * 2;
    std::vector<std::byte> codes, scales;
    auto code_bytes = packed.data, scale_bytes = scale.data;
    if (whole != cols) {
      const auto fill = [&](std::span<const std::byte> in, std::int64_t from, std::int64_t to) {
        std::vector<std::byte> wide(std::size_t(rows * to));
        for (std::int64_t row = 0; row < rows; ++row)
          std::copy_n(in.begin() + row * from, from, wide.begin() + row * to);
        return wide;
      };
      codes = fill(packed.data, cols / 2, whole / 2);
      scales = fill(scale.data, cols / group, whole / group);
      code_bytes = codes;
      scale_bytes = scales;
    }
    if (!(nvfp4 ? nvfp4_blocks : mxfp4_blocks)(code_bytes, scale_bytes, rows, whole, blocks))
      return bad_module(module, "one of its scales is not a number", scale.file->path().string());
    return {};
  };
  reading.blocks += made.codes;
  return {};
}

/// A power of two per 32 columns goes into the exponents of bf16 without a loss.
Result<void> Reader::read_mxfp8(const StoredTensor& weight) {
  const StoredTensor& scale = *part("weight_scale");
  if (weight.dtype != "F8_E4M3" || weight.shape.size() != 2 || weight.data.empty() ||
      weight.shape[1] % 32 != 0 || (scale.dtype != "U8" && scale.dtype != "F8_E8M0") ||
      scale.data.size() * 32 != weight.data.size())
    return bad("its weight and weight_scale are not those of mxfp8");
  out.rows = weight.shape[0];
  out.cols = weight.shape[1];
  out.scheme = float_scheme(FloatType::bf16);
  made.codes = weight.data.size() * 2;
  make_codes = [weight, scale](std::span<std::byte> values) -> Result<void> {
    const std::int64_t cols = weight.shape[1];
    parallel_for(weight.shape[0], 16, [&](std::int64_t begin, std::int64_t end) {
      for (auto i = std::size_t(begin * cols); i < std::size_t(end * cols); ++i)
        store_float(FloatType::bf16, values.data(), std::int64_t(i),
                    std::ldexp(f8_e4m3_to_f32(std::uint8_t(weight.data[i])),
                               int(scale.data[i / 32]) - 127));
    });
    return {};
  };
  ++reading.widened;
  return {};
}

Result<void> Reader::defer_parts() {
  if (!make_codes && !make_zeros)
    return {};
  return defer(out, made,
               [codes = std::move(make_codes),
                zeros = std::move(make_zeros)](const DeferredParts::Spans& spans) -> Result<void> {
                 if (codes)
                   TRY(codes(spans.codes));
                 return zeros ? zeros(spans.zeros) : Result<void>();
               });
}

Result<void> Reader::read() {
  const StoredTensor *packed = part("weight_packed"), *weight = part("weight");
  if (packed && weight)
    return bad("it is stored both packed and plain");
  if (!part("weight_scale"))
    return bad("weight_scale is missing");
  if (settings.floats && settings.bits == 4)
    return read_small_floats();
  if (settings.floats) {
    if (packed)
      return bad("it is packed, but its settings say f8");
    if (weight->dtype != "F8_E4M3")
      return bad("its weight is stored as " + weight->dtype + ", unlike the settings (float)");
    if (settings.strategy == "group")
      return read_mxfp8(*weight);
    if (weight->shape.size() != 2 || weight->data.empty())
      return bad("its weight is no matrix");
    out.rows = weight->shape[0];
    out.cols = weight->shape[1];
    out.codes = weight->data;
    TRY(read_scales("f8_e4m3"));
  } else {
    if (weight && weight->dtype != "I8")
      return bad("its weight is stored as " + weight->dtype + ", unlike the settings");
    TRY(packed ? read_packed(*packed) : read_bytes(*weight));
    TRY(read_scales("int" + std::to_string(settings.bits)));
  }
  keep_alive(out, {packed ? packed : weight, part("weight_scale")});
  return {};
}

/// The scale of static activations, and what cannot be run.
Result<void> read_activations(const std::string& name, const Parts& parts,
                              const CompressedSettings& settings, CompressedReading& reading,
                              Module& module) {
  const auto part = [&](const char* key) {
    const auto it = parts.find(key);
    return it == parts.end() ? nullptr : it->second;
  };
  const StoredTensor *scale = part("input_scale"), *zero = part("input_zero_point"),
                     *global = part("input_global_scale");
  const auto bad = [&](const std::string& what) { return bad_module(name, what, reading.where); };
  if (!settings.float_inputs.empty()) {
    ++reading.float_inputs[settings.float_inputs];
    return {};
  }
  module.activations = settings.activations;
  if (settings.activations == "nvfp4-tensor-static") {
    if (!global)
      return bad("its activations are nvfp4, but input_global_scale is missing");
    const auto value = single_float(*global);
    module.activation_scale = value ? 1.0f / *value : 0.0f;
    if (!value || !(*value > 0) || !std::isfinite(*value) ||
        !std::isfinite(module.activation_scale))
      return bad("its input_global_scale is not one number above 0");
    return {};
  }
  if (settings.activations.find("static") == std::string::npos) {
    if (scale || zero)
      return bad("it has an input_scale, but its activations are not static");
    return {};
  }
  if (!scale)
    return bad("its activations are static, but input_scale is missing");
  const auto value = single_float(*scale);
  if (!value || !(*value > 0) || !std::isfinite(*value))
    return bad("its input_scale is not one number above 0");
  module.activation_scale = *value;
  if (zero && std::any_of(zero->data.begin(), zero->data.end(),
                          [](std::byte b) { return b != std::byte(0); })) {
    ++reading.float_inputs["static, with a zero point"];
    module.activations = "none";
    module.activation_scale = 0;
  }
  return {};
}

} // namespace

std::optional<float> single_float(const StoredTensor& tensor) {
  for (const FloatType type : {FloatType::f32, FloatType::f16, FloatType::bf16})
    if (tensor.dtype == (type == FloatType::f32   ? "F32"
                         : type == FloatType::f16 ? "F16"
                                                  : "BF16") &&
        tensor.data.size() == float_size(type))
      return load_float(type, tensor.data.data(), 0);
  return std::nullopt;
}

std::vector<std::string> compressed_parts() {
  return {"weight",
          "weight_packed",
          "weight_scale",
          "weight_shape",
          "weight_g_idx",
          "input_scale",
          "weight_zero_point",
          "input_zero_point",
          "weight_global_scale",
          "input_global_scale"};
}

Result<void> read_compressed_weight(const std::string& name, const Parts& parts,
                                    const CompressedSettings& settings, CompressedReading& reading,
                                    Module& module) {
  TRY(read_activations(name, parts, settings, reading, module));
  Reader reader{name, parts, settings, reading, module.weight};
  TRY(reader.read());
  TRY(reader.defer_parts());
  module.shape = matrix_shape(module.weight);
  return {};
}

} // namespace bitlathe
