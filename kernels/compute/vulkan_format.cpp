// SPDX-License-Identifier: Apache-2.0
#include "kernels/compute/vulkan_format.h"

#include "kernels/base/parallel.h"
#include "kernels/compute/compute.h"

#include <algorithm>
#include <cstring>

namespace bitlathe {

namespace {

struct BlockShape {
  std::int64_t bytes, head; ///< of a block of 32; head: scale and offset before the codes
};
BlockShape block_shape(std::uint32_t layout) {
  return layout == PackedFormat::layout_q8_0   ? BlockShape{34, 2}
         : layout == PackedFormat::layout_q4_0 ? BlockShape{18, 2}
                                               : BlockShape{20, 4};
}

FloatView as_floats(const MatrixView& q) {
  return {q.float_type, q.rows, q.cols, q.codes, q.row_order};
}

/// Rows of `bytes` each, in the order of the view.
void copy_rows(std::byte* to, const std::byte* from, RowOrder order, std::int64_t first,
               std::int64_t count, std::int64_t bytes) {
  if (order.empty()) {
    copy_bytes(to, from + first * bytes, std::uint64_t(count * bytes));
    return;
  }
  parallel_for(count, std::max<std::int64_t>(1, (1 << 20) / std::max<std::int64_t>(1, bytes)),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t r = begin; r < end; ++r)
                   std::memcpy(to + r * bytes, from + stored_row(order, first + r) * bytes,
                               std::size_t(bytes));
               });
}

} // namespace

void copy_bytes(std::byte* to, const std::byte* from, std::uint64_t bytes) {
  constexpr std::int64_t piece = 1 << 20;
  parallel_for((std::int64_t(bytes) + piece - 1) / piece, 2,
               [&](std::int64_t begin, std::int64_t end) {
                 const std::uint64_t at = std::uint64_t(begin * piece);
                 std::memcpy(to + at, from + at, std::min<std::uint64_t>(end * piece, bytes) - at);
               });
}

void fill_rows(std::byte* to, const FloatView& w, std::int64_t first, std::int64_t count) {
  const std::int64_t bytes = w.row_bytes(), stride = padded_row_bytes(w);
  if (bytes == stride) {
    copy_rows(to, w.data.data(), w.row_order, first, count, bytes);
    return;
  }
  parallel_for(count, std::max<std::int64_t>(1, (1 << 20) / stride),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t r = begin; r < end; ++r) {
                   std::memcpy(to + r * stride, w.row(first + r), std::size_t(bytes));
                   std::memset(to + r * stride + bytes, 0, std::size_t(stride - bytes));
                 }
               });
}

Result<PackedFormat> packed_format(const MatrixView& q) {
  PackedFormat f;
  const auto unsupported = [&](const std::string& why) {
    return Error{"unsupported", why, q.layout ? std::string(q.layout->id) : std::string()};
  };
  if (!q.layout)
    return unsupported("The matrix has no layout");
  const std::string_view id = q.layout->id;
  const bool is_block = id == "q8_0" || id == "q4_0" || id == "q4_1";
  if (q.rows <= 0 || q.cols <= 0 || q.cols > (1 << 26) || (is_block && q.cols % 32 != 0))
    return unsupported("The GPU kernels do not take this shape");
  if (std::int64_t(q.codes.size()) < q.rows * q.layout->row_bytes(q))
    return unsupported("The matrix is shorter than its shape says");
  if (id == "float") {
    f.layout = PackedFormat::layout_float;
    f.ftype = std::uint32_t(q.float_type);
    f.row_words = std::uint32_t(row_units(q.cols));
    f.code_bytes = padded_row_bytes(as_floats(q));
    return f;
  }
  if (is_block) {
    f.layout = id == "q8_0"   ? PackedFormat::layout_q8_0
               : id == "q4_0" ? PackedFormat::layout_q4_0
                              : PackedFormat::layout_q4_1;
    f.code_bytes = q.layout->row_bytes(q);
    return f;
  }
  if (id != "int")
    return unsupported("There is no GPU kernel for layout " + std::string(id));
  f.layout = PackedFormat::layout_int;
  f.ftype = std::uint32_t(q.float_type);
  f.bits = std::uint32_t(q.bits);
  f.zeros = q.symmetric ? PackedFormat::zeros_middle : PackedFormat::zeros_byte;
  f.code_bytes = int_row_bytes(q.cols, q.bits);
  f.row_words = std::uint32_t(f.code_bytes / 4);
  const bool one = q.per_tensor || q.group <= 0 || q.group >= q.cols;
  f.group = std::uint32_t(one ? q.cols : q.group);
  f.groups = std::uint32_t(one ? 1 : q.groups());
  f.of_row = q.per_tensor ? 0 : f.groups;
  f.scale_bytes = f.of_row * std::int64_t(float_size(q.float_type));
  f.zero_bytes = q.symmetric ? 0 : f.of_row;
  const std::int64_t n = q.per_tensor ? 1 : q.rows * std::int64_t(f.groups);
  if (q.bits < 2 || q.bits > 8 ||
      std::int64_t(q.scales.size()) < n * std::int64_t(float_size(q.float_type)) ||
      (!q.symmetric && std::int64_t(q.zeros.size()) < n))
    return unsupported("The matrix has too few scales or zero points");
  return f;
}

