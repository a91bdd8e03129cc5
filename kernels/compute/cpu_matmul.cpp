// SPDX-License-Identifier: Apache-2.0
#include "kernels/compute/cpu_matmul.h"

#include "kernels/base/parallel.h"
#include "kernels/compute/cpu_scratch.h"
#include "kernels/layouts/blockwise.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

namespace bitlathe {

namespace {

using cpu::Kernels;

constexpr std::int64_t few = 6;           ///< below this many tokens blocked tiles do not pay
constexpr std::int64_t block_rows = 48;   ///< rows decoded together; whole tiles of every set
constexpr std::int64_t decode_cols = 512; ///< columns decoded together: 96 KiB with block_rows
constexpr std::int64_t dot_cols = 2048;   ///< columns of one row decoded together: 8 KiB
constexpr std::int64_t most_panels = 32;  ///< panels that share one decoding

std::int64_t row_grain(std::int64_t values_per_row) {
  return std::max<std::int64_t>(1, 65536 / std::max<std::int64_t>(1, values_per_row));
}

/// x as gemv_int4 and gemv_q4_0 want it.
struct NibbleInput {
  Scratch<float> x, sums; // aligned: a load across two cache lines costs two

  /// `pairs`: byte j holds columns 2j and 2j + 1 (layout "int"), else j and j + 16 (GGUF blocks).
  NibbleInput(const float* in, std::int64_t n, std::int64_t group, bool pairs)
      : x(std::size_t((n + 31) / 32 * 32)), sums(std::size_t((n + group - 1) / group * 16)) {
    std::fill_n(x.data(), x.size(), 0.0f);
    std::fill_n(sums.data(), sums.size(), 0.0f);
    for (std::int64_t i = 0; i < n; ++i) {
      const std::int64_t in_block = i % 32;
      const bool high = pairs ? in_block % 2 == 1 : in_block >= 16;
      const std::int64_t lane = pairs ? in_block / 2 : in_block % 16;
      x.data()[i - in_block + (high ? 16 : 0) + lane] = high ? in[i] / 16.0f : in[i];
      sums.data()[i / group * 16 + lane] += in[i];
    }
  }
};

/// Scales of one row of layout "int" as f32, and its zero points or null.
struct RowGrid {
  std::vector<float> scales;
  const std::uint8_t* zeros = nullptr;

  void read(const Kernels& k, const MatrixView& w, std::int64_t row) {
    const std::int64_t groups = w.per_tensor ? 1 : w.groups();
    const std::int64_t first = w.per_tensor ? 0 : w.stored(row) * groups;
    scales.resize(std::size_t(groups));
    k.to_f32(int(w.float_type), w.scales.data() + first * std::int64_t(float_size(w.float_type)),
             groups, scales.data());
    zeros = w.symmetric ? nullptr : reinterpret_cast<const std::uint8_t*>(w.zeros.data()) + first;
  }
};

/// What the codes of four bits of one row stand for: layouts "nf4" and "fp4" whose blocks end with
/// the rows, and "codebook".
struct Table4Row {
  float table[16];
  std::vector<float> scales;

