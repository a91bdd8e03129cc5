// SPDX-License-Identifier: Apache-2.0
#include "core/export/compressed_write.h"

#include "kernels/compute/compute.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace bitlathe {

namespace {

/// A matrix of bytes whose rows are made one by one.
TensorToWrite rows_tensor(std::string name, std::string dtype, std::vector<std::int64_t> shape,
                          std::int64_t rows, std::size_t row_bytes,
                          std::function<void(std::int64_t row, std::byte* out)> make) {
  return {std::move(name), std::move(dtype), std::move(shape), std::uint64_t(rows) * row_bytes,
          [rows, row_bytes, make = std::move(make)](OutputFile& file) {
            return write_in_pieces(file, rows, row_bytes, make);
          }};
}

/// Scales as [out][groups]; the one scale of a tensor is repeated for every channel.
TensorToWrite scale_tensor(const std::string& name, const QTensor& weight, std::int64_t groups) {
  const auto dtype = safetensors_dtype(weight.scheme.float_type);
  if (!weight.scheme.per_tensor)
    return bytes_tensor(name, dtype, {weight.rows, groups}, weight.scales);
  const auto size = float_size(weight.scheme.float_type);
  return rows_tensor(name, dtype, {weight.rows, 1}, weight.rows, size,
                     [&weight, size](std::int64_t, std::byte* out) {
                       std::memcpy(out, weight.scales.data(), size);
                     });
}

/// Zero points packed down the rows: column g is the dense stream of group g's zero points.
TensorToWrite zero_tensor(const std::string& name, const QTensor& weight, std::int64_t groups) {
  const int bits = int(weight.scheme.bits);
  const std::int64_t words = (weight.rows * bits + 31) / 32;
  const auto make = [&weight, groups, bits](std::int64_t word, std::byte* out) {
    // The rows of which a word holds bits.
    const std::int64_t first = word * 32 / bits;
    const std::int64_t last = std::min(weight.rows, (word * 32 + 31) / bits + 1);
    for (std::int64_t g = 0; g < groups; ++g) {
      std::uint64_t packed = 0;
      for (std::int64_t row = first; row < last; ++row) {
        const auto at = std::size_t(weight.scheme.per_tensor ? 0 : row * groups + g);
        const auto zero = std::uint64_t(weight.zeros[at]);
        const std::int64_t shift = row * bits - word * 32;
        packed |= shift < 0 ? zero >> -shift : zero << shift;
      }
      const auto low = std::uint32_t(packed);
      std::memcpy(out + g * 4, &low, 4);
    }
  };
  return rows_tensor(name, "I32", {words, groups}, words, std::size_t(groups) * 4, make);
}

/// Rows of 8-bit codes, unsigned with a bias of 128, as signed bytes without row padding.
TensorToWrite int8_tensor(const std::string& name, const QTensor& weight) {
  const auto stride = int_row_bytes(weight.cols, 8);
  return rows_tensor(name, "I8", {weight.rows, weight.cols}, weight.rows, std::size_t(weight.cols),
                     [&weight, stride](std::int64_t row, std::byte* out) {
                       const auto* in = weight.codes.data() + row * stride;
                       for (std::int64_t i = 0; i < weight.cols; ++i)
                         out[weight.column_order ? (*weight.column_order)[std::size_t(i)] : i] =
                             in[i] ^ std::byte(0x80);
                     });
}

/// Codes back in the order of the columns.
TensorToWrite ordered_tensor(const std::string& name, const QTensor& weight) {
  const int bits = int(weight.scheme.bits);
  const auto stride = int_row_bytes(weight.cols, bits);
  const auto make = [&weight, bits, stride](std::int64_t row, std::byte* out) {
    const auto* in = reinterpret_cast<const std::uint8_t*>(weight.codes.data()) + row * stride;
    auto* packed = reinterpret_cast<std::uint8_t*>(out);
    std::fill_n(packed, stride, std::uint8_t(0));
    for (std::int64_t i = 0; i < weight.cols; ++i) {
      const std::int64_t from = i * bits, to = (*weight.column_order)[std::size_t(i)] * bits;
      unsigned code = unsigned(in[from / 8]) >> (from % 8);
      if (from % 8 + bits > 8)
        code |= unsigned(in[from / 8 + 1]) << (8 - from % 8);
      code &= (1u << bits) - 1;
      packed[to / 8] = std::uint8_t(packed[to / 8] | code << (to % 8));
      if (to % 8 + bits > 8)
        packed[to / 8 + 1] = std::uint8_t(packed[to / 8 + 1] | code >> (8 - to % 8));
    }
  };
  return rows_tensor(name, "I32", {weight.rows, stride / 4}, weight.rows, std::size_t(stride),
                     make);
}

/// The group of every column.
TensorToWrite group_index(const std::string& name, const QTensor& weight, std::int64_t group) {
  return {name,
          "I32",
          {weight.cols},
          std::uint64_t(weight.cols) * 4,
          [&weight, group](OutputFile& file) {
            std::vector<std::int32_t> of(std::size_t(weight.cols));
            for (std::int64_t i = 0; i < weight.cols; ++i)
              of[std::size_t((*weight.column_order)[std::size_t(i)])] = std::int32_t(i / group);
            return file.write(std::as_bytes(std::span(of)));
          }};
}

void add_integers(const Module& module, std::vector<TensorToWrite>& out) {
  const QTensor& weight = module.weight;
  const auto& name = module.hf_name();
  const std::int64_t group = compressed_group(weight);
  const std::int64_t groups = group == 0 ? 1 : weight.cols / group;
  if (module.activations != "none") {
    out.push_back(int8_tensor(name + ".weight", weight));
    out.push_back(scale_tensor(name + ".weight_scale", weight, 1));
    return;
  }
  const auto words = int_row_bytes(weight.cols, int(weight.scheme.bits)) / 4;
  out.push_back(weight.column_order ? ordered_tensor(name + ".weight_packed", weight)
                                    : bytes_tensor(name + ".weight_packed", "I32",
                                                   {weight.rows, words}, weight.codes));
  out.push_back(scale_tensor(name + ".weight_scale", weight, groups));
  if (!weight.scheme.symmetric)
    out.push_back(zero_tensor(name + ".weight_zero_point", weight, groups));
  if (weight.column_order && groups > 1)
    out.push_back(group_index(name + ".weight_g_idx", weight, group));
  const std::int64_t shape[2] = {weight.rows, weight.cols};
  const auto raw = std::as_bytes(std::span(shape));
  out.push_back(owned_tensor(name + ".weight_shape", "I64", {2}, {raw.begin(), raw.end()}));
}

void add_float8(const Module& module, std::vector<TensorToWrite>& out) {
  const QTensor& weight = module.weight;
  const auto& name = module.hf_name();
  std::vector<std::int64_t> shape{weight.rows, 1};
  if (weight.scheme.per_tensor)
    shape = {1};
  else if (weight.scheme.group > 0)
    shape = {(weight.rows + weight.scheme.group_rows - 1) / weight.scheme.group_rows,
             (weight.cols + weight.scheme.group - 1) / weight.scheme.group};
  out.push_back(
      bytes_tensor(name + ".weight", "F8_E4M3", {weight.rows, weight.cols}, weight.codes));
  out.push_back(bytes_tensor(name + ".weight_scale", safetensors_dtype(weight.scheme.float_type),
                             shape, weight.scales));
}

/// Blocks of `columns` columns with `scales` scales in front: nibbles and scales each by
/// themselves, neighbours in one byte.
void add_blocks(const Module& module, int columns, int scales, std::vector<TensorToWrite>& out) {
  const QTensor& weight = module.weight;
  const auto& name = module.hf_name();
  const int size = columns / scales, bytes = scales + columns / 2;
  const auto stride = (weight.cols + columns - 1) / columns * bytes;
  const auto row_of = [&weight, stride](std::int64_t row) {
    return weight.codes.data() + weight.stored_row(row) * stride;
  };
  out.push_back(
      rows_tensor(name + ".weight_packed", "U8", {weight.rows, weight.cols / 2}, weight.rows,
                  std::size_t(weight.cols / 2),
                  [&weight, row_of, size, bytes, scales](std::int64_t row, std::byte* to) {
                    const std::byte* in = row_of(row);
                    for (std::int64_t group = 0; group < weight.cols / size; ++group) {
                      const std::byte* halves =
                          in + group / scales * bytes + scales + group % scales * (size / 2);
                      const auto nibble = [&](int i) {
                        return unsigned(halves[i % (size / 2)]) >> (i < size / 2 ? 0 : 4) & 15u;
                      };
                      for (int i = 0; i < size; i += 2)
                        *to++ = std::byte(nibble(i) | nibble(i + 1) << 4);
                    }
                  }));
  out.push_back(
      rows_tensor(name + ".weight_scale", scales == 4 ? "F8_E4M3" : "U8",
                  {weight.rows, weight.cols / size}, weight.rows, std::size_t(weight.cols / size),
                  [&weight, row_of, size, bytes, scales](std::int64_t row, std::byte* to) {
                    const std::byte* in = row_of(row);
                    for (std::int64_t group = 0; group < weight.cols / size; ++group)
                      to[group] = in[group / scales * bytes + group % scales];
                  }));
  if (scales != 4)
    return;
  out.push_back({name + ".weight_global_scale", "F32", {1}, 4, [&weight](OutputFile& file) {
                   const float value =
                       weight.scales.empty()
                           ? 1.0f
                           : stored_inverse(load_float(FloatType::f32, weight.scales.data(), 0));
                   return file.write(std::as_bytes(std::span(&value, 1)));
                 }});
}

} // namespace