PackedBytes packed_bytes(const PackedFormat& f, std::int64_t count) {
  const auto at_least = [](std::int64_t n) { return std::uint64_t(std::max<std::int64_t>(n, 4)); };
  return {at_least(f.code_bytes * count), at_least(f.scale_bytes * count),
          at_least(f.zero_bytes * count)};
}

void fill_codes(std::byte* to, const MatrixView& q, std::int64_t first, std::int64_t count) {
  if (q.layout->id == "float") {
    fill_rows(to, as_floats(q), first, count);
    return;
  }
  copy_rows(to, q.codes.data(), q.row_order, first, count, q.layout->row_bytes(q));
}

void fill_scales(std::byte* to, const MatrixView& q, const PackedFormat& f, std::int64_t first,
                 std::int64_t count) {
  if (f.layout != PackedFormat::layout_int)
    return;
  const auto size = std::int64_t(float_size(q.float_type));
  if (f.of_row == 0)
    std::memcpy(to, q.scales.data(), std::size_t(size));
  else
    copy_rows(to, q.scales.data(), q.row_order, first, count, f.scale_bytes);
}

void fill_zeros(std::byte* to, const MatrixView& q, const PackedFormat& f, std::int64_t first,
                std::int64_t count) {
  if (f.zeros != PackedFormat::zeros_byte)
    return;
  if (f.of_row == 0)
    std::memcpy(to, q.zeros.data(), 1);
  else
    copy_rows(to, q.zeros.data(), q.row_order, first, count, f.zero_bytes);
}

PackedFormat resident_format(const MatrixView& q, const PackedFormat& f) {
  if (f.layout < PackedFormat::layout_q8_0)
    return f;
  PackedFormat out;
  const bool offset = f.layout == PackedFormat::layout_q4_1;
  out.layout = PackedFormat::layout_int;
  out.ftype = std::uint32_t(FloatType::f16);
  out.bits = f.layout == PackedFormat::layout_q8_0 ? 8 : 4;
  out.zeros = offset ? PackedFormat::zeros_offset : PackedFormat::zeros_middle;
  out.code_bytes = q.cols * out.bits / 8;
  out.row_words = std::uint32_t(out.code_bytes / 4);
  out.group = 32;
  out.groups = out.of_row = std::uint32_t(q.cols / 32);
  out.scale_bytes = out.groups * 2;
  out.zero_bytes = offset ? out.scale_bytes : 0;
  return out;
}

void fill_resident_blocks(const MatrixView& q, std::int64_t first, std::int64_t count,
                          std::byte* codes, std::byte* scales, std::byte* offsets) {
  const bool wide = q.layout->id == "q8_0", offset = q.layout->id == "q4_1";
  const BlockShape shape = block_shape(wide     ? PackedFormat::layout_q8_0
                                       : offset ? PackedFormat::layout_q4_1
                                                : PackedFormat::layout_q4_0);
  const std::int64_t in_row = q.cols / 32, out_bytes = wide ? 32 : 16;
  parallel_for(count * in_row, 1 << 14, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin; b < end; ++b) {
      const std::uint8_t* block = q.row(first + b / in_row) + b % in_row * shape.bytes;
      auto* to = reinterpret_cast<std::uint8_t*>(codes + b * out_bytes);
      std::memcpy(scales + b * 2, block, 2);
      if (offset)
        std::memcpy(offsets + b * 2, block + 2, 2);
      block += shape.head;
      if (wide) // signed to unsigned about 128
        for (int j = 0; j < 32; ++j)
          to[j] = std::uint8_t(block[j] ^ 0x80);
      else // halves of the block side by side to neighbours
        for (int j = 0; j < 8; ++j) {
          to[j] = std::uint8_t((block[2 * j] & 15) | (block[2 * j + 1] & 15) << 4);
          to[j + 8] = std::uint8_t((block[2 * j] >> 4) | (block[2 * j + 1] & 0xf0));
        }
    }
  });
}

} // namespace bitlathe