  void read(const Kernels& k, const MatrixView& w, std::int64_t row) {
    if (w.layout->id == "codebook") {
      const std::int64_t first = w.per_tensor ? 0 : (w.row_origin + row) * 16;
      k.to_f32(int(w.float_type), w.scales.data() + first * std::int64_t(float_size(w.float_type)),
               16, table);
      scales.assign(1, 1.0f);
      return;
    }
    const auto& values = w.layout->id == "nf4" ? nf4_values : fp4_values;
    std::copy(values.begin(), values.end(), table);
    const std::int64_t blocks = w.cols / w.group;
    scales.resize(std::size_t(blocks));
    for (std::int64_t b = 0; b < blocks; ++b)
      scales[std::size_t(b)] = block_scale(w, (w.row_origin + row) * blocks + b);
  }
};

/// One token: calls dot(row) for every row.
template <class Make>
void each_row(const MatrixView& w, std::int64_t values_per_row, float* y, Make make_dot) {
  parallel_for(w.rows, row_grain(values_per_row), [&](std::int64_t begin, std::int64_t end) {
    auto dot = make_dot();
    for (std::int64_t r = begin; r < end; ++r)
      y[r] = dot(r);
  });
}

void one_token(const Kernels& k, const MatrixView& w, const float* x, float* y) {
  const std::int64_t cols = w.cols;
  const std::string_view id = w.layout->id;
  if (id == "float") {
    const int type = int(w.float_type);
    return each_row(w, cols, y, [&] {
      return [&](std::int64_t r) { return k.gemv_float(type, w.row(r), x, cols); };
    });
  }
  if (id == "q8_0")
    return each_row(w, cols, y,
                    [&] { return [&](std::int64_t r) { return k.gemv_q8_0(w.row(r), x, cols); }; });
  if (id == "q4_0") {
    const NibbleInput in(x, cols, 32, false);
    return each_row(w, cols, y, [&] {
      return
          [&](std::int64_t r) { return k.gemv_q4_0(w.row(r), in.x.data(), in.sums.data(), cols); };
    });
  }
  const std::int64_t group = id == "int" && !w.per_tensor ? w.group : cols;
  const bool whole = group % 32 == 0 || group >= cols;
  if (id == "int" && w.bits == 4 && whole) {
    const NibbleInput in(x, cols, group, true);
    return each_row(w, cols, y, [&] {
      return [&, grid = RowGrid()](std::int64_t r) mutable {
        grid.read(k, w, r);
        return k.gemv_int4(w.row(r), in.x.data(), in.sums.data(), cols, group, grid.scales.data(),
                           grid.zeros);
      };
    });
  }
  if (id == "int" && w.bits == 8 && whole)
    return each_row(w, cols, y, [&] {
      return [&, grid = RowGrid()](std::int64_t r) mutable {
        grid.read(k, w, r);
        return k.gemv_int8(w.row(r), x, cols, group, grid.scales.data(), grid.zeros);
      };
    });
  const bool blockwise = id == "nf4" || id == "fp4";
  if ((blockwise && cols % w.group == 0) || (id == "codebook" && w.bits == 4))
    return each_row(w, cols, y, [&] {
      return [&, row = Table4Row()](std::int64_t r) mutable {
        row.read(k, w, r);
        return k.gemv_table4(w.row(r), x, cols, blockwise ? w.group : cols, row.table,
                             row.scales.data());
      };
    });
  if (w.layout->block > 0)
    if (const auto dot = w.layout->kernels(k).dot) {
      Scratch<float> sums(std::size_t(cols / 16));
      for (std::int64_t i = 0; i < cols / 16; ++i) {
        float sum = 0;
        for (int j = 0; j < 16; ++j)
          sum += x[i * 16 + j];
        sums.data()[i] = sum;
      }
      return each_row(w, cols, y, [&] {
        return
            [&](std::int64_t r) { return dot(w.row(r), x, sums.data(), cols / w.layout->block); };
      });
    }
  // Any other layout: a piece of the row is decoded into the first cache at a time.
  each_row(w, cols, y, [&] {
    return
        [&, piece = Scratch<float>(std::size_t(std::min(cols, dot_cols)))](std::int64_t r) mutable {
          float sum = 0;
          for (std::int64_t col = 0; col < cols; col += dot_cols) {
            const std::int64_t n = std::min(dot_cols, cols - col);
            w.layout->decode(w, r, col, n, piece.data());
            float part;
            k.dot_rows(x + col, piece.data(), n, 1, n, &part);
            sum += part;
          }
          return sum;
        };
  });
}

void few_tokens(const Kernels& k, const MatrixView& w, const float* x, std::int64_t m, float* y) {
  parallel_for(w.rows, row_grain(w.cols * m), [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> row(std::size_t(w.cols));
    float out[few];
    for (std::int64_t r = begin; r < end; ++r) {
      w.layout->decode(w, r, 0, w.cols, row.data());
      k.dot_rows(row.data(), x, w.cols, m, w.cols, out);
      for (std::int64_t t = 0; t < m; ++t)
        y[t * w.rows + r] = out[t];
    }
  });
}

/// How the blocks of a product are dealt out.
struct Deal {
  std::int64_t panels, panel_block, panel_blocks, rows, row_blocks;

  Deal(const Kernels& k, const MatrixView& w, std::int64_t m) {
    panels = (m + k.tile_tokens - 1) / k.tile_tokens;
    panel_block = std::min(panels, most_panels);
    panel_blocks = (panels + panel_block - 1) / panel_block;
    // Small matrices: blocks of fewer rows, so that every thread gets some.
    const std::int64_t wanted = 3 * thread_count();
    rows = block_rows;
    while (rows > k.tile_rows && (w.rows + rows - 1) / rows * panel_blocks < wanted)
      rows -= k.tile_rows;
    row_blocks = (w.rows + rows - 1) / rows;
  }

