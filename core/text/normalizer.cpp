// SPDX-License-Identifier: Apache-2.0
#include "core/text/charsmap.h"
#include "core/text/pattern.h"
#include "core/text/stages.h"
#include "core/text/unicode.h"

#include <map>
#include <memory>

namespace bitlathe::text {

Result<std::string> stage_type(const Json& json, std::string_view stage, const std::string& where) {
  if (!json.is_object())
    return Error{"bad-file",
                 "The " + std::string(stage) + " must be an object, not " + json.type_name(),
                 where};
  return json_string(json, "type", where);
}

Error unknown_stage(std::string_view stage, const std::string& type, const std::string& where) {
  return {"unsupported",
          "The " + std::string(stage) + " \"" + type +
              "\" is not supported, so this tokenizer would give other ids than the model was "
              "trained with",
          where};
}

Result<std::vector<Json>> stage_list(const Json& json, std::string_view stage,
                                     std::string_view members, const std::string& where) {
  std::vector<Json> out;
  if (json.is_null())
    return out;
  TRY_ASSIGN(const auto type, stage_type(json, stage, where));
  if (type != "Sequence") {
    out.push_back(json);
    return out;
  }
  const auto list = json.find(members);
  if (list == json.end() || !list->is_array())
    return Error{"bad-file",
                 "The " + std::string(stage) + " sequence has no list \"" + std::string(members) +
                     "\"",
                 where};
  for (const auto& member : *list) {
    TRY_ASSIGN(auto inner, stage_list(member, stage, members, where));
    out.insert(out.end(), inner.begin(), inner.end());
  }
  return out;
}

std::string normalized(const Normalizer& normalizer, std::string text) {
  for (const auto& step : normalizer)
    step(text);
  return text;
}

namespace {

/// Goes through the characters; `f` appends what becomes of each.
template <class F> void rewrite(std::string& text, F&& f) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t pos = 0; pos < text.size();)
    f(next_char(text, pos), out);
  text = std::move(out);
}

void keep_unless(std::string& text, bool (*drop)(char32_t)) {
  rewrite(text, [drop](char32_t c, std::string& out) {
    if (!drop(c))
      append_char(out, c);
  });
}

bool is_ideograph(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
         (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
         (c >= 0x2B740 && c <= 0x2B81F) ||
         (c >= 0x2B920 && c <= 0x2CEAF) || // BERT's own begins at 2B820, the library's here
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

Result<void> add_bert(const Json& stage, Normalizer& steps, const std::string& where) {
  TRY_ASSIGN(const bool clean, json_bool_or(stage, "clean_text", true, where));
  TRY_ASSIGN(const bool chinese, json_bool_or(stage, "handle_chinese_chars", true, where));
  TRY_ASSIGN(const bool lower, json_bool_or(stage, "lowercase", true, where));
  TRY_ASSIGN(const bool strip, json_bool_or(stage, "strip_accents", lower, where));
  if (clean)
    steps.push_back([](std::string& text) {
      rewrite(text, [](char32_t c, std::string& out) {
        const bool control = is_other(c) && c != '\t' && c != '\n' && c != '\r';
        if (c != 0 && c != 0xFFFD && !control)
          append_char(out, is_space(c) ? U' ' : c);
      });
    });
  if (chinese)
    steps.push_back([](std::string& text) {
      rewrite(text, [](char32_t c, std::string& out) {
        const bool own_word = is_ideograph(c);
        out += own_word ? " " : "";
        append_char(out, c);
        out += own_word ? " " : "";
      });
    });
  if (strip)
    steps.push_back([](std::string& text) {
      text = normal_form(text, NormalForm::nfd);
      keep_unless(text, is_nonspacing);
    });
  if (lower)
    steps.push_back([](std::string& text) { text = lower_case(text); });
  return {};
}

/// SentencePiece's "nmt" rules without the normal form.
void nmt(std::string& text) {
  rewrite(text, [](char32_t c, std::string& out) {
    if ((c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F ||
        c == 0x9F)
      return;
    const bool space = c == 9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 ||
                       (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
                       c == 0xFEFF || c == 0xFFFD;
    append_char(out, space ? U' ' : c);
  });
}

void strip(std::string& text, bool left, bool right) {
  std::size_t begin = 0, end = text.size();
  while (left && begin < end) {
    std::size_t next = begin;
    if (!is_space(next_char(text, next)))
      break;
    begin = next;
  }
  while (right && end > begin) {
    const std::size_t last = previous_char(text, end);
    std::size_t after = last;
    if (!is_space(next_char(text, after)))
      break;
    end = last;
  }
  text = text.substr(begin, end - begin);
}

Result<void> add_stage(const Json& stage, Normalizer& steps, const std::string& where) {
  static const std::map<std::string, NormalForm> forms{{"NFC", NormalForm::nfc},
                                                       {"NFD", NormalForm::nfd},
                                                       {"NFKC", NormalForm::nfkc},
                                                       {"NFKD", NormalForm::nfkd}};
  TRY_ASSIGN(const auto type, stage_type(stage, "normalizer", where));
  if (const auto form = forms.find(type); form != forms.end()) {
    steps.push_back([f = form->second](std::string& text) { text = normal_form(text, f); });
  } else if (type == "Prepend") {
    TRY_ASSIGN(const auto prefix, json_string(stage, "prepend", where));
    steps.push_back([prefix](std::string& text) {
      if (!text.empty())
        text.insert(0, prefix);
    });
  } else if (type == "Replace") {
    TRY_ASSIGN(const auto pattern, parse_pattern(stage, where));
    TRY_ASSIGN(const auto content, json_string(stage, "content", where));
    steps.push_back(
        [pattern, content](std::string& text) { text = replaced(text, pattern, content); });
  } else if (type == "Lowercase") {
    steps.push_back([](std::string& text) { text = lower_case(text); });
  } else if (type == "StripAccents") {
    steps.push_back([](std::string& text) { keep_unless(text, is_mark); });
  } else if (type == "Strip") {
    TRY_ASSIGN(const bool left, json_bool_or(stage, "strip_left", true, where));
    TRY_ASSIGN(const bool right, json_bool_or(stage, "strip_right", true, where));
    steps.push_back([left, right](std::string& text) { strip(text, left, right); });
  } else if (type == "BertNormalizer") {
    TRY(add_bert(stage, steps, where));
  } else if (type == "Nmt") {
    steps.push_back(nmt);
  } else if (type == "ByteLevel") {
    steps.push_back([](std::string& text) { text = to_printable(text); });
  } else if (type == "Precompiled") {
    TRY_ASSIGN(const auto base64, json_string_or(stage, "precompiled_charsmap", "", where));
    TRY_ASSIGN(const auto blob, from_base64(base64, where));
    TRY_ASSIGN(auto map, Charsmap::parse(blob, where));
    steps.push_back([map = std::make_shared<const Charsmap>(std::move(map))](std::string& text) {
      text = map->normalized(text);
    });
  } else {
    return unknown_stage("normalizer", type, where);
  }
  return {};
}

} // namespace

Result<Normalizer> parse_normalizer(const Json& json, const std::string& where) {
  Normalizer steps;
  TRY_ASSIGN(const auto stages, stage_list(json, "normalizer", "normalizers", where));
  for (const auto& stage : stages)
    TRY(add_stage(stage, steps, where));
  return steps;
}

} // namespace bitlathe::text
