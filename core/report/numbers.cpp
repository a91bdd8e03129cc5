// SPDX-License-Identifier: Apache-2.0
#include "core/report/numbers.h"

#include <cmath>
#include <cstdio>

namespace bitlathe {

namespace {

template <class... Values> std::string printed(const char* format, Values... values) {
  char text[64];
  std::snprintf(text, sizeof text, format, values...);
  return text;
}

} // namespace

std::string bytes_text(std::uint64_t bytes) {
  constexpr const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = double(bytes);
  int unit = 0;
  for (; value >= 1024 && unit < 4; ++unit)
    value /= 1024;
  return printed(unit == 0 ? "%.0f %s" : "%.2f %s", value, units[unit]);
}

std::string number_text(double value, int significant) {
  if (std::isnan(value))
    return "-";
  if (std::isinf(value))
    return value < 0 ? "-infinite" : "infinite";
  // Whole numbers stay readable where their digits would give way to a power of ten.
  if (std::fabs(value) >= std::pow(10, significant) && std::fabs(value) < 1e9)
    return printed("%.0f", value);
  return printed("%.*g", significant, value);
}

std::string percent_text(double share, int decimals) {
  return std::isfinite(share) ? printed("%.*f %%", decimals, 100 * share) : "-";
}

std::string count_text(double n) {
  constexpr const char* units[] = {"", " k", " M", " B", " T"};
  int unit = 0;
  for (; n >= 1000 && unit < 4; ++unit)
    n /= 1000;
  return printed(unit == 0 ? "%.0f%s" : "%.3g%s", n, units[unit]);
}

std::string seconds_text(double seconds) {
  if (!std::isfinite(seconds))
    return "-";
  if (seconds < 60)
    return printed(seconds < 10 ? "%.1f s" : "%.0f s", seconds);
  const auto whole = std::int64_t(std::lround(seconds));
  if (whole < 3600)
    return printed("%d min %02d s", int(whole / 60), int(whole % 60));
  return printed("%d h %02d min", int(whole / 3600), int(whole / 60 % 60));
}

std::string error_text(double value, double standard_error, int significant) {
  const std::string shown = number_text(value, significant);
  return standard_error > 0 ? shown + " \xC2\xB1 " + number_text(standard_error, 2) : shown;
}

} // namespace bitlathe
