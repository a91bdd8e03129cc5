// SPDX-License-Identifier: Apache-2.0
// Codes that name the values of a codebook per tensor or output channel (Lloyd-Max). Storage:
// kernels/layouts/codebook.cpp.
#include "core/schemes/grammar.h"
#include "kernels/compute/compute.h"

namespace bitlathe {

namespace {

constexpr std::string_view grammar = "codebook{2..8}-{tensor|channel}[-sbf16|-sf32]";
constexpr std::string_view name = "codebook";

Result<Scheme> parse(std::string_view id) {
  auto parts = split_id(id);
  if (parts[0].substr(0, name.size()) != name)
    return Error{"not-found", "not a codebook", std::string(id)};
  Scheme scheme;
  scheme.id = id;
  scheme.family = find_scheme_family("codebook");
  scheme.quantized = true;
  scheme.symmetric = false;
  take_scale_type(parts, FloatType::f16, scheme);
  if (parts.size() != 2 || parts[0].size() != name.size() + 1 ||
      (parts[1] != "tensor" && parts[1] != "channel"))
    return malformed_scheme(id, grammar);
  scheme.bits = parts[0].back() - '0';
  scheme.per_tensor = parts[1] == "tensor";
  if (scheme.bits < 2 || scheme.bits > 8)
    return malformed_scheme(id, grammar);
  return scheme;
}

SchemeFamily::Fit fit(const Scheme&, std::int64_t, std::int64_t) { return {}; }

SchemeFamily::Bytes bytes(const Scheme& scheme, std::int64_t rows, std::int64_t cols) {
  const int bits = int(scheme.bits);
  SchemeFamily::Bytes out;
  out.codes = std::uint64_t(rows * int_row_bytes(cols, bits));
  out.scales =
      (std::uint64_t(scheme.per_tensor ? 1 : rows) << bits) * float_size(scheme.float_type);
  return out;
}

MatrixView view(const QTensor& tensor) {
  MatrixView m;
  m.layout = find_layout("codebook");
  m.rows = tensor.rows;
  m.cols = tensor.cols;
  m.bits = int(tensor.scheme.bits);
  m.group = tensor.cols;
  m.symmetric = false;
  m.per_tensor = tensor.scheme.per_tensor;
  m.float_type = tensor.scheme.float_type;
  m.codes = tensor.codes;
  m.scales = tensor.scales;
  return m;
}

constexpr std::string_view examples[] = {"codebook4-channel", "codebook4-tensor",
                                         "codebook3-channel", "codebook2-channel"};

} // namespace

extern const SchemeFamily scheme_family_codebook;
const SchemeFamily scheme_family_codebook{
    "codebook",
    "Codes name the values of a codebook that is fitted to the tensor or to each output channel "
    "(Lloyd-Max). No foreign format holds them: they are exported decoded.",
    grammar,
    parse,
    fit,
    bytes,
    view,
    examples};

} // namespace bitlathe
