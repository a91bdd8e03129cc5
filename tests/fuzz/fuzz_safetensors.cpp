// SPDX-License-Identifier: GPL-3.0-or-later
// Any bytes as a safetensors file; the data of every tensor that is accepted is touched.
#include "core/io/safetensors.h"
#include "tests/fuzz/fuzz.h"

namespace bitlathe::fuzz {

void safetensors(std::string_view input) {
  const auto read = read_safetensors(scratch_file("model.safetensors", input));
  if (!read.ok())
    return;
  unsigned sum = 0;
  for (const StoredTensor& tensor : read->tensors)
    for (const std::byte byte : tensor.data)
      sum += unsigned(byte);
  [[maybe_unused]] static volatile unsigned sink; // so that the reading stays
  sink = sum;
}

} // namespace bitlathe::fuzz

BITLATHE_FUZZ_ENTRY(safetensors)
