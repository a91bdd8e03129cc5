// SPDX-License-Identifier: Apache-2.0
#include "core/export/packed_columns.h"

#include "kernels/base/parallel.h"
#include "kernels/compute/compute.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace bitlathe {

namespace {

constexpr std::int64_t piece_bytes = 16 << 20;
constexpr std::int64_t tile = 16; ///< outputs beside each other: a cache line of words

/// Writes `rows` rows of `words` words, in pieces of whole `step` rows that `fill` makes.
Result<void> write_words(
    OutputFile& file, std::int64_t rows, std::int64_t words, std::int64_t step,
    const std::function<void(std::int64_t first, std::int64_t count, std::uint32_t* out)>& fill) {
  const auto fitting = piece_bytes / std::max<std::int64_t>(words * 4, 1);
  const auto piece = std::max(fitting / step * step, step);
  std::vector<std::uint32_t> held(std::size_t(std::min(piece, rows) * words));
  for (std::int64_t first = 0; first < rows; first += piece) {
    const auto count = std::min(piece, rows - first);
    fill(first, count, held.data());
    TRY(file.write(std::as_bytes(std::span(held).first(std::size_t(count * words)))));
  }
  return {};
}

std::uint32_t word_at(const std::byte* row, std::int64_t index) {
  std::uint32_t word = 0;
  std::memcpy(&word, row + index * 4, 4);
  return word;
}

const std::byte* row_of(const QTensor& weight, std::int64_t row) {
  return weight.codes.data() +
         weight.stored_row(row) * int_row_bytes(weight.cols, int(weight.scheme.bits));
}

/// Column of the weight -> position in a row of its codes.
std::vector<std::int32_t> positions(const QTensor& weight) {
  std::vector<std::int32_t> out(static_cast<std::size_t>(weight.cols));
  for (std::size_t i = 0; i < out.size(); ++i)
    out[std::size_t((*weight.column_order)[i])] = std::int32_t(i);
  return out;
}

/// 32 codes from and to `bits` words. With the width known, the loops unroll.
template <int bits> void unpack_32(const std::byte* words, std::uint8_t* codes) {
  std::array<std::uint32_t, bits + 1> w{};
  std::memcpy(w.data(), words, bits * 4);
  for (int i = 0; i < 32; ++i) {
    const int at = i * bits / 32, shift = i * bits % 32;
    const auto both = std::uint64_t(w[std::size_t(at)]) | std::uint64_t(w[std::size_t(at) + 1])
                                                              << 32;
    codes[i] = std::uint8_t(both >> shift & ((1u << bits) - 1));
  }
}

template <int bits>
void pack_32(const std::uint8_t* codes, const std::int32_t* position, std::uint32_t* words) {
  std::array<std::uint32_t, bits + 1> w{};
  for (int i = 0; i < 32; ++i) {
    const int at = i * bits / 32, shift = i * bits % 32;
    const auto both = std::uint64_t(codes[position[i]]) << shift;
    w[std::size_t(at)] |= std::uint32_t(both);
    w[std::size_t(at) + 1] |= std::uint32_t(both >> 32);
  }
  std::copy_n(w.begin(), bits, words);
}

/// `count` words of an output from word `first` on, codes in the order of the columns. Both divide
/// by `bits`.
template <int bits>
void ordered_words(const QTensor& weight, std::span<const std::int32_t> position, std::int64_t row,
                   std::int64_t first, std::int64_t count, std::vector<std::uint8_t>& codes,
                   std::uint32_t* out) {
  codes.resize(std::size_t(weight.cols));
  const std::byte* from = row_of(weight, row);
  for (std::int64_t i = 0; i < weight.cols / 32; ++i)
    unpack_32<bits>(from + i * bits * 4, codes.data() + i * 32);
  for (std::int64_t i = 0; i < count / bits; ++i)
    pack_32<bits>(codes.data(), position.data() + (first / bits + i) * 32, out + i * bits);
}

auto ordered_words_of(int bits) {
  return bits == 2   ? ordered_words<2>
         : bits == 3 ? ordered_words<3>
         : bits == 4 ? ordered_words<4>
                     : ordered_words<8>;
}

std::uint32_t zero_of(const QTensor& weight, std::int64_t row, std::int64_t group) {
  if (weight.scheme.symmetric)
    return 1u << (int(weight.scheme.bits) - 1);
  const auto at = weight.scheme.per_tensor ? std::int64_t(0)
                                           : weight.stored_row(row) * packed_groups(weight) + group;
  return std::uint32_t(weight.zeros[std::size_t(at)]);
}

/// A tensor of one row of `words` words per group.
TensorToWrite
group_words(std::string name, const QTensor& weight, std::int64_t words,
            std::function<void(const QTensor&, std::int64_t group, std::uint32_t* out)> make) {
  const auto groups = packed_groups(weight);
  return {std::move(name),
          "I32",
          {groups, words},
          std::uint64_t(groups * words) * 4,
          [&weight, groups, words, make = std::move(make)](OutputFile& file) {
            return write_words(file, groups, words, 1,
                               [&](std::int64_t first, std::int64_t count, std::uint32_t* out) {
                                 parallel_for(count, 1, [&](std::int64_t begin, std::int64_t end) {
                                   for (std::int64_t i = begin; i < end; ++i)
                                     make(weight, first + i, out + i * words);
                                 });
                               });
          }};
}

/// Output of a word's eight that its field holds.
constexpr std::array<std::int64_t, 8> awq_output{0, 2, 4, 6, 1, 3, 5, 7};

/// Field j of word k becomes field k of word j.
void transpose_fields(std::uint32_t* w) {
  const auto exchange = [&](int distance, int shift, std::uint32_t mask) {
    for (int i = 0; i < 8; ++i) {
      if (i & distance)
        continue;
      const auto different = ((w[i] >> shift) ^ w[i + distance]) & mask;
      w[i] ^= different << shift;
      w[i + distance] ^= different;
    }
  };
  exchange(4, 16, 0x0000FFFFu);
  exchange(2, 8, 0x00FF00FFu);
  exchange(1, 4, 0x0F0F0F0Fu);
}

} // namespace