TensorToWrite one_float(const std::string& name, float value) {
  const auto raw = std::as_bytes(std::span(&value, 1));
  return owned_tensor(name, "F32", {1}, {raw.begin(), raw.end()});
}

float stored_inverse(float scale) {
  const float nearest = 1.0f / scale;
  for (const float candidate : {nearest, std::nextafter(nearest, 0.0f),
                                std::nextafter(nearest, std::numeric_limits<float>::max())})
    if (1.0f / candidate == scale)
      return candidate;
  return nearest;
}

void add_compressed_module(const Module& module, std::vector<TensorToWrite>& out) {
  const QTensor& weight = module.weight;
  const auto& name = module.hf_name();
  const auto first = out.size();
  if (!weight.scheme.quantized)
    out.push_back(folder_tensor(module, weight.scheme.float_type));
  else if (weight.scheme.family->id == "f8")
    add_float8(module, out);
  else if (is_nvfp4(weight.scheme))
    add_blocks(module, 64, 4, out);
  else if (weight.scheme.id == "mxfp4")
    add_blocks(module, 32, 1, out);
  else
    add_integers(module, out);
  with_weight(weight, out, first);
  if (weight.scheme.quantized && module.activation_scale != 0)
    out.push_back(
        is_nvfp4(weight.scheme)
            ? one_float(name + ".input_global_scale", stored_inverse(module.activation_scale))
            : one_float(name + ".input_scale", module.activation_scale));
  add_bias(module, out);
}

} // namespace bitlathe
