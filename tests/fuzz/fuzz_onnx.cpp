// SPDX-License-Identifier: GPL-3.0-or-later
// Any bytes as an ONNX model: reading, every check, and decoding of what its products multiply
// with.
#include "core/export/exporter.h"
#include "tests/fuzz/fuzz.h"

namespace bitlathe::fuzz {

void onnx(std::string_view input) {
  Feedback feedback;
  (void)find_exporter("onnx")->verify(scratch_file("model.onnx", input), nullptr, feedback).ok();
}

} // namespace bitlathe::fuzz

BITLATHE_FUZZ_ENTRY(onnx)