void examine_scale_type(const Checkpoint& model, std::vector<Finding>& findings) {
  if (model_float_type(model) == FloatType::bf16)
    findings.push_back({Finding::Level::note,
                        {},
                        "vLLM takes scales in the type that the model runs in: in bfloat16, as "
                        "config.json has it, they lose 3 of their 11 bits; --dtype float16 keeps "
                        "them",
                        "vllm"});
}

std::int64_t packed_group(const Scheme& scheme, std::int64_t cols) {
  return scheme.per_tensor || scheme.group > cols ? 0 : scheme.group;
}

std::int64_t packed_groups(const QTensor& weight) {
  const auto group = packed_group(weight.scheme, weight.cols);
  return group > 0 ? (weight.cols + group - 1) / group : 1;
}

TensorToWrite gptq_codes(std::string name, const QTensor& weight) {
  const int bits = int(weight.scheme.bits);
  const std::int64_t rows = weight.cols * bits / 32, words = weight.rows;
  return {std::move(name),
          "I32",
          {rows, words},
          std::uint64_t(rows * words) * 4,
          [&weight, rows, words, bits](OutputFile& file) {
            const auto position =
                weight.column_order ? positions(weight) : std::vector<std::int32_t>();
            const auto sort = ordered_words_of(bits);
            // Pieces begin where a code does: every `bits` words.
            return write_words(
                file, rows, words, bits,
                [&](std::int64_t first, std::int64_t count, std::uint32_t* out) {
                  parallel_for((words + tile - 1) / tile, 1, [&](std::int64_t b, std::int64_t e) {
                    std::vector<std::uint32_t> sorted;
                    std::vector<std::uint8_t> codes;
                    if (!position.empty())
                      sorted.resize(std::size_t(tile * count));
                    for (std::int64_t begin = b * tile; begin < std::min(e * tile, words);
                         begin += tile) {
                      const auto beside = std::min(tile, words - begin);
                      std::array<const std::byte*, tile> lines{};
                      for (std::int64_t i = 0; i < beside; ++i) {
                        auto* own = sorted.data() + i * (sorted.empty() ? 0 : count);
                        if (!sorted.empty())
                          sort(weight, position, begin + i, first, count, codes, own);
                        lines[std::size_t(i)] = sorted.empty()
                                                    ? row_of(weight, begin + i) + first * 4
                                                    : reinterpret_cast<const std::byte*>(own);
                      }
                      for (std::int64_t w = 0; w < count; ++w)
                        for (std::int64_t i = 0; i < beside; ++i)
                          out[w * words + begin + i] = word_at(lines[std::size_t(i)], w);
                    }
                  });
                });
          }};
}

