// SPDX-License-Identifier: Apache-2.0
// Plain values: f32, f16 (IEEE half), bf16.
#include "core/schemes/scheme.h"

namespace bitlathe {

namespace {

Result<Scheme> parse(std::string_view id) {
  Scheme scheme;
  scheme.id = id;
  scheme.family = find_scheme_family("float");
  if (id == "f32")
    scheme.float_type = FloatType::f32;
  else if (id == "f16")
    scheme.float_type = FloatType::f16;
  else if (id == "bf16")
    scheme.float_type = FloatType::bf16;
  else
    return Error{"not-found", "not a float scheme", std::string(id)};
  scheme.bits = double(float_size(scheme.float_type)) * 8;
  return scheme;
}

SchemeFamily::Fit fit(const Scheme&, std::int64_t, std::int64_t) { return {}; }

SchemeFamily::Bytes bytes(const Scheme& scheme, std::int64_t rows, std::int64_t cols) {
  return {std::uint64_t(rows * cols) * float_size(scheme.float_type), 0, 0};
}

MatrixView view(const QTensor& tensor) {
  MatrixView m;
  m.layout = find_layout(tensor.by_columns ? "float_columns" : "float");
  m.group = tensor.by_columns ? tensor.rows : 0;
  m.rows = tensor.rows;
  m.cols = tensor.cols;
  m.float_type = tensor.scheme.float_type;
  m.codes = tensor.codes;
  return m;
}

constexpr std::string_view examples[] = {"bf16", "f16", "f32"};

} // namespace

extern const SchemeFamily scheme_family_float;
const SchemeFamily scheme_family_float{"float",
                                       "Plain floating-point values without scales.",
                                       "f32, f16, bf16",
                                       parse,
                                       fit,
                                       bytes,
                                       view,
                                       examples};

} // namespace bitlathe