  /// run(first row, row count, first panel, panel count)
  template <class Run> void each(const MatrixView& w, Run run) const {
    parallel_for(row_blocks * panel_blocks, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t row = i / panel_blocks * rows, panel = i % panel_blocks * panel_block;
        run(row, std::min(rows, w.rows - row), panel, std::min(panel_block, panels - panel));
      }
    });
  }
};

/// Sums of one block: tiles[tile][panel][row][token].
class Sums {
 public:
  Sums(const Kernels& k, std::int64_t rows, std::int64_t panels)
      : tile_(k.tile_rows * k.tile_tokens), rows_(k.tile_rows), tokens_(k.tile_tokens),
        panels_(panels), data_(std::size_t((rows + rows_ - 1) / rows_ * panels * tile_)) {
    std::memset(data_.data(), 0, data_.size() * sizeof(float));
  }
  float* tile(std::int64_t first_row, std::int64_t panel) {
    return data_.data() + (first_row / rows_ * panels_ + panel) * tile_;
  }
  /// To y[token][row], token scale applied if there is one.
  void write(float* y, std::int64_t stride, std::int64_t row, std::int64_t rows, std::int64_t panel,
             std::int64_t m, const float* token_scale) {
    for (std::int64_t p = 0; p < panels_; ++p)
      for (std::int64_t l = 0; l < tokens_; ++l) {
        const std::int64_t token = (panel + p) * tokens_ + l;
        if (token >= m)
          return;
        float* out = y + token * stride + row;
        const float scale = token_scale ? token_scale[token] : 1.0f;
        for (std::int64_t r = 0; r < rows; ++r)
          out[r] = scale * tile(r, p)[r % rows_ * tokens_ + l];
      }
  }

 private:
  std::int64_t tile_, rows_, tokens_, panels_;
  Scratch<float> data_;
};

/// x[m][cols] to panels[panel][col][token], missing tokens zero.
Scratch<float> pack_panels(const Kernels& k, const float* x, std::int64_t m, std::int64_t cols) {
  const std::int64_t tokens = k.tile_tokens, panels = (m + tokens - 1) / tokens;
  Scratch<float> packed(std::size_t(panels * tokens * cols));
  constexpr std::int64_t piece = 64; // columns turned at a time, so that both sides stay in cache
  const std::int64_t pieces = (cols + piece - 1) / piece;
  parallel_for(panels * pieces, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t panel = i / pieces, col = i % pieces * piece;
      const std::int64_t count = std::min(piece, cols - col);
      float* out = packed.data() + (panel * cols + col) * tokens;
      for (std::int64_t t = 0; t < tokens; ++t) {
        const std::int64_t token = panel * tokens + t;
        if (token < m)
          for (std::int64_t c = 0; c < count; ++c)
            out[c * tokens + t] = x[token * cols + col + c];
        else
          for (std::int64_t c = 0; c < count; ++c)
            out[c * tokens + t] = 0;
      }
    }
  });
  return packed;
}

void many_tokens(const Kernels& k, const MatrixView& w, const float* x, std::int64_t m, float* y) {
  const std::int64_t cols = w.cols, tokens = k.tile_tokens;
  const Scratch<float> packed = pack_panels(k, x, m, cols);
  // The slice of a panel that a tile reads stays in the first cache: 16 KiB.
  const std::int64_t slice = 4096 / tokens;
  const Deal deal(k, w, m);
  deal.each(w, [&](std::int64_t row, std::int64_t rows, std::int64_t panel, std::int64_t panels) {
    Sums sums(k, rows, panels);
    Scratch<float> decoded(std::size_t(rows * decode_cols));
    for (std::int64_t col = 0; col < cols; col += decode_cols) {
      const std::int64_t count = std::min(decode_cols, cols - col);
      for (std::int64_t r = 0; r < rows; ++r)
        w.layout->decode(w, row + r, col, count, decoded.data() + r * decode_cols);
      for (std::int64_t c = 0; c < count; c += slice)
        for (std::int64_t p = 0; p < panels; ++p)
          for (std::int64_t r = 0; r < rows; r += k.tile_rows)
            k.gemm_tile(packed.data() + ((panel + p) * cols + col + c) * tokens,
                        decoded.data() + r * decode_cols + c, decode_cols,
                        std::min(slice, count - c), std::min<std::int64_t>(k.tile_rows, rows - r),
                        m - (panel + p) * tokens, sums.tile(r, p));
    }
    sums.write(y, w.rows, row, rows, panel, m, nullptr);
  });
}

} // namespace

