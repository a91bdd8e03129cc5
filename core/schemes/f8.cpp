// SPDX-License-Identifier: Apache-2.0
// Floats of eight bits with a scale per tensor, output channel or tile of 128 x 128. Storage:
// kernels/layouts/float8.h.
#include "core/schemes/grammar.h"

namespace bitlathe {

namespace {

constexpr std::string_view grammar = "f8_{e4m3|e5m2}-{tensor|channel|b128x128}[-sbf16|-sf32]";
constexpr std::int64_t tile = 128;

Result<Scheme> parse(std::string_view id) {
  auto parts = split_id(id);
  if (parts[0] != "f8_e4m3" && parts[0] != "f8_e5m2")
    return Error{"not-found", "not an 8-bit float", std::string(id)};
  Scheme scheme;
  scheme.id = id;
  scheme.family = find_scheme_family("f8");
  scheme.quantized = true;
  scheme.bits = 8;
  take_scale_type(parts, FloatType::f16, scheme);
  if (parts.size() != 2)
    return malformed_scheme(id, grammar);
  if (parts[1] == "tensor") {
    scheme.per_tensor = true;
  } else if (parts[1] == "b128x128") {
    scheme.group = scheme.group_rows = tile;
  } else if (parts[1] != "channel") {
    return malformed_scheme(id, grammar);
  }
  return scheme;
}

SchemeFamily::Fit fit(const Scheme&, std::int64_t, std::int64_t) { return {}; }

SchemeFamily::Bytes bytes(const Scheme& scheme, std::int64_t rows, std::int64_t cols) {
  const std::int64_t down = (rows + scheme.group_rows - 1) / scheme.group_rows;
  const std::int64_t across = scheme.group > 0 ? (cols + scheme.group - 1) / scheme.group : 1;
  SchemeFamily::Bytes out;
  out.codes = std::uint64_t(rows * cols);
  out.scales = std::uint64_t(scheme.per_tensor ? 1 : down * across) * float_size(scheme.float_type);
  return out;
}

MatrixView view(const QTensor& tensor) {
  MatrixView m;
  m.layout = find_layout(tensor.scheme.id.substr(0, 7));
  m.rows = tensor.rows;
  m.cols = tensor.cols;
  m.bits = 8;
  m.group = tensor.scheme.group > 0 ? tensor.scheme.group : tensor.cols;
  m.group_rows = tensor.scheme.group_rows;
  m.per_tensor = tensor.scheme.per_tensor;
  m.float_type = tensor.scheme.float_type;
  m.codes = tensor.codes;
  m.scales = tensor.scales;
  return m;
}

constexpr std::string_view examples[] = {"f8_e4m3-channel", "f8_e4m3-tensor", "f8_e4m3-b128x128",
                                         "f8_e5m2-channel"};

} // namespace

extern const SchemeFamily scheme_family_f8;
const SchemeFamily scheme_family_f8{
    "f8",
    "Floats of eight bits (e4m3: finer, e5m2: wider) with a scale per tensor, output channel or "
    "tile of 128 x 128.",
    grammar,
    parse,
    fit,
    bytes,
    view,
    examples};

} // namespace bitlathe
