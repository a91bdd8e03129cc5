// SPDX-License-Identifier: GPL-3.0-or-later
// Any bytes as a GGUF file: the container, its tokenizer, and the checkpoint on top.
#include "core/io/gguf.h"
#include "core/model/checkpoint.h"
#include "core/text/tokenizer.h"
#include "tests/fuzz/fuzz.h"

namespace bitlathe::fuzz {

void gguf(std::string_view input) {
  const auto path = scratch_file("model.gguf", input);
  const auto read = read_gguf(path);
  if (!read.ok())
    return;
  unsigned sum = 0;
  for (const StoredTensor& tensor : read->tensors)
    for (const std::byte byte : tensor.data)
      sum += unsigned(byte);
  [[maybe_unused]] static volatile unsigned sink; // so that the reading stays
  sink = sum;
  if (const auto tokenizer = Tokenizer::from_gguf(read->metadata, "fuzz")) {
    const auto ids = (*tokenizer)->encode("Hello, wörld 12 \xff<s>", {true, true});
    (void)(*tokenizer)->decode(ids);
  }
  (void)open_checkpoint(path).ok();
}

} // namespace bitlathe::fuzz

BITLATHE_FUZZ_ENTRY(gguf)
