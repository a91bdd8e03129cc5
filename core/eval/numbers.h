// SPDX-License-Identifier: Apache-2.0
// Numbers in texts.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace bitlathe {

/// The first number after the last "####", else the last number of a text, in one spelling:
/// "-1,200.50" is
/// "-1200.5". Nothing when there is none.
std::optional<std::string> answer_in(std::string_view text);
/// Whether two texts give the same number as their answer; figures of any length are compared
/// exactly.
bool same_number(std::string_view answer, std::string_view said);

} // namespace bitlathe
