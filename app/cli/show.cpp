// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/cli/verb.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ostream>

namespace bitlathe {

std::string show_bytes(std::uint64_t bytes) {
  const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = double(bytes);
  int unit = 0;
  while (value >= 1024 && unit < 4) {
    value /= 1024;
    ++unit;
  }
  char text[48];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.2f %s", value, units[unit]);
  return text;
}

std::string show_number(double value, int digits) {
  char text[48];
  // Whole numbers stay readable where their digits would give way to a power of ten.
  if (std::fabs(value) >= std::pow(10, digits) && std::fabs(value) < 1e9) {
    std::snprintf(text, sizeof text, "%.0f", value);
    return text;
  }
  std::snprintf(text, sizeof text, "%.*g", digits, value);
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
