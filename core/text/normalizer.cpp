// SPDX-License-Identifier: Apache-2.0
#include "core/text/pattern.h"
#include "core/text/stages.h"
#include "core/text/unicode.h"

#include <map>

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

Result<Normalizer> parse_normalizer(const Json& json, const std::string& where) {
  static const std::map<std::string, NormalForm> forms{{"NFC", NormalForm::nfc},
                                                       {"NFD", NormalForm::nfd},
                                                       {"NFKC", NormalForm::nfkc},
                                                       {"NFKD", NormalForm::nfkd}};
  Normalizer steps;
  TRY_ASSIGN(const auto stages, stage_list(json, "normalizer", "normalizers", where));
  for (const auto& stage : stages) {
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
      steps.push_back([](std::string& text) {
        std::string kept;
        for (std::size_t pos = 0; pos < text.size();)
          if (const char32_t c = next_char(text, pos); !is_mark(c))
            append_char(kept, c);
        text = std::move(kept);
      });
    } else if (type == "Strip") {
      TRY_ASSIGN(const bool left, json_bool_or(stage, "strip_left", true, where));
      TRY_ASSIGN(const bool right, json_bool_or(stage, "strip_right", true, where));
      steps.push_back([left, right](std::string& text) {
        std::size_t begin = 0, end = text.size();
        while (left && begin < end) {
          std::size_t next = begin;
          if (!is_space(next_char(text, next)))
            break;
          begin = next;
        }
        while (right && end > begin) {
          std::size_t last = previous_char(text, end), after = last;
          if (!is_space(next_char(text, after)))
            break;
          end = last;
        }
        text = text.substr(begin, end - begin);
      });
    } else {
      return unknown_stage("normalizer", type, where);
    }
  }
  return steps;
}

} // namespace bitlathe::text
