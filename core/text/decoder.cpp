// SPDX-License-Identifier: Apache-2.0
// Decoders work on bytes: a byte token gives its byte even where the text around it is not valid
// UTF-8, so that a stream of tokens can be shown as it comes.
#include "core/text/pattern.h"
#include "core/text/stages.h"
#include "core/text/unicode.h"

namespace bitlathe::text {

namespace {

int hex_digit(char c) {
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                : -1;
}

void byte_tokens(std::vector<std::string>& tokens) {
  for (auto& token : tokens)
    if (token.size() == 6 && token.compare(0, 3, "<0x") == 0 && token[5] == '>' &&
        hex_digit(token[3]) >= 0 && hex_digit(token[4]) >= 0)
      token = std::string(1, char(hex_digit(token[3]) << 4 | hex_digit(token[4])));
}

void fuse(std::vector<std::string>& tokens) {
  std::string all;
  for (const auto& token : tokens)
    all += token;
  tokens.assign(1, std::move(all));
}

void strip(std::vector<std::string>& tokens, const std::string& content, std::int64_t start,
           std::int64_t stop) {
  for (auto& token : tokens) {
    for (std::int64_t i = 0; i < start && token.compare(0, content.size(), content) == 0; ++i)
      token.erase(0, content.size());
    for (std::int64_t i = 0;
         i < stop && token.size() >= content.size() &&
         token.compare(token.size() - content.size(), content.size(), content) == 0;
         ++i)
      token.resize(token.size() - content.size());
  }
}

Result<void> add_metaspace(const Json& stage, Decoder& steps, const std::string& where) {
  TRY_ASSIGN(const auto mark, json_string_or(stage, "replacement", "\u2581", where));
  TRY_ASSIGN(auto scheme, json_string_or(stage, "prepend_scheme", "always", where));
  TRY_ASSIGN(const bool prefix, json_bool_or(stage, "add_prefix_space", true, where));
  const bool drop_first = prefix && scheme != "never";
  const Cutter marks = [mark](std::string_view text) { return cut_literal(text, mark); };
  if (drop_first)
    steps.push_back({[marks](std::vector<std::string>& tokens) {
                       if (!tokens.empty())
                         tokens[0] = replaced(tokens[0], marks, "");
                     },
                     false});
  steps.push_back({[marks](std::vector<std::string>& tokens) {
                     for (auto& token : tokens)
                       token = replaced(token, marks, " ");
                   },
                   true});
  return {};
}

} // namespace

Result<Decoder> parse_decoder(const Json& json, const std::string& where) {
  Decoder steps;
  if (json.is_null()) {
    // The reference joins tokens by spaces when a file has no decoder.
    steps.push_back({[](std::vector<std::string>& tokens) {
                       for (std::size_t i = 1; i < tokens.size(); ++i)
                         tokens[i].insert(0, 1, ' ');
                     },
                     false});
    return steps;
  }
  TRY_ASSIGN(const auto stages, stage_list(json, "decoder", "decoders", where));
  for (const auto& stage : stages) {
    TRY_ASSIGN(const auto type, stage_type(stage, "decoder", where));
    if (type == "ByteLevel") {
      steps.push_back({[](std::vector<std::string>& tokens) {
                         for (auto& token : tokens)
                           token = from_printable(token);
                       },
                       true});
    } else if (type == "Replace") {
      TRY_ASSIGN(const auto pattern, parse_pattern(stage, where));
      TRY_ASSIGN(const auto content, json_string(stage, "content", where));
      steps.push_back({[pattern, content](std::vector<std::string>& tokens) {
                         for (auto& token : tokens)
                           if (token ==
                               valid_utf8(token)) // a pattern cannot look at half characters
                             token = replaced(token, pattern, content);
                       },
                       true});
    } else if (type == "ByteFallback") {
      steps.push_back({byte_tokens, true});
    } else if (type == "Fuse") {
      steps.push_back({fuse, false});
    } else if (type == "Strip") {
      TRY_ASSIGN(const auto content, json_string(stage, "content", where));
      TRY_ASSIGN(const auto start, json_int_or(stage, "start", 0, where));
      TRY_ASSIGN(const auto stop, json_int_or(stage, "stop", 0, where));
      if (content.empty() || start < 0 || stop < 0)
        return Error{"bad-file", "Strip: content must not be empty, start and stop not negative",
                     where};
      steps.push_back({[content, start, stop](std::vector<std::string>& tokens) {
                         strip(tokens, content, start, stop);
                       },
                       false});
    } else if (type == "Metaspace") {
      TRY(add_metaspace(stage, steps, where));
    } else if (type == "BPEDecoder") {
      TRY_ASSIGN(const auto suffix, json_string_or(stage, "suffix", "</w>", where));
      if (suffix.empty())
        return Error{"bad-file", "BPEDecoder: the suffix is empty", where};
      steps.push_back({[suffix](std::vector<std::string>& tokens) {
                         const Cutter ends = [&](std::string_view text) {
                           return cut_literal(text, suffix);
                         };
                         for (std::size_t i = 0; i < tokens.size(); ++i)
                           tokens[i] = replaced(tokens[i], ends, i + 1 < tokens.size() ? " " : "");
                       },
                       false});
    } else {
      return unknown_stage("decoder", type, where);
    }
  }
  return steps;
}

} // namespace bitlathe::text
