// SPDX-License-Identifier: Apache-2.0
#include "core/text/pattern.h"
#include "core/text/stages.h"
#include "core/text/unicode.h"

#include <QChar>

namespace bitlathe::text {

namespace {

/// GPT-2's split, which "ByteLevel" applies when use_regex is on.
constexpr const char* gpt2_pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

/// Replaces every piece that is not a token by what `split` makes of it.
void for_each_text(std::vector<Piece>& pieces,
                   const std::function<void(Piece&&, std::vector<Piece>&)>& split) {
  std::vector<Piece> out;
  out.reserve(pieces.size());
  for (auto& piece : pieces) {
    if (piece.token >= 0)
      out.push_back(std::move(piece));
    else
      split(std::move(piece), out);
  }
  pieces = std::move(out);
}

void add_part(const Piece& whole, std::size_t begin, std::size_t end, std::vector<Piece>& out) {
  if (end > begin)
    out.push_back({whole.text.substr(begin, end - begin), -1, whole.at_start && begin == 0});
}

enum class Behavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

Result<Behavior> parse_behavior(const Json& stage, const std::string& where) {
  TRY_ASSIGN(const auto name, json_string_or(stage, "behavior", "Isolated", where));
  if (name == "Removed")
    return Behavior::removed;
  if (name == "Isolated")
    return Behavior::isolated;
  if (name == "MergedWithPrevious")
    return Behavior::merged_with_previous;
  if (name == "MergedWithNext")
    return Behavior::merged_with_next;
  if (name == "Contiguous")
    return Behavior::contiguous;
  return Error{"bad-file", "Unknown split behavior \"" + name + "\"", where};
}

void split_piece(const Piece& piece, std::vector<Span> spans, Behavior behavior,
                 std::vector<Piece>& out) {
  std::vector<Span> joined;
  switch (behavior) {
  case Behavior::removed:
    for (const auto& span : spans)
      if (!span.match)
        joined.push_back(span);
    break;
  case Behavior::isolated:
    joined = std::move(spans);
    break;
  case Behavior::contiguous:
    for (const auto& span : spans) {
      if (!joined.empty() && joined.back().match == span.match)
        joined.back().end = span.end;
      else
        joined.push_back(span);
    }
    break;
  case Behavior::merged_with_previous: {
    bool previous_match = false;
    for (const auto& span : spans) {
      if (span.match && !previous_match && !joined.empty())
        joined.back().end = span.end;
      else
        joined.push_back(span);
      previous_match = span.match;
    }
    break;
  }
  case Behavior::merged_with_next: {
    bool next_match = false;
    for (auto span = spans.rbegin(); span != spans.rend(); ++span) {
      if (span->match && !next_match && !joined.empty())
        joined.back().begin = span->begin;
      else
        joined.push_back(*span);
      next_match = span->match;
    }
    std::vector<Span>(joined.rbegin(), joined.rend()).swap(joined);
    break;
  }
  }
  for (const auto& span : joined)
    add_part(piece, span.begin, span.end, out);
}

auto splitter(Cutter cut, Behavior behavior) {
  return [cut = std::move(cut), behavior](std::vector<Piece>& pieces) {
    for_each_text(pieces, [&](Piece&& piece, std::vector<Piece>& out) {
      split_piece(piece, cut(piece.text), behavior, out);
    });
  };
}

/// One span per character of the class, and the gaps between.
Cutter cut_class(bool (*in_class)(char32_t)) {
  return [in_class](std::string_view text) {
    std::vector<Span> spans;
    for (std::size_t pos = 0; pos < text.size();) {
      const std::size_t begin = pos;
      const bool match = in_class(next_char(text, pos));
      if (!match && !spans.empty() && !spans.back().match)
        spans.back().end = pos;
      else
        spans.push_back({begin, pos, match});
    }
    return spans;
  };
}

Result<void> add_byte_level(const Json& stage, PreTokenizer& steps, const std::string& where) {
  TRY_ASSIGN(const bool prefix, json_bool_or(stage, "add_prefix_space", true, where));
  TRY_ASSIGN(const bool use_regex, json_bool_or(stage, "use_regex", true, where));
  if (prefix)
    steps.push_back([](std::vector<Piece>& pieces) {
      for (auto& piece : pieces)
        if (piece.token < 0 && !piece.text.empty() && piece.text[0] != ' ')
          piece.text.insert(0, 1, ' ');
    });
  if (use_regex) {
    TRY_ASSIGN(const auto regex, Regex::compile(gpt2_pattern, where));
    steps.push_back(
        splitter([regex](std::string_view text) { return regex.cut(text); }, Behavior::isolated));
  }
  steps.push_back([](std::vector<Piece>& pieces) {
    for (auto& piece : pieces)
      if (piece.token < 0)
        piece.text = to_printable(piece.text);
  });
  return {};
}

Result<void> add_metaspace(const Json& stage, PreTokenizer& steps, const std::string& where) {
  TRY_ASSIGN(const auto mark, json_string_or(stage, "replacement", "\u2581", where));
  TRY_ASSIGN(const bool split, json_bool_or(stage, "split", true, where));
  TRY_ASSIGN(auto scheme, json_string_or(stage, "prepend_scheme", "always", where));
  TRY_ASSIGN(const bool prefix, json_bool_or(stage, "add_prefix_space", true, where));
  if (!prefix) {
    if (stage.contains("prepend_scheme") && scheme != "never")
      return Error{"bad-file", "Metaspace: add_prefix_space and prepend_scheme disagree", where};
    scheme = "never";
  }
  if (scheme != "always" && scheme != "first" && scheme != "never")
    return Error{"bad-file", "Unknown prepend_scheme \"" + scheme + "\"", where};
  if (mark.empty())
    return Error{"bad-file", "Metaspace: the replacement is empty", where};
  steps.push_back([mark, scheme, split](std::vector<Piece>& pieces) {
    for_each_text(pieces, [&](Piece&& piece, std::vector<Piece>& out) {
      std::string text;
      text.reserve(piece.text.size() * 5 / 4 + mark.size());
      for (const char c : piece.text)
        if (c == ' ')
          text += mark;
        else
          text += c;
      if (!text.empty() && (scheme == "always" || (scheme == "first" && piece.at_start)) &&
          text.compare(0, mark.size(), mark) != 0)
        text.insert(0, mark);
      piece.text = std::move(text);
      // Every mark begins a word.
      std::size_t begin = 0;
      while (split) {
        const auto next = piece.text.find(mark, begin + 1);
        if (next == std::string::npos)
          break;
        add_part(piece, begin, next, out);
        begin = next;
      }
      if (begin == 0)
        out.push_back(std::move(piece));
      else
        add_part(piece, begin, piece.text.size(), out);
    });
  });
  return {};
}

/// Hugging Face's "Whitespace": words, runs of other signs, and spaces, which are dropped.
std::vector<Span> cut_words(std::string_view text) {
  std::vector<Span> spans;
  int last = -1;
  for (std::size_t pos = 0; pos < text.size();) {
    const std::size_t begin = pos;
    const char32_t c = next_char(text, pos);
    const int kind = is_word(c) ? 1 : is_space(c) ? 0 : 2;
    if (kind == last)
      spans.back().end = pos;
    else
      spans.push_back({begin, pos, kind == 0});
    last = kind;
  }
  return spans;
}

/// The script of a character as SentencePiece groups them: kana with Han; -1: goes with any.
int script_of(char32_t c) {
  if (c == ' ')
    return -1;
  if (c == 0x30FC)
    return QChar::Script_Han;
  const auto script =
      QChar::unicodeVersion(c) > QChar::Unicode_10_0 ? QChar::Script_Unknown : QChar::script(c);
  if (script == QChar::Script_Unknown)
    return -1;
  return script == QChar::Script_Hiragana || script == QChar::Script_Katakana ? QChar::Script_Han
                                                                              : int(script);
}

std::vector<Span> cut_scripts(std::string_view text) {
  std::vector<Span> spans;
  int last = -2; // nothing yet
  for (std::size_t pos = 0; pos < text.size();) {
    const std::size_t begin = pos;
    const int script = script_of(next_char(text, pos));
    if (script >= 0 && last != script)
      spans.push_back({begin, pos, true});
    else if (!spans.empty()) // spaces in front of everything are lost, like in the reference
      spans.back().end = pos;
    if (script >= 0)
      last = script;
  }
  return spans;
}

Result<void> add_fixed_length(const Json& stage, PreTokenizer& steps, const std::string& where) {
  TRY_ASSIGN(const auto length, json_int_or(stage, "length", 5, where));
  if (length < 1)
    return Error{"bad-file", "FixedLength: the length must be positive", where};
  steps.push_back(splitter(
      [length](std::string_view text) {
        std::vector<Span> spans;
        std::int64_t count = 0;
        for (std::size_t pos = 0; pos < text.size();) {
          const std::size_t begin = pos;
          next_char(text, pos);
          if (count++ % length == 0)
            spans.push_back({begin, pos, true});
          else
            spans.back().end = pos;
        }
        return spans;
      },
      Behavior::isolated));
  return {};
}

} // namespace

Result<PreTokenizer> parse_pre_tokenizer(const Json& json, const std::string& where) {
  PreTokenizer steps;
  TRY_ASSIGN(const auto stages, stage_list(json, "pre_tokenizer", "pretokenizers", where));
  for (const auto& stage : stages) {
    TRY_ASSIGN(const auto type, stage_type(stage, "pre_tokenizer", where));
    if (type == "ByteLevel") {
      TRY(add_byte_level(stage, steps, where));
    } else if (type == "Metaspace") {
      TRY(add_metaspace(stage, steps, where));
    } else if (type == "Split") {
      TRY_ASSIGN(auto cut, parse_pattern(stage, where));
      TRY_ASSIGN(const auto behavior, parse_behavior(stage, where));
      TRY_ASSIGN(const bool invert, json_bool_or(stage, "invert", false, where));
      if (invert)
        cut = [inner = cut](std::string_view text) {
          auto spans = inner(text);
          for (auto& span : spans)
            span.match = !span.match;
          return spans;
        };
      steps.push_back(splitter(std::move(cut), behavior));
    } else if (type == "Digits") {
      TRY_ASSIGN(const bool individual, json_bool_or(stage, "individual_digits", false, where));
      steps.push_back(
          splitter(cut_class(is_numeric), individual ? Behavior::isolated : Behavior::contiguous));
    } else if (type == "Punctuation") {
      TRY_ASSIGN(const auto behavior, parse_behavior(stage, where));
      steps.push_back(splitter(cut_class(is_punctuation), behavior));
    } else if (type == "Whitespace") {
      steps.push_back(splitter(cut_words, Behavior::removed));
    } else if (type == "BertPreTokenizer") {
      steps.push_back(splitter(cut_class(is_space), Behavior::removed));
      steps.push_back(splitter(cut_class(is_punctuation), Behavior::isolated));
    } else if (type == "CharDelimiterSplit") {
      TRY_ASSIGN(const auto delimiter, json_string(stage, "delimiter", where));
      if (delimiter.empty() || delimiter.size() != char_bytes(delimiter[0]))
        return Error{"bad-file", "CharDelimiterSplit: the delimiter must be one character", where};
      steps.push_back(
          splitter([delimiter](std::string_view text) { return cut_literal(text, delimiter); },
                   Behavior::removed));
    } else if (type == "UnicodeScripts") {
      steps.push_back(splitter(cut_scripts, Behavior::isolated));
    } else if (type == "FixedLength") {
      TRY(add_fixed_length(stage, steps, where));
    } else if (type == "WhitespaceSplit") {
      steps.push_back(splitter(cut_class(is_space), Behavior::removed));
    } else {
      return unknown_stage("pre_tokenizer", type, where);
    }
  }
  return steps;
}

} // namespace bitlathe::text