void cpu_matmul(const Kernels& k, const MatrixView& w, const float* x, std::int64_t m, float* y) {
  if (m <= 0 || w.rows <= 0)
    return;
  if (m == 1)
    one_token(k, w, x, y);
  else if (m < few)
    few_tokens(k, w, x, m, y);
  else
    many_tokens(k, w, x, m, y);
}

namespace {

/// x as int8 codes with what the correction for zero points needs.
struct Tokens {
  std::vector<std::int8_t> codes; ///< [m][cols]
  std::vector<std::int32_t> sums; ///< [groups][padded tokens]
  std::vector<float> scale;       ///< [m]
  std::int64_t groups, group, padded;

  Tokens(const Kernels& k, const MatrixView& w, const float* x, std::int64_t m,
         float static_scale) {
    group = w.per_tensor ? w.cols : w.group;
    groups = (w.cols + group - 1) / group;
    padded = (m + k.tile_tokens - 1) / k.tile_tokens * k.tile_tokens;
    codes.resize(std::size_t(m * w.cols));
    sums.resize(std::size_t(groups * padded));
    scale.resize(std::size_t(m));
    parallel_for(m, row_grain(w.cols), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t t = begin; t < end; ++t) {
        std::int8_t* q = codes.data() + t * w.cols;
        if (static_scale != 0) {
          scale[std::size_t(t)] = static_scale;
          encode_int8(x + t * w.cols, w.cols, static_scale, q);
        } else {
          scale[std::size_t(t)] = k.quantize_token(x + t * w.cols, w.cols, q);
        }
        for (std::int64_t g = 0; g < groups; ++g) {
          std::int32_t sum = 0;
          for (std::int64_t i = g * group; i < std::min(w.cols, (g + 1) * group); ++i)
            sum += q[i];
          sums[std::size_t(g * padded + t)] = sum;
        }
      }
    });
  }
};

void few_tokens_int8(const Kernels& k, const MatrixView& w, const Tokens& t, std::int64_t m,
                     float* y) {
  const std::int64_t stride = w.layout->row_bytes(w);
  parallel_for(w.rows, row_grain(w.cols * m), [&](std::int64_t begin, std::int64_t end) {
    std::vector<std::uint8_t> codes(std::size_t(w.cols));
    RowGrid grid;
    for (std::int64_t r = begin; r < end; ++r) {
      k.unpack(w.row(r), stride, w.bits, 0, w.cols, codes.data());
      grid.read(k, w, r);
      for (std::int64_t i = 0; i < m; ++i) {
        float sum = 0;
        for (std::int64_t g = 0; g < t.groups; ++g) {
          const std::int64_t first = g * t.group, n = std::min(t.group, w.cols - first);
          const std::int32_t zero = grid.zeros ? grid.zeros[g] : 1 << (w.bits - 1);
          const std::int32_t dot =
              k.dot_u8s8(codes.data() + first, t.codes.data() + i * w.cols + first, n);
          sum += grid.scales[std::size_t(g)] *
                 float(dot - zero * t.sums[std::size_t(g * t.padded + i)]);
        }
        y[i * w.rows + r] = t.scale[std::size_t(i)] * sum;
      }
    }
  });
}

/// Codes to panels[panel][group][k / step][token][step], every group padded to whole lanes.
Scratch<std::uint8_t> pack_codes(const Kernels& k, const Tokens& t, std::int64_t m,
                                 std::int64_t cols, std::int64_t group_codes) {
  const std::int64_t tokens = k.tile_tokens, unit = k.int8_unit, step = 4 / unit;
  const std::int64_t panel_bytes = t.groups * group_codes * tokens * unit;
  Scratch<std::uint8_t> packed(std::size_t(t.padded / tokens * panel_bytes));
  std::memset(packed.data(), 0, packed.size());
  parallel_for(t.padded / tokens * t.groups, 4, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t panel = i / t.groups, g = i % t.groups;
      std::uint8_t* out = packed.data() + panel * panel_bytes + g * group_codes * tokens * unit;
      const std::int64_t first = g * t.group, n = std::min(t.group, cols - first);
      for (std::int64_t l = 0; l < tokens && panel * tokens + l < m; ++l) {
        const std::int8_t* q = t.codes.data() + (panel * tokens + l) * cols + first;
        for (std::int64_t c = 0; c < n; ++c) {
          const std::int64_t at = (c / step * tokens + l) * step + c % step;
          if (unit == 1) {
            out[at] = std::uint8_t(q[c]);
          } else {
            const std::int16_t wide = q[c];
            std::memcpy(out + at * 2, &wide, 2);
          }
        }
      }
    }
  });
  return packed;
}

