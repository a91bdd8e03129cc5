// SPDX-License-Identifier: Apache-2.0
#include "core/judge/transcripts.h"

#include "core/base/lenient_json.h"

#include <algorithm>

namespace bitlathe {

namespace {

OrderedJson side_to_json(const TranscriptSide& side) {
  OrderedJson json{{"title", side.title},
                   {"path", side.path},
                   {"text", side.text},
                   {"ids", side.ids},
                   {"stop_reason", side.stop_reason},
                   {"prompt_tokens", side.prompt_tokens},
                   {"prompt_seconds", json_number(side.prompt_seconds)},
                   {"seconds", json_number(side.seconds)},
                   {"peak_bytes", side.peak_bytes}};
  if (!side.logprobs.empty()) {
    json["logprobs"] = OrderedJson::array();
    for (const double logprob : side.logprobs)
      json["logprobs"].emplace_back(json_number(logprob));
  }
  if (!side.problem.empty())
    json["problem"] = side.problem;
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
  return side;
}

} // namespace

OrderedJson transcripts_to_json(const std::vector<Transcript>& transcripts) {
  OrderedJson json = OrderedJson::array();
  for (const Transcript& transcript : transcripts) {
    const TranscriptSampling& sampling = transcript.sampling;
    OrderedJson entry{{"prompt_id", transcript.prompt_id},
                      {"prompt", transcript.prompt},
                      {"chat", transcript.chat},
                      {"system", transcript.system},
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
