// SPDX-License-Identifier: Apache-2.0
#include "core/model/readers/packed_columns.h"

#include "kernels/base/parallel.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

namespace bitlathe {

namespace {

std::string shape_of(const StoredTensor& tensor) {
  std::string out = "[";
  for (const auto n : tensor.shape)
    out += (out.size() > 1 ? ", " : "") + std::to_string(n);
  return out + "]";
}

} // namespace

Error bad_part(const std::string& module, const std::string& what, const StoredTensor& tensor) {
  return bad_module(module, what, tensor.file ? tensor.file->path().string() : tensor.name);
}

Result<const StoredTensor*> packed_matrix(const std::string& module, const Parts& parts,
                                          const char* part, const std::string& where) {
  const auto it = parts.find(part);
  if (it == parts.end())
    return bad_module(module, std::string(part) + " is missing", where);
  const StoredTensor& tensor = *it->second;
  const bool scales = std::string_view(part) == "scales";
  if (!scales && tensor.dtype != "I32")
    return bad_part(
        module, "its " + std::string(part) + " is stored as " + tensor.dtype + " instead of I32",
        tensor);
  if (tensor.shape.size() != 2 || tensor.shape[0] < 1 || tensor.shape[1] < 1)
    return bad_part(module,
                    "its " + std::string(part) + " has the shape " + shape_of(tensor) +
                        ", which is no matrix",
                    tensor);
  return &tensor;
}

Result<void> expect_shape(const std::string& module, const char* part, const StoredTensor& tensor,
                          std::int64_t rows, std::int64_t cols, const std::string& why) {
  if (tensor.shape[0] == rows && tensor.shape[1] == cols)
    return {};
  return bad_part(module,
                  "its " + std::string(part) + " has the shape " + shape_of(tensor) +
                      " instead of [" + std::to_string(rows) + ", " + std::to_string(cols) +
                      "], which follows from " + why,
                  tensor);
}

void turn_words(std::span<const std::byte> words, std::int64_t rows, std::int64_t cols,
                std::span<std::byte> out) {
  // A square of words at a time, so that both sides stay in the cache.
  constexpr std::int64_t side = 32;
  parallel_for((cols + side - 1) / side, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t col0 = begin * side; col0 < std::min(end * side, cols); col0 += side)
      for (std::int64_t row0 = 0; row0 < rows; row0 += side) {
        const auto col1 = std::min(col0 + side, cols), row1 = std::min(row0 + side, rows);
        for (std::int64_t col = col0; col < col1; ++col)
          for (std::int64_t row = row0; row < row1; ++row)
            std::memcpy(out.data() + (col * rows + row) * 4, words.data() + (row * cols + col) * 4,
                        4);
      }
  });
}

Result<void> turn_scales(const std::string& module, const StoredTensor& scales, FloatType type,
                         std::span<std::byte> out) {
  const auto size = std::int64_t(float_size(type));
  const std::int64_t groups = scales.shape[0], rows = scales.shape[1];
  std::atomic<std::int64_t> broken{-1};
  parallel_for(rows, 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t g = 0; g < groups; ++g)
      for (std::int64_t row = begin; row < end; ++row) {
        const auto* from = scales.data.data() + (g * rows + row) * size;
        std::memcpy(out.data() + (row * groups + g) * size, from, std::size_t(size));
        if (!std::isfinite(load_float(type, from, 0)))
          broken = row;
      }
  });
  if (broken >= 0)
    return bad_part(module, "a scale of row " + std::to_string(broken) + " is no finite number",
                    scales);
  return {};
}

} // namespace bitlathe
