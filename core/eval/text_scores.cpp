// SPDX-License-Identifier: Apache-2.0
#include "core/eval/text_scores.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>

namespace bitlathe {

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_stop(char c) { return c == '.' || c == ','; }

/// ASCII punctuation except apostrophe, hyphen, stop and comma.
bool stands_alone(char c) {
  return (c >= '{' && c <= '~') || (c >= '[' && c <= '`') || (c >= ' ' && c <= '&') ||
         (c >= '(' && c <= '+') || (c >= ':' && c <= '@') || c == '/';
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
}

/// Pairs (a, b) in a row, none sharing a character with the one before it, with spaces put around.
template <class Match>
std::string space_pairs(const std::string& in, Match match, bool space_before, bool space_after) {
  std::string out;
  for (std::size_t i = 0; i < in.size(); ++i) {
    if (i + 1 < in.size() && match(in[i], in[i + 1])) {
      out += space_before ? std::string(" ") + in[i] + ' ' + in[i + 1]
                          : std::string(1, in[i]) + ' ' + in[i + 1];
      if (space_after)
        out += ' ';
      ++i;
    } else {
      out += in[i];
    }
  }
  return out;
}

/// Bytes of the white space that starts at `at`, as Python's str.split sees it; 0 for none.
std::size_t space_at(std::string_view text, std::size_t at) {
  const auto c = std::uint8_t(text[at]);
  if (c == ' ' || (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x1f))
    return 1;
  const auto starts = [&](std::string_view space) {
    return text.substr(at, space.size()) == space;
  };
  if (starts("\u0085") || starts("\u00a0"))
    return 2;
  if (starts("\u1680") || starts("\u2028") || starts("\u2029") || starts("\u202f") ||
      starts("\u205f") || starts("\u3000"))
    return 3;
  return text.substr(at, 2) == "\xe2\x80" && at + 2 < text.size() &&
                 std::uint8_t(text[at + 2]) >= 0x80 && std::uint8_t(text[at + 2]) <= 0x8a
             ? 3
             : 0;
}

using NGrams = std::map<std::vector<std::string_view>, int>;

NGrams ngrams(const std::vector<std::string>& words, std::size_t n) {
  NGrams out;
  for (std::size_t i = 0; i + n <= words.size(); ++i)
    ++out[std::vector<std::string_view>(words.begin() + std::ptrdiff_t(i),
                                        words.begin() + std::ptrdiff_t(i + n))];
  return out;
}

std::vector<std::string> rouge_words(std::string_view text) {
  std::vector<std::string> out;
  std::string word;
  for (const char c : text) {
    const char low = c >= 'A' && c <= 'Z' ? char(c + 32) : c;
    if ((low >= 'a' && low <= 'z') || is_digit(low)) {
      word += low;
    } else if (!word.empty()) {
      out.push_back(std::move(word));
      word.clear();
    }
  }
  if (!word.empty())
    out.push_back(std::move(word));
  return out;
}

std::size_t longest_common(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (const auto& word : a) {
    std::size_t diagonal = 0;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = word == b[j - 1] ? diagonal + 1 : std::max(above, row[j - 1]);
      diagonal = above;
    }
  }
  return row.back();
}

} // namespace

std::vector<std::string> words_13a(std::string_view given) {
  std::string text(given);
  replace_all(text, "<skipped>", "");
  replace_all(text, "-\n", "");
  replace_all(text, "\n", " ");
  replace_all(text, "&quot;", "\"");
  replace_all(text, "&amp;", "&");
  replace_all(text, "&lt;", "<");
  replace_all(text, "&gt;", ">");
  text = " " + text + " ";
  std::string spaced;
  for (const char c : text)
    spaced += stands_alone(c) ? std::string(" ") + c + ' ' : std::string(1, c);
  spaced = space_pairs(
      spaced, [](char a, char b) { return !is_digit(a) && is_stop(b); }, false, true);
  spaced = space_pairs(
      spaced, [](char a, char b) { return is_stop(a) && !is_digit(b); }, true, false);
  spaced = space_pairs(
      spaced, [](char a, char b) { return is_digit(a) && b == '-'; }, false, true);

  std::vector<std::string> out;
  std::string word;
  for (std::size_t i = 0; i < spaced.size();) {
    const std::size_t space = space_at(spaced, i);
    if (space == 0) {
      word += spaced[i++];
      continue;
    }
    if (!word.empty())
      out.push_back(std::move(word));
    word.clear();
    i += space;
  }
  if (!word.empty())
    out.push_back(std::move(word));
  return out;
}

BleuCounts bleu_counts(std::string_view text, const std::vector<std::string>& references) {
  const auto words = words_13a(text);
  std::vector<std::vector<std::string>> right;
  for (const auto& reference : references)
    right.push_back(words_13a(reference));
  BleuCounts out;
  out.words = double(words.size());
  double nearest = -1;
  for (const auto& reference : right) {
    const double length = double(reference.size());
    const double apart = std::fabs(length - out.words);
    if (nearest < 0 || apart < nearest || (apart == nearest && length < out.reference_words)) {
      nearest = apart;
      out.reference_words = length;
    }
  }
  for (std::size_t n = 1; n <= 4; ++n) {
    NGrams most; // of any one reference
    for (const auto& reference : right)
      for (const auto& [gram, count] : ngrams(reference, n))
        most[gram] = std::max(most[gram], count);
    for (const auto& [gram, count] : ngrams(words, n)) {
      out.all[n - 1] += count;
      const auto known = most.find(gram);
      out.right[n - 1] += known == most.end() ? 0 : std::min(count, known->second);
    }
  }
  return out;
}

double bleu(const BleuCounts& counts) {
  if (std::all_of(counts.right.begin(), counts.right.end(), [](double c) { return c == 0; }))
    return 0;
  double smoothing = 1, logs = 0;
  for (std::size_t n = 0; n < 4; ++n) {
    if (counts.all[n] == 0)
      return 0; // texts of fewer words than the n-grams have
    if (counts.right[n] == 0)
      smoothing *= 2;
    logs += std::log(counts.right[n] == 0 ? 1 / (smoothing * counts.all[n])
                                          : counts.right[n] / counts.all[n]);
  }
  const double brevity =
      counts.words < counts.reference_words ? 1 - counts.reference_words / counts.words : 0;
  return 100 * std::exp(brevity + logs / 4);
}

double rouge_l(std::string_view text, const std::vector<std::string>& references) {
  const auto words = rouge_words(text);
  double best = 0;
  for (const auto& reference : references) {
    const auto right = rouge_words(reference);
    if (words.empty() || right.empty())
      continue;
    const double common = double(longest_common(right, words));
    const double precision = common / double(words.size()), recall = common / double(right.size());
    if (common > 0)
      best = std::max(best, 2 * precision * recall / (precision + recall));
  }
  return best;
}

} // namespace bitlathe
