// SPDX-License-Identifier: Apache-2.0
#include "kernels/matrix.h"

#include "kernels/num/float16.h"

#include <cstring>

namespace bitlathe {

float load_float(FloatType type, const std::byte* base, std::int64_t index) {
  const std::byte* at = base + index * std::int64_t(float_size(type));
  if (type == FloatType::f32) {
    float value;
    std::memcpy(&value, at, 4);
    return value;
  }
  std::uint16_t half;
  std::memcpy(&half, at, 2);
  return type == FloatType::f16 ? f16_to_f32(half) : bf16_to_f32(half);
}

void store_float(FloatType type, std::byte* base, std::int64_t index, float value) {
  std::byte* at = base + index * std::int64_t(float_size(type));
  if (type == FloatType::f32) {
    std::memcpy(at, &value, 4);
    return;
  }
  const std::uint16_t half = type == FloatType::f16 ? f32_to_f16(value) : f32_to_bf16(value);
  std::memcpy(at, &half, 2);
}

FloatView FloatView::slice(std::int64_t first_row, std::int64_t count) const {
  FloatView part = *this;
  part.rows = count;
  if (!row_order.empty())
    part.row_order = row_order.subspan(std::size_t(first_row), std::size_t(count));
  else
    part.data =
        data.subspan(std::size_t(first_row * row_bytes()), std::size_t(count * row_bytes()));
  return part;
}

const std::uint8_t* MatrixView::row(std::int64_t r) const {
  return reinterpret_cast<const std::uint8_t*>(codes.data()) + stored(r) * layout->row_bytes(*this);
}

MatrixView MatrixView::slice(std::int64_t first_row, std::int64_t count) const {
  MatrixView part = *this;
  part.rows = count;
  if (!row_order.empty()) {
    part.row_order = row_order.subspan(std::size_t(first_row), std::size_t(count));
    return part;
  }
  const auto cut = [&](std::span<const std::byte> all, std::int64_t row_bytes) {
    return all.subspan(std::size_t(first_row * row_bytes), std::size_t(count * row_bytes));
  };
  if (layout->id == "float_columns") { // every column has its part of these rows
    part.codes = codes.subspan(std::size_t(first_row) * float_size(float_type));
    return part;
  }
  part.codes = cut(codes, layout->row_bytes(*this));
  part.row_origin += first_row;
  if (layout->groups_cross_rows)
    return part;
  if (!per_tensor) { // one scale and zero for all rows stays as it is
    if (!scales.empty())
      part.scales = cut(scales, groups() * std::int64_t(float_size(float_type)));
    if (!zeros.empty())
      part.zeros = cut(zeros, groups());
  }
  return part;
}

const Layout* find_layout(std::string_view id) {
  for (const Layout* layout : all_layouts())
    if (layout->id == id)
      return layout;
  return nullptr;
}

} // namespace bitlathe
