// SPDX-License-Identifier: Apache-2.0
// Integer codes with a scale and an offset per group, both floats, as MLX has them. Storage:
// kernels/layouts/affine.cpp.
#include "core/schemes/grammar.h"
#include "kernels/compute/compute.h"

namespace bitlathe {

namespace {

constexpr std::string_view grammar = "affine{2..8}-gN[-sbf16|-sf32]";
constexpr std::string_view name = "affine";

Result<Scheme> parse(std::string_view id) {
  auto parts = split_id(id);
  if (parts[0].substr(0, name.size()) != name)
    return Error{"not-found", "not an affine scheme", std::string(id)};
  Scheme scheme;
  scheme.id = id;
  scheme.family = find_scheme_family(name);
  scheme.quantized = true;
  scheme.symmetric = false;
  take_scale_type(parts, FloatType::f16, scheme);
  if (parts.size() != 2 || parts[0].size() != name.size() + 1)
    return malformed_scheme(id, grammar);
  scheme.bits = parts[0].back() - '0';
  scheme.group = lettered_number(parts[1], 'g');
  if (scheme.bits < 2 || scheme.bits > 8 || scheme.group == 0)
    return malformed_scheme(id, grammar);
  return scheme;
}

SchemeFamily::Fit fit(const Scheme&, std::int64_t, std::int64_t) { return {}; }

SchemeFamily::Bytes bytes(const Scheme& scheme, std::int64_t rows, std::int64_t cols) {
  SchemeFamily::Bytes out;
  out.codes = std::uint64_t(rows * int_row_bytes(cols, int(scheme.bits)));
  out.scales = out.zeros = std::uint64_t(rows * ((cols + scheme.group - 1) / scheme.group)) *
                           float_size(scheme.float_type);
  return out;
}

MatrixView view(const QTensor& tensor) {
  MatrixView m;
  m.layout = find_layout("affine");
  m.rows = tensor.rows;
  m.cols = tensor.cols;
  m.bits = int(tensor.scheme.bits);
  m.group = tensor.scheme.group;
  m.symmetric = false;
  m.float_type = tensor.scheme.float_type;
  m.codes = tensor.codes;
  m.scales = tensor.scales;
  m.zeros = tensor.zeros;
  return m;
}

constexpr std::string_view examples[] = {"affine4-g64", "affine8-g64",      "affine6-g64",
                                         "affine3-g64", "affine2-g32",      "affine5-g64",
                                         "affine4-g32", "affine4-g64-sbf16"};

} // namespace

extern const SchemeFamily scheme_family_affine;
const SchemeFamily scheme_family_affine{
    "affine",
    "Integer codes with a scale and an offset per group of input columns, both floats, as MLX has "
    "them.",
    grammar,
    parse,
    fit,
    bytes,
    view,
    examples};

} // namespace bitlathe
