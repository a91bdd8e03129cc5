// SPDX-License-Identifier: GPL-3.0-or-later
// Where two generations part ways. Tokens are compared by the bytes they add to the text, so that
// models with different vocabularies can be compared too.
#pragma once

#include <QByteArray>
#include <QList>

namespace bitlathe::gui {

/// Index of the first token that differs, or -1 while none does. A finished text that is a prefix
/// of the other one differs at its end.
qsizetype firstDivergence(const QList<QByteArray>& reference, bool referenceDone,
                          const QList<QByteArray>& candidate, bool candidateDone);

/// What the text of one side shares with the other.
struct Agreement {
  QList<bool> reference, candidate; ///< per token: part of the longest common subsequence
  double share = 1;                 ///< common tokens / tokens of the longer side
};
/// Common prefix first, then the longest common subsequence of the rest (up to 1024 tokens a side;
/// beyond that only equal positions count).
Agreement agreement(const QList<QByteArray>& reference, const QList<QByteArray>& candidate);

} // namespace bitlathe::gui
