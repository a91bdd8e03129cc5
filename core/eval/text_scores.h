// SPDX-License-Identifier: Apache-2.0
// How near a text is to right ones: BLEU as sacreBLEU defines it, ROUGE-L as rouge-score does.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

namespace bitlathe {

/// Words of a text by mteval-v13a's rules, sacreBLEU's default ("13a").
std::vector<std::string> words_13a(std::string_view text);

/// What BLEU adds up over the texts of a corpus.
struct BleuCounts {
  std::array<double, 4> right{}, all{};  ///< n-grams of 1 to 4 words: found in a reference, and all
  double words = 0, reference_words = 0; ///< of the reference nearest in length
};
BleuCounts bleu_counts(std::string_view text, const std::vector<std::string>& references);
/// 0 to 100, with exponential smoothing and brevity penalty (Papineni et al. 2002; Post 2018).
double bleu(const BleuCounts& counts);

/// F1 of the longest common subsequence of words (lower case, ASCII letters and digits), the best
/// over the references (Lin 2004).
double rouge_l(std::string_view text, const std::vector<std::string>& references);

} // namespace bitlathe
