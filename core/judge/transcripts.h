// SPDX-License-Identifier: Apache-2.0
// What models said to a prompt, side by side, as a session keeps it.
#pragma once

#include "core/base/json.h"
#include "core/judge/divergence.h"

#include <map>
#include <string>
#include <vector>

namespace bitlathe {

struct TranscriptSampling {
  double temperature = 0, top_p = 1; ///< temperature 0: greedy
  std::int64_t top_k = 0, max_new = 64;
  std::uint64_t seed = 0;
  bool operator==(const TranscriptSampling&) const = default;
};

/// One of the likeliest tokens at a place.
struct TranscriptTop {
  std::int32_t id = 0;
  double logprob = 0;
  bool operator==(const TranscriptTop&) const = default;
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
  std::uint64_t kv_bytes = 0;   ///< of them, keys and values at the end
  std::string rendered;         ///< in a conversation: the prompt as the model's template makes it
  std::map<std::int32_t, std::string> pieces;  ///< bytes that tokens add; of all named here
  std::vector<std::vector<TranscriptTop>> top; ///< per token, likeliest first; or empty
  /// Fed with the reference's text instead of its own, per token of the reference: KL(reference ||
  /// this one) and the log-probability of the reference's token. Empty for the reference itself.
  std::vector<double> kl, forced_logprobs;
  std::string kl_problem; ///< why they are missing

  bool complete() const; ///< ended by itself or at a limit
  bool failed() const { return !problem.empty(); }
  Pieces token_pieces() const; ///< of ids
};

struct Transcript {
  std::string prompt_id, prompt; ///< id: of its set; empty for a typed one
  bool chat = false;             ///< as a message in the model's chat template
  std::string system;            ///< of the conversation
  TranscriptSampling sampling;
  std::vector<TranscriptSide> sides; ///< reference first
  std::string set;                   ///< of the prompt; empty for a typed one

  bool complete() const; ///< every side is, or cannot be
};

OrderedJson transcripts_to_json(const std::vector<Transcript>& transcripts);
/// Entries that cannot be read are left out.
std::vector<Transcript> transcripts_from_json(const Json& json);

} // namespace bitlathe
