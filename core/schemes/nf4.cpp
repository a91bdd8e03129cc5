// SPDX-License-Identifier: Apache-2.0
// The 4-bit types of bitsandbytes: values of a table times the largest magnitude of a block of the
// flattened weight. Storage: kernels/layouts/blockwise.h.
#include "core/schemes/grammar.h"
#include "kernels/compute/compute.h"

namespace bitlathe {

namespace {

constexpr std::string_view grammar = "{nf4|fp4}-b{32|64|..|4096}[-dq|-sbf16|-sf16]";

Result<Scheme> parse(std::string_view id) {
  auto parts = split_id(id);
  if (parts[0] != "nf4" && parts[0] != "fp4")
    return Error{"not-found", "not a block-wise table", std::string(id)};
  Scheme scheme;
  scheme.id = id;
  scheme.family = find_scheme_family("nf4");
  scheme.quantized = true;
  scheme.bits = 4;
  take_scale_type(parts, FloatType::f32, scheme);
  const bool plain_scales = parts.size() == split_id(id).size();
  if (plain_scales && parts.size() == 3 && parts[2] == "dq") {
    scheme.nested = true;
    parts.pop_back();
  }
  scheme.group = parts.size() == 2 ? lettered_number(parts[1], 'b') : 0;
  if (scheme.group < 32 || scheme.group > 4096 || (scheme.group & (scheme.group - 1)) != 0)
    return malformed_scheme(id, grammar);
  return scheme;
}

SchemeFamily::Fit fit(const Scheme&, std::int64_t, std::int64_t) { return {}; }

SchemeFamily::Bytes bytes(const Scheme& scheme, std::int64_t rows, std::int64_t cols) {
  const auto blocks = std::uint64_t((rows * cols + scheme.group - 1) / scheme.group);
  SchemeFamily::Bytes out;
  out.codes = std::uint64_t(rows * int_row_bytes(cols, 4));
  out.scales = scheme.nested ? blocks : blocks * float_size(scheme.float_type);
  out.nested = scheme.nested ? ((blocks + 255) / 256 + 1) * sizeof(float) : 0;
  return out;
}

MatrixView view(const QTensor& tensor) {
  MatrixView m;
  m.layout = find_layout(tensor.scheme.id.substr(0, 3));
  m.rows = tensor.rows;
  m.cols = tensor.cols;
  m.bits = 4;
  m.group = tensor.scheme.group;
  m.float_type = tensor.scheme.float_type;
  m.codes = tensor.codes;
  m.scales = tensor.scales;
  m.nested = tensor.nested;
  return m;
}

constexpr std::string_view examples[] = {"nf4-b64", "nf4-b64-dq", "fp4-b64", "fp4-b64-dq"};

} // namespace

extern const SchemeFamily scheme_family_nf4;
const SchemeFamily scheme_family_nf4{
    "nf4",
    "Four bits that name one of 16 values (NF4: quantiles of the normal distribution; FP4: a tiny "
    "float), times the largest magnitude of a block, as bitsandbytes has it. Scales are f32; -dq "
    "stores them in 8 bits.",
    grammar,
    parse,
    fit,
    bytes,
    view,
    examples};

} // namespace bitlathe
