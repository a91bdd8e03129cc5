// SPDX-License-Identifier: GPL-3.0-or-later
// Any bytes as a tokenizer.json; what loads encodes and decodes a text.
#include "core/text/tokenizer.h"
#include "tests/fuzz/fuzz.h"

namespace bitlathe::fuzz {

void tokenizer(std::string_view input) {
  const auto path = scratch_file("tokenizer.json", input);
  const auto read = Tokenizer::from_folder(path.parent_path());
  if (!read.ok())
    return;
  const Tokenizer& tokenizer = **read;
  for (const bool special : {false, true}) {
    const auto ids = tokenizer.encode(" Hello, W\xc3\xb6rld 123\n\t\xf0\x9f\x98\x80 <s> don't \xff",
                                      {special, special});
    (void)tokenizer.decode(ids, !special);
    for (const std::int32_t id : ids)
      (void)tokenizer.piece(id);
  }
}

} // namespace bitlathe::fuzz

BITLATHE_FUZZ_ENTRY(tokenizer)
