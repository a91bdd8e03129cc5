// SPDX-License-Identifier: Apache-2.0
// Codes -1, 0, 1 times a scale per output channel or group of columns, kept as integers of two
// bits (kernels/matrix.h, layout "int"), whose fourth code stays unused.
#include "core/schemes/grammar.h"
#include "kernels/compute/compute.h"

namespace bitlathe {

namespace {

constexpr std::string_view grammar = "ternary-{channel|gN}[-sbf16|-sf32]";

Result<Scheme> parse(std::string_view id) {
  auto parts = split_id(id);
  if (parts[0] != "ternary")
    return Error{"not-found", "not ternary", std::string(id)};
  Scheme scheme;
  scheme.id = id;
  scheme.family = find_scheme_family("ternary");
  scheme.quantized = true;
  scheme.bits = 1.584962500721156; // log2 3
  take_scale_type(parts, FloatType::f16, scheme);
  if (parts.size() != 2 ||
      (parts[1] != "channel" && (scheme.group = lettered_number(parts[1], 'g')) == 0))
    return malformed_scheme(id, grammar);
  return scheme;
}

SchemeFamily::Fit fit(const Scheme&, std::int64_t, std::int64_t) { return {}; }

std::int64_t group_of(const Scheme& scheme, std::int64_t cols) {
  return std::max<std::int64_t>(1, scheme.group > 0 ? std::min(scheme.group, cols) : cols);
}

SchemeFamily::Bytes bytes(const Scheme& scheme, std::int64_t rows, std::int64_t cols) {
  const std::int64_t group = group_of(scheme, cols);
  SchemeFamily::Bytes out;
  out.codes = std::uint64_t(rows * int_row_bytes(cols, 2));
  out.scales = std::uint64_t(rows * ((cols + group - 1) / group)) * float_size(scheme.float_type);
  return out;
}

MatrixView view(const QTensor& tensor) {
  MatrixView m;
  m.layout = find_layout("int");
  m.rows = tensor.rows;
  m.cols = tensor.cols;
  m.bits = 2;
  m.group = group_of(tensor.scheme, tensor.cols);
  m.float_type = tensor.scheme.float_type;
  m.codes = tensor.codes;
  m.scales = tensor.scales;
  return m;
}

constexpr std::string_view examples[] = {"ternary-channel", "ternary-g128"};

} // namespace

extern const SchemeFamily scheme_family_ternary;
const SchemeFamily scheme_family_ternary{
    "ternary",
    "Every value is -1, 0 or 1 times a scale per output channel or group of input columns.",
    grammar,
    parse,
    fit,
    bytes,
    view,
    examples};

} // namespace bitlathe
