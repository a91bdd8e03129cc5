// SPDX-License-Identifier: Apache-2.0
// GGUF block types: values of a row in blocks of 32, 64 or 256 with their own scales
// (ggml-org/ggml, ggml-common.h). Every kernel layout of blocks with an entry here is a scheme.
#include "core/schemes/scheme.h"

namespace bitlathe {

namespace {

struct BlockType {
  std::string_view id;
  double bits;           ///< of one code
  int group;             ///< columns that share a scale
  bool symmetric;        ///< no minimum beside the scale
  std::string_view next; ///< what llama-quantize takes where rows do not divide into blocks
};
constexpr double trit = 1.584962500721156;
constexpr BlockType types[] = {
    {"q8_0", 8, 32, true, "f16"},       {"q4_0", 4, 32, true, "f16"},
    {"q4_1", 4, 32, false, "f16"},      {"q5_0", 5, 32, true, "f16"},
    {"q5_1", 5, 32, false, "f16"},      {"q2_k", 2, 16, false, "q4_0"},
    {"q3_k", 3, 16, true, "q4_0"},      {"q4_k", 4, 32, false, "q5_0"},
    {"q5_k", 5, 32, false, "q5_1"},     {"q6_k", 6, 16, true, "q8_0"},
    {"iq4_nl", 4, 32, true, "f16"},     {"iq4_xs", 4, 32, true, "iq4_nl"},
    {"mxfp4", 4, 32, true, "f16"},      {"nvfp4", 4, 16, true, "f16"},
    {"tq1_0", trit, 256, true, "q4_0"}, {"tq2_0", trit, 256, true, "q4_0"}};

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
  scheme.group = type->group;
  scheme.symmetric = type->symmetric;
  return scheme;
}

SchemeFamily::Fit fit(const Scheme& scheme, std::int64_t, std::int64_t cols) {
  const auto divides = [cols](std::string_view id) {
    const Layout* layout = find_layout(id);
    return !layout || layout->block == 0 || cols % layout->block == 0;
  };
  if (divides(scheme.id))
    return {};
  std::string_view next = find_type(scheme.id)->next;
  if (!divides(next))
    next = "f16";
  return {false,
          "rows of " + std::to_string(cols) + " columns do not divide into " + scheme.id +
              " blocks of " + std::to_string(find_layout(scheme.id)->block),
          std::string(next)};
}

SchemeFamily::Bytes bytes(const Scheme& scheme, std::int64_t rows, std::int64_t cols) {
  const Layout* layout = find_layout(scheme.id);
  return {std::uint64_t(rows * (cols / layout->block) * layout->block_bytes), 0, 0};
}

MatrixView view(const QTensor& tensor) {
  MatrixView m;
  m.layout = find_layout(tensor.scheme.id);
  m.rows = tensor.rows;
  m.cols = tensor.cols;
  m.bits = int(tensor.scheme.bits);
  m.group = tensor.scheme.group;
  m.symmetric = tensor.scheme.symmetric;
  m.float_type = FloatType::f16;
  m.codes = tensor.codes;
  return m;
}

// All that can be made: tests/tst_gguf_types.cpp and the invariants of methods go through them.
constexpr std::string_view examples[] = {"q8_0",  "q4_0",  "q4_1",  "q5_0", "q5_1",   "q2_k",
                                         "q3_k",  "q4_k",  "q5_k",  "q6_k", "iq4_nl", "iq4_xs",
                                         "mxfp4", "nvfp4", "tq1_0", "tq2_0"};

} // namespace

extern const SchemeFamily scheme_family_ggml;
const SchemeFamily scheme_family_ggml{
    "ggml",
    "Block types of GGUF files: 16 to 256 values of a row share a scale.",
    "q8_0 q4_0 q4_1 q5_0 q5_1 q2_k q3_k q4_k q5_k q6_k iq4_nl iq4_xs mxfp4 nvfp4 tq1_0 tq2_0",
    parse,
    fit,
    bytes,
    view,
    examples};

} // namespace bitlathe
