// SPDX-License-Identifier: Apache-2.0
// GGUF block types: 32 values of a row share one block with its own scale (ggml-org/ggml,
// ggml-common.h).
#include "core/schemes/scheme.h"

namespace bitlathe {

namespace {

struct BlockType {
  std::string_view id;
  int bits, block_bytes;
  bool symmetric;
};
constexpr std::int64_t block = 32;
constexpr BlockType types[] = {
    {"q8_0", 8, 34, true}, {"q4_0", 4, 18, true}, {"q4_1", 4, 20, false}};

const BlockType* find_type(std::string_view id) {
  for (const auto& type : types)
    if (type.id == id)
      return &type;
  return nullptr;
}

Result<Scheme> parse(std::string_view id) {
  const BlockType* type = find_type(id);
  if (!type)
    return Error{"not-found", "not a block type", std::string(id)};
  Scheme scheme;
  scheme.id = id;
  scheme.family = find_scheme_family("ggml");
  scheme.quantized = true;
  scheme.bits = type->bits;
  scheme.group = block;
  scheme.symmetric = type->symmetric;
  return scheme;
}

SchemeFamily::Fit fit(const Scheme& scheme, std::int64_t, std::int64_t cols) {
  if (cols % block == 0)
    return {};
  return {false,
          "rows of " + std::to_string(cols) + " columns do not divide into " + scheme.id +
              " blocks of 32",
          "f16"};
}

SchemeFamily::Bytes bytes(const Scheme& scheme, std::int64_t rows, std::int64_t cols) {
  return {std::uint64_t(rows * (cols / block) * find_type(scheme.id)->block_bytes), 0, 0};
}

MatrixView view(const QTensor& tensor) {
  MatrixView m;
  m.layout = find_layout(tensor.scheme.id);
  m.rows = tensor.rows;
  m.cols = tensor.cols;
  m.bits = int(tensor.scheme.bits);
  m.group = block;
  m.symmetric = tensor.scheme.symmetric;
  m.float_type = FloatType::f16;
  m.codes = tensor.codes;
  return m;
}

constexpr std::string_view examples[] = {"q8_0", "q4_0", "q4_1"};

} // namespace

extern const SchemeFamily scheme_family_ggml;
const SchemeFamily scheme_family_ggml{
    "ggml",
    "Block types of GGUF files: 32 values of a row share a scale.",
    "q8_0, q4_0, q4_1",
    parse,
    fit,
    bytes,
    view,
    examples};

} // namespace bitlathe
