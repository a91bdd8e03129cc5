// SPDX-License-Identifier: GPL-3.0-or-later
// Numbers as people read them: GiB, bits per weight, tok/s, short counts.
#pragma once

#include <cstdint>
#include <QString>
#include <vector>

namespace bitlathe::gui {

QString formatBytes(std::uint64_t bytes);                   ///< "13.5 GiB", "412 KiB", "17 B"
QString formatCount(double n);                              ///< "7.24 B", "4.2 M", "768"
QString formatGrouped(std::int64_t n);                      ///< "196 608" with thin spaces
QString formatNumber(double value, int significant = 4);    ///< "0.01234", "1.2e-7", "nan"
QString formatPercent(double fraction, int decimals = 1);   ///< "12.5 %"
QString formatBits(double bits);                            ///< "4.25 bpw"
QString formatRate(double per_second, const QString& unit); ///< "123 tok/s", "2.4 GB/s"
QString formatDuration(double seconds);                     ///< "0.8 s", "2 min 05 s", "1 h 12 min"
QString formatShape(const std::vector<std::int64_t>& shape); ///< "768 × 256"
QString formatError(double value, double standard_error);    ///< "7.41 ± 0.12"
QString formatRatio(double ratio);                           ///< "1.006 ×"

} // namespace bitlathe::gui
