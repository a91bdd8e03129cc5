// SPDX-License-Identifier: Apache-2.0
#include "core/schemes/deferred.h"

namespace bitlathe {

void QTensor::own() {
  codes = owned_codes;
  scales = owned_scales;
  zeros = owned_zeros;
  nested = owned_nested;
}

namespace {
RowOrder order_of(const QTensor& tensor) {
  return tensor.row_order ? RowOrder(*tensor.row_order) : RowOrder();
}
} // namespace

Result<WeightUse> QTensor::use() const {
  if (!deferred)
    return WeightUse();
  return deferred->use();
}

MatrixView QTensor::view() const {
  if (deferred)
    deferred->convert_for_good();
  MatrixView out = scheme.family->view(*this);
  out.row_order = order_of(*this);
  if (column_order) {
    assert(out.layout->id == "int");
    out.layout = find_layout("int_ordered");
    out.column_order = *column_order;
  }
  return out;
}

FloatView QTensor::floats() const {
  if (deferred)
    deferred->convert_for_good();
  return {scheme.float_type, rows, cols, codes, order_of(*this)};
}

const SchemeFamily* find_scheme_family(std::string_view id) {
  for (const SchemeFamily* family : all_scheme_families())
    if (family->id == id)
      return family;
  return nullptr;
}

Result<Scheme> parse_scheme(std::string_view id) {
  std::string known;
  for (const SchemeFamily* family : all_scheme_families()) {
    auto parsed = family->parse(id);
    if (parsed || parsed.error().code != "not-found")
      return parsed;
    known += (known.empty() ? "" : "; ") + std::string(family->grammar);
  }
  return Error{"bad-argument", "Unknown scheme \"" + std::string(id) + "\". Known: " + known, {}};
}

Scheme float_scheme(FloatType type) {
  const char* ids[] = {"f32", "f16", "bf16"};
  return *parse_scheme(ids[std::size_t(type)]);
}

} // namespace bitlathe
