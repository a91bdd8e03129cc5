// SPDX-License-Identifier: Apache-2.0
// What models said to a prompt, side by side, as a session keeps it.
#pragma once

#include "core/base/json.h"

#include <string>
#include <vector>

namespace bitlathe {

struct TranscriptSampling {
  double temperature = 0, top_p = 1; ///< temperature 0: greedy
  std::int64_t top_k = 0, max_new = 64;
  std::uint64_t seed = 0;
  bool operator==(const TranscriptSampling&) const = default;
};

/// One model's continuation.
struct TranscriptSide {
  std::string title;             ///< "original", "int4-g128-asym rtn"
  std::string path;              ///< of the checkpoint
  std::string text;              ///< without the prompt
  std::vector<std::int32_t> ids; ///< new tokens
  std::vector<double> logprobs;  ///< of them; empty when they were not asked for
  std::string stop_reason;       ///< "eos", "length", "context", "stopped"
  std::string problem;           ///< why there is no text; empty: none
  std::int64_t prompt_tokens = 0;
  double prompt_seconds = 0, seconds = 0;
  std::uint64_t peak_bytes = 0; ///< loaded weights and KV cache; 0: not known
};

struct Transcript {
  std::string prompt_id, prompt; ///< id: of its set; empty for a typed one
  bool chat = false;             ///< as a message in the model's chat template
  std::string system;            ///< of the conversation
  TranscriptSampling sampling;
  std::vector<TranscriptSide> sides; ///< reference first
};

OrderedJson transcripts_to_json(const std::vector<Transcript>& transcripts);
/// Entries that cannot be read are left out.
std::vector<Transcript> transcripts_from_json(const Json& json);

} // namespace bitlathe
