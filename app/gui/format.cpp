// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/format.h"

#include <array>
#include <cmath>
#include <QStringList>

namespace bitlathe::gui {

namespace {

const QChar thin_space(0x2009);

/// Three significant digits without an exponent, for values below 1000.
QString three(double value) {
  const double size = std::abs(value);
  return QString::number(value, 'f', size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2);
}

/// Drops zeros after the decimal point: "4.00" -> "4".
QString trimmed(QString text) {
  if (!text.contains('.') || text.contains('e'))
    return text;
  while (text.endsWith('0'))
    text.chop(1);
  if (text.endsWith('.'))
    text.chop(1);
  return text;
}

} // namespace

QString formatBytes(std::uint64_t bytes) {
  if (bytes < 1024)
    return QString::number(bytes) + " B";
  static const std::array units{"KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = double(bytes) / 1024;
  std::size_t unit = 0;
  for (; value >= 999.5 && unit + 1 < units.size(); ++unit)
    value /= 1024;
  return three(value) + ' ' + units[unit];
}

QString formatCount(double n) {
  if (!std::isfinite(n))
    return formatNumber(n);
  if (std::abs(n) < 10000)
    return trimmed(QString::number(n, 'f', std::abs(n) < 100 ? 2 : 0));
  static const std::array units{"K", "M", "B", "T"};
  double value = n / 1000;
  std::size_t unit = 0;
  for (; std::abs(value) >= 999.5 && unit + 1 < units.size(); ++unit)
    value /= 1000;
  return three(value) + ' ' + units[unit];
}

QString formatGrouped(std::int64_t n) {
  QString digits = QString::number(n);
  for (qsizetype at = digits.size() - 3; at > (n < 0 ? 1 : 0); at -= 3)
    digits.insert(at, thin_space);
  return digits;
}

QString formatNumber(double value, int significant) {
  if (std::isnan(value))
    return QStringLiteral("nan");
  if (std::isinf(value))
    return value > 0 ? QStringLiteral("∞") : QStringLiteral("−∞");
  if (value == 0)
    return QStringLiteral("0");
  const double size = std::abs(value);
  QString text;
  if (size >= 1e-4 && size < 1e7) {
    const int digits = std::max(0, significant - 1 - int(std::floor(std::log10(size))));
    text = QString::number(value, 'f', digits);
  } else {
    text = QString::number(value, 'e', std::max(0, significant - 2));
    text.replace(QStringLiteral("e-0"), QStringLiteral("e-"));
    text.replace(QStringLiteral("e+0"), QStringLiteral("e"));
    text.replace(QStringLiteral("e+"), QStringLiteral("e"));
  }
  return text.replace('-', QChar(0x2212));
}

QString formatPercent(double fraction, int decimals) {
  if (!std::isfinite(fraction))
    return formatNumber(fraction);
  const double percent = fraction * 100;
  if (percent != 0 && std::abs(percent) < 0.5 * std::pow(10, -decimals))
    return formatNumber(percent, 2) + " %";
  return QString::number(percent, 'f', decimals) + " %";
}

QString formatBits(double bits) { return QString::number(bits, 'f', 2) + " bpw"; }

QString formatRate(double per_second, const QString& unit) {
  if (!(per_second > 0) || !std::isfinite(per_second))
    return QStringLiteral("– ") + unit + "/s";
  return (per_second < 1000 ? three(per_second) : formatCount(per_second)) + ' ' + unit + "/s";
}

QString formatDuration(double seconds) {
  if (!(seconds >= 0) || !std::isfinite(seconds))
    return QStringLiteral("–");
  if (seconds < 10)
    return QString::number(seconds, 'f', 1) + " s";
  const auto whole = qint64(std::llround(seconds));
  if (whole < 60)
    return QString::number(whole) + " s";
  if (whole < 3600)
    return QStringLiteral("%1 min %2 s").arg(whole / 60).arg(whole % 60, 2, 10, QChar('0'));
  return QStringLiteral("%1 h %2 min").arg(whole / 3600).arg(whole % 3600 / 60, 2, 10, QChar('0'));
}

QString formatShape(const std::vector<std::int64_t>& shape) {
  QStringList parts;
  for (const auto n : shape)
    parts.append(QString::number(n));
  return parts.join(QStringLiteral(" × "));
}

QString formatError(double value, double standard_error) {
  if (!(standard_error > 0) || !std::isfinite(standard_error))
    return formatNumber(value);
  // As many decimals as give the error two significant digits.
  const int decimals = std::clamp(1 - int(std::floor(std::log10(standard_error))), 0, 9);
  return QString::number(value, 'f', decimals) + QStringLiteral(" ± ") +
         QString::number(standard_error, 'f', decimals);
}

QString formatRatio(double ratio) {
  return std::isfinite(ratio)
             ? QString::number(ratio, 'f', ratio < 10 ? 3 : 1) + QStringLiteral(" ×")
             : formatNumber(ratio);
}

} // namespace bitlathe::gui
