// SPDX-License-Identifier: Apache-2.0
// From the spelling of one regular-expression library to that of PCRE2.
#pragma once

#include "core/text/regex.h"

namespace bitlathe::text {

/// `pattern` in PCRE2 spelling: \s, \w and their negations spelled out as the sets the other
/// library means, nested and intersected character classes unfolded. What cannot be said is an
/// error.
Result<std::string> to_pcre(const std::string& pattern, RegexFlavor flavor,
                            const std::string& where);

} // namespace bitlathe::text
