// SPDX-License-Identifier: Apache-2.0
// Decoders work on bytes: a byte token gives its byte even where the text around it is not valid
// UTF-8, so that a stream of tokens can be shown as it comes.
#include "core/text/pattern.h"
#include "core/text/stages.h"
#include "core/text/token_list.h"
#include "core/text/unicode.h"

#include <algorithm>

namespace bitlathe::text {

namespace {

void byte_tokens(std::vector<std::string>& tokens, bool) {
  for (auto& token : tokens)
    if (const int byte = byte_of_token(token); byte >= 0)
      token.assign(1, char(byte));
}

void fuse(std::vector<std::string>& tokens, bool) {
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

std::string replaced_text(std::string text, std::string_view from, std::string_view to) {
  for (auto at = text.find(from); at != std::string::npos && !from.empty();
       at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

/// Takes back spaces that pre-tokenizers of BERT's time put around punctuation.
std::string cleaned(std::string text) {
  static const std::pair<const char*, const char*> rules[] = {
      {" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
      {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
      {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : rules)
    text = replaced_text(std::move(text), from, to);
  return text;
}

Result<void> add_metaspace(const Json& stage, Decoder& steps, const std::string& where) {
  TRY_ASSIGN(const auto mark, json_string_or(stage, "replacement", "\u2581", where));
  TRY_ASSIGN(const auto scheme, json_string_or(stage, "prepend_scheme", "always", where));
  TRY_ASSIGN(const bool prefix, json_bool_or(stage, "add_prefix_space", true, where));
  const bool drop_first = prefix && scheme != "never";
  steps.push_back({[mark, drop_first](std::vector<std::string>& tokens, bool at_start) {
                     for (std::size_t i = 0; i < tokens.size(); ++i)
                       tokens[i] = replaced_text(std::move(tokens[i]), mark,
                                                 i == 0 && at_start && drop_first ? "" : " ");
                   },
                   true});
  return {};
}

Result<void> add_word_piece(const Json& stage, Decoder& steps, const std::string& where) {
  TRY_ASSIGN(const auto prefix, json_string_or(stage, "prefix", "##", where));
  TRY_ASSIGN(const bool cleanup, json_bool_or(stage, "cleanup", true, where));
  steps.push_back({[prefix, cleanup](std::vector<std::string>& tokens, bool at_start) {
                     for (std::size_t i = 0; i < tokens.size(); ++i) {
                       auto& token = tokens[i];
                       if (i > 0 || !at_start) {
                         if (token.compare(0, prefix.size(), prefix) == 0)
                           token.erase(0, prefix.size());
                         else
                           token.insert(0, 1, ' ');
                       }
                       if (cleanup)
                         token = cleaned(std::move(token));
                     }
                   },
                   true});
  return {};
}

Result<void> add_ctc(const Json& stage, Decoder& steps, const std::string& where) {
  TRY_ASSIGN(const auto pad, json_string_or(stage, "pad_token", "<pad>", where));
  TRY_ASSIGN(const auto delimiter, json_string_or(stage, "word_delimiter_token", "|", where));
  TRY_ASSIGN(const bool cleanup, json_bool_or(stage, "cleanup", true, where));
  steps.push_back({[pad, delimiter, cleanup](std::vector<std::string>& tokens, bool) {
                     tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
                     std::vector<std::string> kept;
                     for (auto& token : tokens) {
                       token = replaced_text(std::move(token), pad, "");
                       if (cleanup)
                         token = replaced_text(cleaned(std::move(token)), delimiter, " ");
                       if (!token.empty())
                         kept.push_back(std::move(token));
                     }
                     tokens = std::move(kept);
                   },
                   true});
  return {};
}

} // namespace

Result<Decoder> parse_decoder(const Json& json, const std::string& where) {
  Decoder steps;
  if (json.is_null()) {
    // The reference joins tokens by spaces when a file has no decoder.
    steps.push_back({[](std::vector<std::string>& tokens, bool at_start) {
                       for (std::size_t i = at_start ? 1 : 0; i < tokens.size(); ++i)
                         tokens[i].insert(0, 1, ' ');
                     },
                     true});
    return steps;
  }
  TRY_ASSIGN(const auto stages, stage_list(json, "decoder", "decoders", where));
  for (const auto& stage : stages) {
    TRY_ASSIGN(const auto type, stage_type(stage, "decoder", where));
    if (type == "ByteLevel") {
      steps.push_back({[](std::vector<std::string>& tokens, bool) {
                         for (auto& token : tokens)
                           token = from_printable(token);
                       },
                       true});
    } else if (type == "Replace") {
      TRY_ASSIGN(const auto pattern, parse_pattern(stage, where));
      TRY_ASSIGN(const auto content, json_string(stage, "content", where));
      steps.push_back({[pattern, content](std::vector<std::string>& tokens, bool) {
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
      steps.push_back({[content, start, stop](std::vector<std::string>& tokens, bool) {
                         strip(tokens, content, start, stop);
                       },
                       false});
    } else if (type == "Metaspace") {
      TRY(add_metaspace(stage, steps, where));
    } else if (type == "BPEDecoder") {
      TRY_ASSIGN(const auto suffix, json_string_or(stage, "suffix", "</w>", where));
      if (suffix.empty())
        return Error{"bad-file", "BPEDecoder: the suffix is empty", where};
      steps.push_back({[suffix](std::vector<std::string>& tokens, bool at_start) {
                         for (std::size_t i = 0; i < tokens.size(); ++i)
                           tokens[i] = replaced_text(std::move(tokens[i]), suffix,
                                                     at_start && i + 1 == tokens.size() ? "" : " ");
                       },
                       true});
    } else if (type == "WordPiece") {
      TRY(add_word_piece(stage, steps, where));
    } else if (type == "CTC") {
      TRY(add_ctc(stage, steps, where));
    } else {
      return unknown_stage("decoder", type, where);
    }
  }
  return steps;
}

} // namespace bitlathe::text
