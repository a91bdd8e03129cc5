// SPDX-License-Identifier: Apache-2.0
#include "core/judge/transcripts.h"

#include "core/base/lenient_json.h"
#include "core/io/utf8.h"
#include "core/judge/token_text.h"

#include <algorithm>
#include <charconv>
#include <limits>

namespace bitlathe {

namespace {

OrderedJson numbers_to_json(const std::vector<double>& numbers) {
  OrderedJson json = OrderedJson::array();
  for (const double number : numbers)
    json.push_back(OrderedJson(json_number(number)));
  return json;
}

/// A piece may end inside a character: then it is a list of bytes.
OrderedJson pieces_to_json(const std::map<std::int32_t, std::string>& pieces) {
  OrderedJson json = OrderedJson::object();
  for (const auto& [id, bytes] : pieces) {
    if (is_utf8(bytes)) {
      json[std::to_string(id)] = bytes;
      continue;
    }
    OrderedJson& list = json[std::to_string(id)] = OrderedJson::array();
    for (const char byte : bytes)
      list.push_back(int(static_cast<unsigned char>(byte)));
  }
  return json;
}

std::map<std::int32_t, std::string> pieces_from_json(const Json& json) {
  std::map<std::int32_t, std::string> out;
  if (!json.is_object())
    return out;
  for (const auto& [key, value] : json.items()) {
    std::int32_t id = 0;
    const char* end = key.data() + key.size();
    if (const auto [at, problem] = std::from_chars(key.data(), end, id);
        problem != std::errc() || at != end)
      continue;
    std::string bytes;
    if (value.is_string())
      bytes = value.get<std::string>();
    else if (value.is_array())
      for (const Json& byte : value)
        if (byte.is_number_integer())
          bytes += char(static_cast<unsigned char>(byte.get<std::int64_t>()));
    out.emplace(id, std::move(bytes));
  }
  return out;
}

/// [id, logprob, id, logprob, ...] per token.
OrderedJson top_to_json(const std::vector<std::vector<TranscriptTop>>& top) {
  OrderedJson json = OrderedJson::array();
  for (const auto& token : top) {
    OrderedJson list = OrderedJson::array();
    for (const TranscriptTop& one : token) {
      list.push_back(one.id);
      list.push_back(OrderedJson(json_number(one.logprob)));
    }
    json.push_back(std::move(list));
  }
  return json;
}

std::vector<std::vector<TranscriptTop>> top_from_json(const Json::array_t& json) {
  std::vector<std::vector<TranscriptTop>> out;
  for (const Json& token : json) {
    auto& list = out.emplace_back();
    for (std::size_t i = 0; token.is_array() && i + 1 < token.size(); i += 2)
      if (token[i].is_number_integer())
        list.push_back({token[i].get<std::int32_t>(),
                        token[i + 1].is_number() ? token[i + 1].get<double>()
                                                 : -std::numeric_limits<double>::infinity()});
  }
  return out;
}

/// Text that JSON can hold.
std::string valid(const std::string& text) { return is_utf8(text) ? text : display_text(text); }

OrderedJson side_to_json(const TranscriptSide& side) {
  OrderedJson json{{"title", valid(side.title)},
                   {"path", valid(side.path)},
                   {"text", valid(side.text)},
                   {"ids", side.ids},
                   {"stop_reason", side.stop_reason},
                   {"prompt_tokens", side.prompt_tokens},
                   {"prompt_seconds", json_number(side.prompt_seconds)},
                   {"seconds", json_number(side.seconds)},
                   {"peak_bytes", side.peak_bytes}};
  json["kv_bytes"] = side.kv_bytes;
  if (!side.logprobs.empty())
    json["logprobs"] = numbers_to_json(side.logprobs);
  if (!side.top.empty())
    json["top"] = top_to_json(side.top);
  if (!side.pieces.empty())
    json["pieces"] = pieces_to_json(side.pieces);
  if (!side.kl.empty()) {
    json["kl"] = numbers_to_json(side.kl);
    json["forced_logprobs"] = numbers_to_json(side.forced_logprobs);
  }
  if (!side.kl_problem.empty())
    json["kl_problem"] = valid(side.kl_problem);
  if (!side.rendered.empty())
    json["rendered"] = valid(side.rendered);
  if (!side.problem.empty())
    json["problem"] = valid(side.problem);
  return json;
}

TranscriptSide side_from_json(const Json& json) {
  TranscriptSide side;
  side.title = lenient::text(json, "title");
  side.path = lenient::text(json, "path");
  side.text = lenient::text(json, "text");
  for (const Json& id : lenient::list(json, "ids"))
    if (id.is_number_integer())
      side.ids.push_back(id.get<std::int32_t>());
  side.logprobs = lenient::numbers(json, "logprobs");
  side.stop_reason = lenient::text(json, "stop_reason");
  side.problem = lenient::text(json, "problem");
  side.prompt_tokens = std::max<std::int64_t>(0, lenient::integer(json, "prompt_tokens"));
  side.prompt_seconds = lenient::number(json, "prompt_seconds", 0);
  side.seconds = lenient::number(json, "seconds", 0);
  side.peak_bytes = std::uint64_t(std::max<std::int64_t>(0, lenient::integer(json, "peak_bytes")));
  side.kv_bytes = std::uint64_t(std::max<std::int64_t>(0, lenient::integer(json, "kv_bytes")));
  side.rendered = lenient::text(json, "rendered");
  side.top = top_from_json(lenient::list(json, "top"));
  side.pieces = pieces_from_json(lenient::member(json, "pieces"));
  side.kl = lenient::numbers(json, "kl");
  side.forced_logprobs = lenient::numbers(json, "forced_logprobs");
  side.kl_problem = lenient::text(json, "kl_problem");
  // Per token or not at all: what does not fit was written by someone else.
  if (side.logprobs.size() != side.ids.size())
    side.logprobs.clear();
  if (side.top.size() != side.ids.size())
    side.top.clear();
  if (side.forced_logprobs.size() != side.kl.size())
    side.forced_logprobs.clear();
  return side;
}

} // namespace

bool TranscriptSide::complete() const {
  return stop_reason == "eos" || stop_reason == "length" || stop_reason == "context";
}

Pieces TranscriptSide::token_pieces() const {
  Pieces out;
  out.reserve(ids.size());
  for (const std::int32_t id : ids) {
    const auto it = pieces.find(id);
    out.push_back(it == pieces.end() ? "<" + std::to_string(id) + ">" : it->second);
  }
  return out;
}

bool Transcript::complete() const {
  return !sides.empty() && std::all_of(sides.begin(), sides.end(), [](const TranscriptSide& side) {
    return side.complete() || side.failed();
  });
}

OrderedJson transcripts_to_json(const std::vector<Transcript>& transcripts) {
  OrderedJson json = OrderedJson::array();
  for (const Transcript& transcript : transcripts) {
    const TranscriptSampling& sampling = transcript.sampling;
    OrderedJson entry{{"set", valid(transcript.set)},
                      {"prompt_id", valid(transcript.prompt_id)},
                      {"prompt", valid(transcript.prompt)},
                      {"chat", transcript.chat},
                      {"system", valid(transcript.system)},
                      {"sampling",
                       {{"temperature", json_number(sampling.temperature)},
                        {"top_p", json_number(sampling.top_p)},
                        {"top_k", sampling.top_k},
                        {"max_new", sampling.max_new},
                        {"seed", sampling.seed}}},
                      {"sides", OrderedJson::array()}};
    for (const TranscriptSide& side : transcript.sides)
      entry["sides"].push_back(side_to_json(side));
    json.push_back(std::move(entry));
  }
  return json;
}

std::vector<Transcript> transcripts_from_json(const Json& json) {
  std::vector<Transcript> out;
  if (!json.is_array())
    return out;
  for (const Json& entry : json) {
    if (!lenient::member(entry, "prompt").is_string())
      continue;
    Transcript transcript;
    transcript.set = lenient::text(entry, "set");
    transcript.prompt_id = lenient::text(entry, "prompt_id");
    transcript.prompt = lenient::text(entry, "prompt");
    transcript.chat = lenient::flag(entry, "chat");
    transcript.system = lenient::text(entry, "system");
    const Json& sampling = lenient::member(entry, "sampling");
    transcript.sampling = {
        lenient::number(sampling, "temperature", 0), lenient::number(sampling, "top_p", 1),
        lenient::integer(sampling, "top_k"), lenient::integer(sampling, "max_new", 64),
        std::uint64_t(lenient::integer(sampling, "seed"))};
    for (const Json& side : lenient::list(entry, "sides"))
      if (side.is_object())
        transcript.sides.push_back(side_from_json(side));
    out.push_back(std::move(transcript));
  }
  return out;
}

} // namespace bitlathe
