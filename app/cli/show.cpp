// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/cli/verb.h"
#include "core/report/numbers.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ostream>

namespace bitlathe {

std::string show_bytes(std::uint64_t bytes) { return bytes_text(bytes); }

std::string show_number(double value, int digits) {
  if (std::isfinite(value))
    return number_text(value, digits);
  char text[16];
  std::snprintf(text, sizeof text, "%g", value);
  return text;
}

void TextTable::print(std::ostream& out) const {
  std::vector<std::size_t> widths;
  for (const auto& row : rows_) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], row[i].size());
  }
  for (const auto& row : rows_) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size())
        line.append(widths[i] - row[i].size() + 2, ' ');
    }
    out << line << '\n';
  }
}

} // namespace bitlathe
