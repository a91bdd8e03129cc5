// SPDX-License-Identifier: Apache-2.0
#include "kernels/nn/products.h"

#include "kernels/base/parallel.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/kernels.h"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace bitlathe {

namespace {

constexpr std::int64_t block_rows = 48;  ///< rows of A taken together; whole tiles of every set
constexpr std::int64_t block_k = 512;    ///< of A: 96 KiB with block_rows
constexpr std::int64_t most_panels = 16; ///< panels that share one block of A
constexpr std::int64_t piece = 64;       ///< columns turned at a time: both sides stay in cache

/// out[i * out_stride + j] = element (i, j) of `from`.
void copy_block(const Operand& from, std::int64_t rows, std::int64_t cols, float* out,
                std::int64_t out_stride) {
  if (!from.transposed) {
    for (std::int64_t i = 0; i < rows; ++i)
      std::memcpy(out + i * out_stride, from.data + i * from.stride,
                  std::size_t(cols) * sizeof(float));
    return;
  }
  for (std::int64_t j0 = 0; j0 < cols; j0 += piece)
    for (std::int64_t i = 0; i < rows; ++i)
      for (std::int64_t j = j0; j < std::min(cols, j0 + piece); ++j)
        out[i * out_stride + j] = from.data[j * from.stride + i];
}

Operand at(const Operand& from, std::int64_t i, std::int64_t j) {
  return {from.data + (from.transposed ? j * from.stride + i : i * from.stride + j), from.stride,
          from.transposed};
}

} // namespace

PackedOperand::PackedOperand(const Operand& b, std::int64_t k, std::int64_t n)
    : k_(k), n_(n), tokens_(active_cpu_kernels().tile_tokens),
      data_(std::size_t((n + tokens_ - 1) / tokens_ * tokens_ * k)) {
  const std::int64_t pieces = (k + piece - 1) / piece;
  parallel_for(panels() * pieces, std::max<std::int64_t>(1, 65536 / (piece * tokens_)),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t i = begin; i < end; ++i) {
                   const std::int64_t panel = i / pieces, first = i % pieces * piece;
                   const std::int64_t rows = std::min(piece, k - first);
                   const std::int64_t cols = std::min(tokens_, n - panel * tokens_);
                   float* out = data_.data() + (panel * k + first) * tokens_;
                   copy_block(at(b, first, panel * tokens_), rows, cols, out, tokens_);
                   if (cols < tokens_)
                     for (std::int64_t r = 0; r < rows; ++r)
                       std::fill(out + r * tokens_ + cols, out + (r + 1) * tokens_, 0.0f);
                 }
               });
}

void product_part(const Operand& a, std::int64_t m, const PackedOperand& b,
                  const ProductRange& range, float* c, std::int64_t stride, bool add) {
  const auto& kernels = active_cpu_kernels();
  const std::int64_t tokens = kernels.tile_tokens, tile_rows = kernels.tile_rows;
  assert(b.panel_columns() == tokens);
  // The slice of a panel that a tile reads stays in the first cache: 16 KiB.
  const std::int64_t slice = 4096 / tokens, tile = tile_rows * tokens;
  const std::int64_t last_panel = range.first_panel + range.panels;
  const std::int64_t most_rows = std::min(block_rows, (m + tile_rows - 1) / tile_rows * tile_rows);
  const std::int64_t row_tiles = (most_rows + tile_rows - 1) / tile_rows;
  const std::int64_t most = std::min(range.panels, most_panels);
  Scratch<float> block(std::size_t(most_rows * std::min(block_k, range.k)));
  Scratch<float> sums(std::size_t(row_tiles * most * tile));
  for (std::int64_t p0 = range.first_panel; p0 < last_panel; p0 += most_panels) {
    const std::int64_t panels = std::min(most_panels, last_panel - p0);
    for (std::int64_t row = 0; row < m; row += block_rows) {
      const std::int64_t rows = std::min(block_rows, m - row);
      std::memset(sums.data(), 0, sums.size() * sizeof(float));
      for (std::int64_t k0 = 0; k0 < range.k; k0 += block_k) {
        const std::int64_t count = std::min(block_k, range.k - k0);
        copy_block(at(a, row, k0), rows, count, block.data(), count);
        for (std::int64_t k = 0; k < count; k += slice)
          for (std::int64_t p = 0; p < panels; ++p)
            for (std::int64_t r = 0; r < rows; r += tile_rows)
              kernels.gemm_tile(b.panel(p0 + p) + (range.first_k + k0 + k) * tokens,
                                block.data() + r * count + k, count, std::min(slice, count - k),
                                std::min(tile_rows, rows - r), b.n() - (p0 + p) * tokens,
                                sums.data() + (r / tile_rows * panels + p) * tile);
      }
      for (std::int64_t r = 0; r < rows; ++r)
        for (std::int64_t p = 0; p < panels; ++p) {
          const float* from =
              sums.data() + (r / tile_rows * panels + p) * tile + r % tile_rows * tokens;
          const std::int64_t col = (p0 + p) * tokens, cols = std::min(tokens, b.n() - col);
          float* to = c + (row + r) * stride + col;
          if (add)
            for (std::int64_t j = 0; j < cols; ++j)
              to[j] += from[j];
          else
            std::memcpy(to, from, std::size_t(cols) * sizeof(float));
        }
    }
  }
}

bool product(const Operand& a, std::int64_t m, const PackedOperand& b, float* c,
             std::int64_t stride, bool add, const Feedback* feedback) {
  const std::int64_t row_blocks = (m + block_rows - 1) / block_rows;
  const std::int64_t panel_blocks = (b.panels() + most_panels - 1) / most_panels;
  return parallel_for(
      row_blocks * panel_blocks, 1,
      [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          const std::int64_t row = i / panel_blocks * block_rows;
          const std::int64_t panel = i % panel_blocks * most_panels;
          product_part(at(a, row, 0), std::min(block_rows, m - row), b,
                       {0, b.k(), panel, std::min(most_panels, b.panels() - panel)},
                       c + row * stride, stride, add);
        }
      },
      feedback);
}

} // namespace bitlathe
