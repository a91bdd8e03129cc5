// SPDX-License-Identifier: Apache-2.0
// Prompts run on several models side by side: token by token in step, so that all texts grow
// together, each with its own sampler of the same seed. What one model cannot do does not stop the
// others. Without a window: the Compare stage and `generate --prompts` share it.
#pragma once

#include "core/engine/engine.h"
#include "core/judge/prompts.h"
#include "core/judge/transcripts.h"

namespace bitlathe {

struct RunModel {
  std::string title;
  std::shared_ptr<const Checkpoint> checkpoint; ///< null: it could not be opened
  /// The engine, made when it is first asked for; it has to live as long as the run. Called on the
  /// run's thread.
  std::function<Result<Engine*>()> engine;
};

struct RunOptions {
  TranscriptSampling sampling;
  bool chat = false;      ///< the prompt is a message in each model's own chat template
  std::string system;     ///< of the conversation
  std::string set;        ///< name of the set the prompts are from; empty: typed
  int turn = 1;           ///< tokens a model writes before it is the next one's turn
  int alternatives = 5;   ///< likeliest tokens kept per token
  bool divergence = true; ///< KL of every token along the first model's text
};

/// One where the weights of all models are kept in `budget` bytes (0: no limit). Else they are read
/// from the disk for every turn, and it is more.
int tokens_in_turn(std::span<const RunModel> models, std::uint64_t budget);

/// What happens while it happens; called on the run's thread, any of them may be empty.
struct RunSink {
  std::function<void(std::size_t prompt)> prompt_begun;
  std::function<void(std::size_t model, const std::string& step)> preparing; ///< "loading weights"
  /// The prompt is rendered and tokenized.
  std::function<void(std::size_t model, const TranscriptSide& side)> begun;
  /// `seconds`: of this model's own work on the text so far.
  std::function<void(std::size_t model, const GenerateStep& step, double seconds)> token;
  /// The text has ended, was stopped, or cannot be made: see stop_reason and problem.
  std::function<void(std::size_t model, const TranscriptSide& side)> ended;
  std::function<void(std::size_t model, const TranscriptSide& side)> measured; ///< has its KL
  std::function<void(std::size_t prompt, const Transcript& transcript)> prompt_done;
};

/// Why a model cannot write; empty when it can. Reads nothing.
std::string why_not_writing(const Checkpoint* checkpoint);

/// One prompt on all models, the first being the reference. Never fails as a whole: a stop leaves
/// what was written, with stop_reason "stopped". feedback counts tokens, at most max_new a model.
Transcript run_prompt(std::span<const RunModel> models, const Prompt& prompt,
                      const RunOptions& options, Feedback& feedback, const RunSink& sink = {});

/// Prompt after prompt; feedback counts tokens of all of them. The error can only be "cancelled":
/// what was done until then has been handed to the sink, the interrupted prompt with its sides
/// "stopped".
Result<void> run_prompts(std::span<const RunModel> models, std::span<const Prompt> prompts,
                         const RunOptions& options, Feedback& feedback, const RunSink& sink);

/// Whether a kept transcript is complete and what this run would write again: the same prompt,
/// sampling and models.
bool is_run_already(const Transcript& transcript, const Prompt& prompt,
                    std::span<const RunModel> models, const RunOptions& options);

} // namespace bitlathe
