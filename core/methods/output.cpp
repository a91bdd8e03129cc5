// SPDX-License-Identifier: Apache-2.0
#include "core/methods/output.h"

namespace bitlathe {

MethodOutput empty_output(const MethodInput& input) {
  MethodOutput output;
  QTensor& tensor = output.tensor;
  tensor.scheme = input.scheme;
  tensor.rows = input.weight.rows;
  tensor.cols = input.weight.cols;
  const auto bytes = input.scheme.family->bytes(input.scheme, tensor.rows, tensor.cols);
  tensor.owned_codes.resize(bytes.codes);
  tensor.owned_scales.resize(bytes.scales);
  tensor.owned_zeros.resize(bytes.zeros);
  tensor.owned_nested.resize(bytes.nested);
  tensor.own();
  return output;
}

void note_clamped(const MethodInput& input, std::int64_t count, MethodOutput& output) {
  if (count > 0)
    output.notes.push_back(
        input.where + ": " + std::to_string(count) +
        " scales do not fit their type and were set to its smallest or largest value");
}

} // namespace bitlathe
