// SPDX-License-Identifier: Apache-2.0
// A text being written one token at a time, so that several can be written in step. generate() is
// the loop over one of them.
#pragma once

#include "core/engine/engine.h"

namespace bitlathe {

class Generator {
 public:
  /// Errors: what generate() says of its options. Keeps `engine`, which must outlive it. on_token
  /// gets the `alternatives` likeliest tokens where options.logprobs asks for none: that leaves out
  /// the logits of the prompt, which are most of the work of a long one.
  static Result<Generator> create(Engine& engine, GenerateOptions options, int alternatives = 0);

  /// Runs the prompt; once, before the first step.
  Result<void> read_prompt(Feedback& feedback);
  /// Writes one more token; nothing once it has ended.
  Result<void> step(Feedback& feedback);
  bool ended() const { return !result_.stop_reason.empty(); }

  /// So far: stop_reason is empty while the text goes on, times are those of this text's own work.
  const GenerateResult& result() const { return result_; }
  GenerateResult take() { return std::move(result_); }
  std::uint64_t kv_bytes() const { return sequence_->bytes(); }

 private:
  Generator(Engine& engine, GenerateOptions options);
  Result<void> check_finite(std::span<const float> logits, std::int64_t position) const;
  Result<void> write_token(Feedback& feedback);
  GenerateStep note_step(std::int32_t id, bool prompt) const; ///< from logprob_
  bool ends_text(std::int32_t id) const;

  Engine* engine_;
  GenerateOptions options_;
  GenerateResult result_;
  std::unique_ptr<Sequence> sequence_;
  Sampler sampler_;
  int alternatives_ = 0;
  std::int64_t limit_ = 0;      ///< length at which the context is full
  std::vector<float> last_;     ///< logits of the next token
  std::vector<double> logprob_; ///< scratch
};

} // namespace bitlathe