void many_tokens_int8(const Kernels& k, const MatrixView& w, const Tokens& t, std::int64_t m,
                      float* y) {
  const std::int64_t tokens = k.tile_tokens, unit = k.int8_unit;
  const std::int64_t group_codes = (std::min(t.group, w.cols) + 3) / 4 * 4;
  const Scratch<std::uint8_t> packed = pack_codes(k, t, m, w.cols, group_codes);
  const std::int64_t panel_bytes = t.groups * group_codes * tokens * unit;
  const std::int64_t stride = w.layout->row_bytes(w);
  const std::int64_t row_codes = (group_codes + 15) / 16 * 16; // widen_u8 takes 16 at a time
  const Deal deal(k, w, m);
  deal.each(w, [&](std::int64_t row, std::int64_t rows, std::int64_t panel, std::int64_t panels) {
    Sums sums(k, rows, panels);
    Scratch<std::uint8_t> narrow(static_cast<std::size_t>(row_codes));
    Scratch<std::uint8_t> codes(std::size_t(rows * row_codes * unit));
    std::vector<RowGrid> grids(static_cast<std::size_t>(rows));
    for (std::int64_t r = 0; r < rows; ++r)
      grids[std::size_t(r)].read(k, w, row + r);
    std::vector<float> scale(static_cast<std::size_t>(rows));
    std::vector<std::int32_t> zero(static_cast<std::size_t>(rows));
    for (std::int64_t g = 0; g < t.groups; ++g) {
      const std::int64_t first = g * t.group, n = std::min(t.group, w.cols - first);
      for (std::int64_t r = 0; r < rows; ++r) {
        const RowGrid& grid = grids[std::size_t(r)];
        scale[std::size_t(r)] = grid.scales[std::size_t(g)];
        zero[std::size_t(r)] = grid.zeros ? grid.zeros[g] : 1 << (w.bits - 1);
        k.unpack(w.row(row + r), stride, w.bits, first, n, narrow.data());
        // Codes past the group meet zeros of the panel; they only must be initialised.
        std::memset(narrow.data() + n, 0, std::size_t(row_codes - n));
        k.widen_u8(narrow.data(), row_codes, codes.data() + r * row_codes * unit);
      }
      for (std::int64_t p = 0; p < panels; ++p)
        for (std::int64_t r = 0; r < rows; r += k.tile_rows)
          k.gemm_int8_tile(packed.data() + (panel + p) * panel_bytes +
                               g * group_codes * tokens * unit,
                           codes.data() + r * row_codes * unit, row_codes, group_codes,
                           std::min<std::int64_t>(k.tile_rows, rows - r), m - (panel + p) * tokens,
                           scale.data() + r, zero.data() + r,
                           t.sums.data() + g * t.padded + (panel + p) * tokens, sums.tile(r, p));
    }
    sums.write(y, w.rows, row, rows, panel, m, t.scale.data());
  });
}

} // namespace

void encode_int8(const float* x, std::int64_t n, float scale, std::int8_t* out) {
  const float inverse = 1.0f / scale, magic = 12582912.0f; // 1.5 * 2^23: adding it rounds
  for (std::int64_t i = 0; i < n; ++i) {
    const float value = x[i] * inverse, low = value > -128.0f ? value : -128.0f;
    const float rounded = ((low < 127.0f ? low : 127.0f) + magic) - magic;
    out[i] = value == value ? std::int8_t(std::int32_t(rounded)) : std::int8_t(0);
  }
}

void cpu_matmul_int8(const Kernels& k, const MatrixView& w, const float* x, std::int64_t m,
                     float* y, float scale) {
  if (m <= 0 || w.rows <= 0)
    return;
  const Tokens tokens(k, w, x, m, scale);
  if (m < few)
    few_tokens_int8(k, w, tokens, m, y);
  else
    many_tokens_int8(k, w, tokens, m, y);
}

} // namespace bitlathe