TensorToWrite gptq_zeros(std::string name, const QTensor& weight, bool minus_one) {
  const int bits = int(weight.scheme.bits);
  const std::int64_t words = (weight.rows * bits + 31) / 32;
  return group_words(
      std::move(name), weight, words,
      [bits, words, minus_one](const QTensor& w, std::int64_t group, std::uint32_t* out) {
        std::fill_n(out, words, 0u);
        const std::uint32_t top = (1u << bits) - 1;
        for (std::int64_t row = 0; row < w.rows; ++row) {
          const auto zero = std::uint64_t((zero_of(w, row, group) - (minus_one ? 1 : 0)) & top);
          const std::int64_t bit = row * bits;
          const auto shifted = zero << (bit % 32);
          out[bit / 32] |= std::uint32_t(shifted);
          if (shifted >> 32)
            out[bit / 32 + 1] |= std::uint32_t(shifted >> 32);
        }
      });
}

TensorToWrite group_index(std::string name, const QTensor& weight) {
  return {std::move(name),
          "I32",
          {weight.cols},
          std::uint64_t(weight.cols) * 4,
          [&weight](OutputFile& file) {
            const auto group = packed_group(weight.scheme, weight.cols);
            std::vector<std::int32_t> index(static_cast<std::size_t>(weight.cols));
            for (std::int64_t i = 0; i < weight.cols; ++i) {
              const auto column =
                  weight.column_order ? (*weight.column_order)[std::size_t(i)] : std::int32_t(i);
              index[std::size_t(column)] = group > 0 ? std::int32_t(i / group) : 0;
            }
            return file.write(std::as_bytes(std::span(index)));
          }};
}

TensorToWrite awq_codes(std::string name, const QTensor& weight) {
  const std::int64_t rows = weight.cols, words = weight.rows / 8;
  return {
      std::move(name),
      "I32",
      {rows, words},
      std::uint64_t(rows * words) * 4,
      [&weight, rows, words](OutputFile& file) {
        return write_words(
            file, rows, words, 8, [&](std::int64_t first, std::int64_t count, std::uint32_t* out) {
              parallel_for((words + tile - 1) / tile, 1, [&](std::int64_t b, std::int64_t e) {
                std::array<std::array<const std::byte*, 8>, tile> lines{};
                std::array<std::array<std::uint32_t, 8>, tile> fields{};
                for (std::int64_t begin = b * tile; begin < std::min(e * tile, words);
                     begin += tile) {
                  const auto beside = std::min(tile, words - begin);
                  for (std::int64_t i = 0; i < beside; ++i)
                    for (std::size_t k = 0; k < 8; ++k)
                      lines[std::size_t(i)][k] =
                          row_of(weight, (begin + i) * 8 + awq_output[k]) + first / 2;
                  for (std::int64_t at = 0; at < count; at += 8) {
                    for (std::size_t i = 0; i < std::size_t(beside); ++i) {
                      for (std::size_t k = 0; k < 8; ++k)
                        fields[i][k] = word_at(lines[i][k], at / 8);
                      transpose_fields(fields[i].data());
                    }
                    for (std::int64_t j = 0; j < std::min<std::int64_t>(8, count - at); ++j)
                      for (std::int64_t i = 0; i < beside; ++i)
                        out[(at + j) * words + begin + i] = fields[std::size_t(i)][std::size_t(j)];
                  }
                }
              });
            });
      }};
}

TensorToWrite awq_zeros(std::string name, const QTensor& weight) {
  const std::int64_t words = weight.rows / 8;
  return group_words(std::move(name), weight, words,
                     [words](const QTensor& w, std::int64_t group, std::uint32_t* out) {
                       for (std::int64_t word = 0; word < words; ++word) {
                         out[word] = 0;
                         for (std::size_t k = 0; k < 8; ++k)
                           out[word] |= zero_of(w, word * 8 + awq_output[k], group) << (4 * k);
                       }
                     });
}

TensorToWrite scales_by_group(std::string name, const QTensor& weight) {
  const auto groups = packed_groups(weight);
  const auto size = std::int64_t(float_size(weight.scheme.float_type));
  return {
      std::move(name),
      safetensors_dtype(weight.scheme.float_type),
      {groups, weight.rows},
      std::uint64_t(groups * weight.rows * size),
      [&weight, groups, size](OutputFile& file) {
        return write_in_pieces(
            file, groups, std::size_t(weight.rows * size), [&](std::int64_t group, std::byte* out) {
              for (std::int64_t row = 0; row < weight.rows; ++row) {
                const auto at = weight.scheme.per_tensor ? std::int64_t(0)
                                                         : weight.stored_row(row) * groups + group;
                std::memcpy(out + row * size, weight.scales.data() + at * size, std::size_t(size));
              }
            });
      }};
}

} // namespace bitlathe
