// SPDX-License-Identifier: Apache-2.0
#include "kernels/compute/vulkan_blocks.h"

#include "kernels/base/parallel.h"
#include "kernels/compute/compute.h"
#include "kernels/layouts/block.h"
#include "kernels/layouts/six_bits.h"
#include "kernels/layouts/value_tables.h"

#include <cmath>
#include <cstring>
#include <vector>

namespace bitlathe {

namespace {

using Bytes = const std::uint8_t*;

void halves(Bytes nibbles, std::uint8_t* codes) {
  for (int j = 0; j < 16; ++j) {
    codes[j] = nibbles[j] & 15;
    codes[j + 16] = nibbles[j] >> 4;
  }
}
void fifth_bits(Bytes bits, std::uint8_t* codes) {
  for (int j = 0; j < 32; ++j)
    codes[j] = std::uint8_t(codes[j] | (bits[j / 8] >> (j % 8) & 1) << 4);
}
/// Codes of two bits in the order that q2_k, q3_k and tq2_0 share.
std::uint8_t two_bits(Bytes packed, int e) {
  return packed[e / 128 * 32 + e % 32] >> (e % 128 / 32 * 2) & 3;
}

void q5_0(Bytes b, std::uint8_t* codes, float* scales, float*) {
  scales[0] = block_half(b);
  halves(b + 6, codes);
  fifth_bits(b + 2, codes);
}
void q5_1(Bytes b, std::uint8_t* codes, float* scales, float* offsets) {
  scales[0] = block_half(b);
  offsets[0] = block_half(b + 2);
  halves(b + 8, codes);
  fifth_bits(b + 4, codes);
}

void q2_k(Bytes b, std::uint8_t* codes, float* scales, float* offsets) {
  const float d = block_half(b + 80), dmin = block_half(b + 82);
  for (int s = 0; s < 16; ++s) {
    scales[s] = d * float(b[s] & 15);
    offsets[s] = -(dmin * float(b[s] >> 4));
  }
  for (int e = 0; e < 256; ++e)
    codes[e] = two_bits(b + 16, e);
}
void q3_k(Bytes b, std::uint8_t* codes, float* scales, float*) {
  const float d = block_half(b + 108);
  for (int s = 0; s < 16; ++s) {
    const int low = s < 8 ? b[96 + s] & 15 : b[96 + s - 8] >> 4;
    const int scale = (low | (b[104 + s % 4] >> (s / 4 * 2) & 3) << 4) - 32;
    scales[s] = d * float(scale);
  }
  for (int e = 0; e < 256; ++e)
    codes[e] = std::uint8_t(two_bits(b + 32, e) | (b[e % 32] >> (e / 32) & 1) << 2);
}
void six_bit_grids(Bytes b, float* scales, float* offsets) {
  const float d = block_half(b), dmin = block_half(b + 2);
  for (int s = 0; s < 8; ++s) {
    const SixBits six = six_bits(b + 4, s);
    scales[s] = d * float(six.scale);
    offsets[s] = -(dmin * float(six.minimum));
  }
}
void q4_k(Bytes b, std::uint8_t* codes, float* scales, float* offsets) {
  six_bit_grids(b, scales, offsets);
  for (int e = 0; e < 256; ++e)
    codes[e] = b[16 + e / 64 * 32 + e % 32] >> (e / 32 % 2 * 4) & 15;
}
void q5_k(Bytes b, std::uint8_t* codes, float* scales, float* offsets) {
  six_bit_grids(b, scales, offsets);
  for (int e = 0; e < 256; ++e) {
    const int low = b[48 + e / 64 * 32 + e % 32] >> (e / 32 % 2 * 4) & 15;
    codes[e] = std::uint8_t(low | (b[16 + e % 32] >> (e / 32) & 1) << 4);
  }
}
void q6_k(Bytes b, std::uint8_t* codes, float* scales, float*) {
  const float d = block_half(b + 208);
  for (int s = 0; s < 16; ++s)
    scales[s] = d * float(std::int8_t(b[192 + s]));
  for (int e = 0; e < 256; ++e) {
    const int half = e / 128, in = e % 128, quarter = in / 32;
    const int low = b[64 * half + in % 64] >> (quarter / 2 * 4) & 15;
    codes[e] = std::uint8_t(low | (b[128 + 32 * half + in % 32] >> (quarter * 2) & 3) << 4);
  }
}

template <int middle> void looked_up(Bytes nibbles, const std::int8_t* table, std::uint8_t* codes) {
  halves(nibbles, codes);
  for (int j = 0; j < 32; ++j)
    codes[j] = std::uint8_t(table[codes[j]] + middle);
}
void iq4_nl(Bytes b, std::uint8_t* codes, float* scales, float*) {
  scales[0] = block_half(b);
  looked_up<128>(b + 2, iq4_values, codes);
}
void iq4_xs(Bytes b, std::uint8_t* codes, float* scales, float*) {
  const float d = block_half(b);
  const int high = b[2] | b[3] << 8;
  for (int s = 0; s < 8; ++s) {
    const int scale = (b[4 + s / 2] >> (s % 2 * 4) & 15) | (high >> (2 * s) & 3) << 4;
    scales[s] = d * float(scale - 32);
    looked_up<128>(b + 8 + 16 * s, iq4_values, codes + 32 * s);
  }
}
void mxfp4(Bytes b, std::uint8_t* codes, float* scales, float*) {
  scales[0] = std::ldexp(1.0f, b[0] - 128);
  looked_up<16>(b + 1, e2m1_doubled, codes);
}
void nvfp4(Bytes b, std::uint8_t* codes, float* scales, float*) {
  for (int s = 0; s < 4; ++s) {
    scales[s] = nvfp4_scale(b[s]);
    for (int j = 0; j < 8; ++j) {
      codes[16 * s + j] = std::uint8_t(e2m1_doubled[b[4 + 8 * s + j] & 15] + 16);
      codes[16 * s + j + 8] = std::uint8_t(e2m1_doubled[b[4 + 8 * s + j] >> 4] + 16);
    }
  }
}
// Ternary codes are about 1 in a block, about 2 or 4 here; tq2_0 has room for a fourth code.
void tq1_0(Bytes b, std::uint8_t* codes, float* scales, float*) {
  scales[0] = block_half(b + 52);
  const auto put = [&](int first, int bytes, int digits) {
    for (int n = 0; n < digits; ++n)
      for (int m = 0; m < bytes; ++m)
        *codes++ = std::uint8_t(tq1_digit(b[first + m], n) + 1);
  };
  put(0, 32, 5);
  put(32, 16, 5);
  put(48, 4, 4);
}
void tq2_0(Bytes b, std::uint8_t* codes, float* scales, float*) {
  scales[0] = block_half(b + 64);
  for (int e = 0; e < 256; ++e)
    codes[e] = std::uint8_t(two_bits(b, e) + 3);
}

constexpr IntegerForm forms[] = {
    {"q5_0", 5, 32, false, q5_0},     {"q5_1", 5, 32, true, q5_1},
    {"q2_k", 2, 16, true, q2_k},      {"q3_k", 3, 16, false, q3_k},
    {"q4_k", 4, 32, true, q4_k},      {"q5_k", 5, 32, true, q5_k},
    {"q6_k", 6, 16, false, q6_k},     {"iq4_nl", 8, 32, false, iq4_nl},
    {"iq4_xs", 8, 32, false, iq4_xs}, {"mxfp4", 5, 32, false, mxfp4},
    {"nvfp4", 5, 16, false, nvfp4},   {"tq1_0", 2, 256, false, tq1_0},
    {"tq2_0", 3, 256, false, tq2_0},
};

} // namespace

const IntegerForm* integer_form(const MatrixView& q) {
  if (!q.layout || q.layout->block <= 0 || q.rows <= 0 || q.cols <= 0 || q.cols > (1 << 26) ||
      q.cols % q.layout->block != 0)
    return nullptr;
  for (const IntegerForm& form : forms)
    if (form.layout == q.layout->id)
      return &form;
  return nullptr;
}

PackedFormat integer_format(const MatrixView& q, const IntegerForm& form) {
  PackedFormat out;
  out.layout = PackedFormat::layout_int;
  out.ftype = std::uint32_t(FloatType::f32);
  out.bits = form.bits;
  out.zeros = form.offset ? PackedFormat::zeros_offset : PackedFormat::zeros_middle;
  out.code_bytes = int_row_bytes(q.cols, int(form.bits));
  out.row_words = std::uint32_t(out.code_bytes / 4);
  out.group = form.group;
  out.groups = out.of_row = std::uint32_t(q.cols / form.group);
  out.scale_bytes = std::int64_t(out.groups) * 4;
  out.zero_bytes = form.offset ? out.scale_bytes : 0;
  return out;
}

void fill_integer_form(const MatrixView& q, const IntegerForm& form, std::int64_t first,
                       std::int64_t count, std::byte* codes, std::byte* scales,
                       std::byte* offsets) {
  const Layout& layout = *q.layout;
  const std::int64_t in_row = q.cols / layout.block, groups = layout.block / form.group;
  const std::int64_t code_bytes = int_row_bytes(q.cols, int(form.bits));
  const std::int64_t grid_bytes = in_row * groups * 4;
  const auto pack = active_cpu_kernels().pack;
  parallel_for(count, 8, [&](std::int64_t begin, std::int64_t end) {
    std::vector<std::uint8_t> row_codes(std::size_t(q.cols));
    std::vector<float> row_scales(std::size_t(in_row * groups)), row_offsets(row_scales);
    for (std::int64_t r = begin; r < end; ++r) {
      const std::uint8_t* row = q.row(first + r);
      for (std::int64_t b = 0; b < in_row; ++b)
        form.take(row + b * layout.block_bytes, row_codes.data() + b * layout.block,
                  row_scales.data() + b * groups, row_offsets.data() + b * groups);
      pack(row_codes.data(), q.cols, int(form.bits),
           reinterpret_cast<std::uint8_t*>(codes + r * code_bytes));
      std::memcpy(scales + r * grid_bytes, row_scales.data(), std::size_t(grid_bytes));
      if (form.offset)
        std::memcpy(offsets + r * grid_bytes, row_offsets.data(), std::size_t(grid_bytes));
    }
  });
}

} // namespace bitlathe
