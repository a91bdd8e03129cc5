// SPDX-License-Identifier: Apache-2.0
// Integer codes with a scale (and a zero point when asymmetric) per tensor, channel or group of
// columns. Storage: kernels/matrix.h, layout "int".
#include "core/schemes/grammar.h"
#include "kernels/compute/compute.h"

namespace bitlathe {

namespace {

constexpr std::string_view grammar = "int{2..8}-{tensor|channel|gN}-{sym|asym}[-sbf16|-sf32]";

Result<Scheme> parse(std::string_view id) {
  auto parts = split_id(id);
  if (parts[0].size() != 4 || parts[0].substr(0, 3) != "int")
    return Error{"not-found", "not an integer scheme", std::string(id)};
  Scheme scheme;
  scheme.id = id;
  scheme.family = find_scheme_family("int");
  scheme.quantized = true;
  scheme.bits = parts[0][3] - '0';
  take_scale_type(parts, FloatType::f16, scheme);
  if (scheme.bits < 2 || scheme.bits > 8 || parts.size() != 3)
    return malformed_scheme(id, grammar);
  if (parts[1] == "tensor")
    scheme.per_tensor = true;
  else if (parts[1] != "channel" && (scheme.group = lettered_number(parts[1], 'g')) == 0)
    return malformed_scheme(id, grammar);
  if (parts[2] != "sym" && parts[2] != "asym")
    return malformed_scheme(id, grammar);
  scheme.symmetric = parts[2] == "sym";
  return scheme;
}

std::int64_t group_of(const Scheme& scheme, std::int64_t cols) {
  return scheme.group > 0 ? std::min(scheme.group, cols) : cols;
}

SchemeFamily::Fit fit(const Scheme&, std::int64_t, std::int64_t) { return {}; }

SchemeFamily::Bytes bytes(const Scheme& scheme, std::int64_t rows, std::int64_t cols) {
  const std::int64_t group = std::max<std::int64_t>(group_of(scheme, cols), 1);
  const auto grids =
      scheme.per_tensor ? std::uint64_t(1) : std::uint64_t(rows * ((cols + group - 1) / group));
  return {std::uint64_t(rows * int_row_bytes(cols, int(scheme.bits))),
          grids * float_size(scheme.float_type), scheme.symmetric ? 0 : grids};
}

MatrixView view(const QTensor& tensor) {
  MatrixView m;
  m.layout = find_layout("int");
  m.rows = tensor.rows;
  m.cols = tensor.cols;
  m.bits = int(tensor.scheme.bits);
  m.group = group_of(tensor.scheme, tensor.cols);
  m.symmetric = tensor.scheme.symmetric;
  m.per_tensor = tensor.scheme.per_tensor;
  m.float_type = tensor.scheme.float_type;
  m.codes = tensor.codes;
  m.scales = tensor.scales;
  m.zeros = tensor.zeros;
  return m;
}

constexpr std::string_view examples[] = {"int4-g128-asym",   "int4-g128-sym",   "int4-g32-asym",
                                         "int8-channel-sym", "int8-tensor-sym", "int3-g128-asym",
                                         "int2-g64-asym",    "int5-g128-asym",  "int6-g128-asym"};

} // namespace

extern const SchemeFamily scheme_family_int;
const SchemeFamily scheme_family_int{"int",
                                     "Integer codes with a scale, and a zero point when "
                                     "asymmetric, per tensor, output channel or group of "
                                     "input columns.",
                                     grammar,
                                     parse,
                                     fit,
                                     bytes,
                                     view,
                                     examples};

} // namespace bitlathe
