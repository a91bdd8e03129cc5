// SPDX-License-Identifier: Apache-2.0
// Numbers as people read them, for reports and tables of the command line.
#pragma once

#include <cstdint>
#include <string>

namespace bitlathe {

std::string bytes_text(std::uint64_t bytes);                ///< "13.50 GiB", "17 B"
std::string number_text(double value, int significant = 4); ///< "0.01234", "1.2e-07", "-" for NaN
std::string percent_text(double share, int decimals = 1);   ///< "12.5 %"
std::string count_text(double n);                           ///< "7.24 B", "656 k", "768"
std::string seconds_text(double seconds);                   ///< "0.8 s", "2 min 05 s"
/// "7.41 ± 0.12"; without an error the value alone.
std::string error_text(double value, double standard_error, int significant = 4);

} // namespace bitlathe
