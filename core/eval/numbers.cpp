// SPDX-License-Identifier: Apache-2.0
#include "core/eval/numbers.h"

namespace bitlathe {

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// One spelling per number: "-1,200.50" is "-1200.5". Figures of any length are compared exactly.
std::string plain_number(std::string_view text) {
  std::string whole, part;
  bool negative = false, after_point = false;
  for (const char c : text) {
    if (c == '-')
      negative = true;
    else if (c == '.')
      after_point = true;
    else if (is_digit(c))
      (after_point ? part : whole) += c;
  }
  whole.erase(0, whole.find_first_not_of('0') == std::string::npos ? whole.size()
                                                                   : whole.find_first_not_of('0'));
  part.resize(part.find_last_not_of('0') + 1); // npos + 1 is 0
  std::string out = whole.empty() ? "0" : whole;
  if (!part.empty())
    out += "." + part;
  return negative && out != "0" ? "-" + out : out;
}

/// The number that starts at `at` and its end; commas between digits and one point belong to it.
std::optional<std::string> number_at(std::string_view text, std::size_t at, std::size_t& end) {
  std::size_t i = at;
  if (i < text.size() && text[i] == '-')
    ++i;
  const std::size_t digits = i;
  bool point = false;
  for (; i < text.size(); ++i) {
    const bool next = i + 1 < text.size() && is_digit(text[i + 1]);
    if (is_digit(text[i]) || (text[i] == ',' && i > digits && next && !point))
      continue;
    if (text[i] != '.' || point || !next)
      break;
    point = true;
  }
  if (i == digits)
    return std::nullopt;
  end = i;
  return plain_number(text.substr(at, i - at));
}

/// Every number of a text in turn, until `take` has enough.
template <class Take> void each_number(std::string_view text, Take take) {
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = at;
    const bool minus = text[at] == '-' && (at == 0 || !is_digit(text[at - 1]));
    const bool point = text[at] == '.' && at + 1 < text.size() && is_digit(text[at + 1]);
    const auto found = is_digit(text[at]) || minus || point ? number_at(text, at, end)
                                                            : std::optional<std::string>();
    if (found && !take(*found))
      return;
    at = found ? end : at + 1;
  }
}

} // namespace

std::optional<std::string> answer_in(std::string_view text) {
  std::optional<std::string> out;
  if (const auto mark = text.rfind("####"); mark != std::string_view::npos) {
    const auto rest = text.substr(mark + 4);
    each_number(rest.substr(0, rest.find('\n')), [&](const std::string& number) {
      out = number;
      return false;
    });
  }
  if (!out)
    each_number(text, [&](const std::string& number) {
      out = number;
      return true;
    });
  return out;
}

bool same_number(std::string_view answer, std::string_view said) {
  const auto wanted = answer_in(answer);
  return wanted && wanted == answer_in(said);
}

} // namespace bitlathe
