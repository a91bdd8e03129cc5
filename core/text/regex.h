// SPDX-License-Identifier: Apache-2.0
// Patterns of tokenizer files (Oniguruma, Ruby syntax) run by PCRE2 with Unicode properties.
#pragma once

#include "kernels/base/result.h"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace bitlathe::text {

/// A byte range of a text, found by a pattern or lying between two such ranges.
struct Span {
  std::size_t begin = 0, end = 0;
  bool match = false;
};

class Regex {
 public:
  static Result<Regex> compile(const std::string& pattern, const std::string& where);

  /// The whole of `text` (valid UTF-8) cut into matches and the gaps between them; empty matches
  /// are left out.
  std::vector<Span> cut(std::string_view text) const;

 private:
  struct Compiled;
  std::shared_ptr<const Compiled> compiled_;
};

/// `pattern` in PCRE2 spelling: \s, \w and their negations spelled out as the sets Oniguruma
/// means. Constructs that mean something else to PCRE2 are errors.
Result<std::string> to_pcre(const std::string& pattern, const std::string& where);

/// The same cut for a literal.
std::vector<Span> cut_literal(std::string_view text, std::string_view literal);

} // namespace bitlathe::text
