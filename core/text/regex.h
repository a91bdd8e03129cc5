// SPDX-License-Identifier: Apache-2.0
// Regular expressions as pre-tokenizers use them: to cut a text into matches and what lies between.
#pragma once

#include "kernels/base/result.h"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace bitlathe::text {

struct Span {
  std::size_t begin = 0, end = 0;
  bool match = false;
};

/// Whose spelling a pattern is written in.
enum class RegexFlavor {
  oniguruma, ///< Ruby syntax, as in tokenizer.json
  rust       ///< the regex and fancy-regex crates, as in tiktoken; also what llama.cpp writes
};

class Regex {
 public:
  static Result<Regex> compile(const std::string& pattern, const std::string& where,
                               RegexFlavor flavor = RegexFlavor::oniguruma);

  /// The whole of `text` (valid UTF-8) cut into matches and the gaps between them. Empty matches
  /// are spans of their own.
  std::vector<Span> cut(std::string_view text) const;

 private:
  struct Compiled;
  std::shared_ptr<const Compiled> compiled_;
};

/// The same cut for a literal.
std::vector<Span> cut_literal(std::string_view text, std::string_view literal);

} // namespace bitlathe::text
