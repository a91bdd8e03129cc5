// SPDX-License-Identifier: Apache-2.0
#include "core/judge/runs.h"

#include "core/chat/chat.h"
#include "core/engine/generator.h"
#include "core/judge/divergence_along.h"
#include "core/judge/token_text.h"
#include "core/text/tokenizer.h"

#include <algorithm>

namespace bitlathe {

namespace {

/// One model at work on one prompt.
class SideRun {
 public:
  SideRun(const RunModel& model, std::size_t index, const RunOptions& options, Feedback& feedback,
          const RunSink& sink)
      : model_(model), index_(index), options_(options), feedback_(feedback), sink_(sink) {
    side.title = model.title;
    if (model.checkpoint)
      side.path = model.checkpoint->path.string();
    side.problem = why_not_writing(model.checkpoint.get());
  }

  TranscriptSide side;

  bool going() const { return generator_ && !over_; }
  Engine* engine() const { return engine_; }
  const std::vector<std::int32_t>& prompt() const { return generate_.prompt; }

  /// Renders, loads and reads the prompt.
  void prepare(const Prompt& prompt) {
    if (side.failed())
      return end();
    if (const auto ready = start(prompt.text); !ready)
      return fail(ready.error());
    if (feedback_.stopped())
      return stop();
    if (sink_.preparing)
      sink_.preparing(index_, "reading the prompt");
    if (const auto read = generator_->read_prompt(feedback_); !read)
      return fail(read.error());
    if (generator_->ended())
      end();
  }

  void step() {
    if (feedback_.stopped())
      return stop();
    const auto done = generator_->step(feedback_);
    count(std::int64_t(side.ids.size()));
    if (!done)
      fail(done.error());
    else if (generator_->ended())
      end();
  }

  void stop() {
    side.stop_reason = "stopped";
    end();
  }

 private:
  Result<void> start(const std::string& text) {
    const Checkpoint& checkpoint = *model_.checkpoint;
    if (options_.chat) { // first, because it may refuse
      TRY_ASSIGN(ChatPrompt made, chat_prompt(checkpoint, chat_messages(text, options_.system)));
      generate_.prompt = std::move(made.ids);
      generate_.stop = std::move(made.stop);
      side.rendered = std::move(made.text);
    } else {
      generate_.prompt = checkpoint.tokenizer->encode(text);
    }
    if (generate_.prompt.empty() && checkpoint.tokenizer->bos() >= 0)
      generate_.prompt.push_back(checkpoint.tokenizer->bos());
    if (generate_.prompt.empty())
      return Error{"bad-argument", "The prompt is empty: write at least one word", {}};
    side.prompt_tokens = std::int64_t(generate_.prompt.size());
    if (sink_.preparing)
      sink_.preparing(index_, "loading weights");
    TRY_ASSIGN(engine_, model_.engine());
    const TranscriptSampling& sampling = options_.sampling;
    generate_.max_new = sampling.max_new;
    generate_.sampling = {float(sampling.temperature), int(sampling.top_k), float(sampling.top_p),
                          sampling.seed};
    generate_.on_token = [this](const GenerateStep& step) { take(step); };
    TRY_ASSIGN(auto generator, Generator::create(*engine_, generate_, options_.alternatives));
    generator_.emplace(std::move(generator));
    if (sink_.begun)
      sink_.begun(index_, side);
    return {};
  }

  void take(const GenerateStep& step) {
    const Tokenizer& tokenizer = *model_.checkpoint->tokenizer;
    const auto note = [&](std::int32_t id) {
      if (side.pieces.find(id) == side.pieces.end())
        side.pieces.emplace(id, tokenizer.piece(id));
    };
    side.ids.push_back(step.id);
    side.logprobs.push_back(step.logprob.value_or(0));
    note(step.id);
    if (options_.alternatives > 0) {
      auto& top = side.top.emplace_back();
      for (const TopToken& one : step.top) {
        top.push_back({one.id, one.logprob});
        note(one.id);
      }
    }
    if (sink_.token)
      sink_.token(index_, step, generator_->result().seconds);
  }

  void fail(const Error& error) {
    if (error.cancelled())
      return stop();
    side.problem = error.text();
    end();
  }

  void end() {
    if (over_)
      return;
    over_ = true;
    if (generator_) {
      const GenerateResult& result = generator_->result();
      if (side.stop_reason.empty())
        side.stop_reason = side.failed() ? std::string() : result.stop_reason;
      side.prompt_seconds = result.prompt_seconds;
      side.seconds = result.seconds;
      side.kv_bytes = generator_->kv_bytes();
      side.peak_bytes = engine_->checkpoint().bytes() + engine_->weight_bytes() + side.kv_bytes;
      for (const std::string& text : texts_of(shown_pieces()))
        side.text += text;
    }
    count(options_.sampling.max_new);
    if (sink_.ended)
      sink_.ended(index_, side);
  }

  /// Without what only controls: the end of the text is not part of it.
  Pieces shown_pieces() const {
    Pieces out;
    for (const std::int32_t id : side.ids)
      if (model_.checkpoint->tokenizer->token_kind(id) != TokenKind::control)
        out.push_back(side.pieces.at(id));
    return out;
  }

  void count(std::int64_t tokens) {
    if (tokens > counted_)
      feedback_.advance(std::uint64_t(tokens - counted_));
    counted_ = std::max(counted_, tokens);
  }

  const RunModel& model_;
  const std::size_t index_;
  const RunOptions& options_;
  Feedback& feedback_;
  const RunSink& sink_;
  GenerateOptions generate_;
  Engine* engine_ = nullptr;
  std::optional<Generator> generator_;
  bool over_ = false;
  std::int64_t counted_ = 0;
};

void measure(std::vector<std::unique_ptr<SideRun>>& sides, Feedback& feedback,
             const RunSink& sink) {
  SideRun& reference = *sides[0];
  if (!reference.side.complete() || reference.side.ids.empty() || feedback.stopped())
    return;
  std::vector<Engine*> engines;
  std::vector<std::size_t> which;
  for (std::size_t i = 1; i < sides.size(); ++i)
    if (sides[i]->engine()) { // one that failed on the way may still be able to read
      engines.push_back(sides[i]->engine());
      which.push_back(i);
    }
  feedback.set_step("measuring the divergence");
  const auto along = divergence_along(*reference.engine(), engines, reference.prompt(),
                                      reference.side.ids, feedback);
  if (!along && along.error().cancelled())
    return;
  for (std::size_t k = 0; k < which.size(); ++k) {
    TranscriptSide& side = sides[which[k]]->side;
    if (along) {
      side.kl = (*along)[k].kl;
      side.forced_logprobs = (*along)[k].logprobs;
      side.kl_problem = (*along)[k].problem;
    } else {
      side.kl_problem = along.error().text();
    }
    if (sink.measured)
      sink.measured(which[k], side);
  }
}

Transcript run_one(std::span<const RunModel> models, const Prompt& prompt,
                   const RunOptions& options, Feedback& feedback, const RunSink& sink) {
  Transcript out;
  out.set = options.set;
  out.prompt_id = prompt.id;
  out.prompt = prompt.text;
  out.chat = options.chat;
  out.system = options.chat ? options.system : std::string();
  out.sampling = options.sampling;
  std::vector<std::unique_ptr<SideRun>> sides;
  for (std::size_t i = 0; i < models.size(); ++i)
    sides.push_back(std::make_unique<SideRun>(models[i], i, options, feedback, sink));
  for (const auto& side : sides)
    side->prepare(prompt);
  feedback.set_step("generating");
  for (bool going = true; going;) {
    going = false;
    for (const auto& side : sides) {
      for (int i = 0; i < options.turn && side->going(); ++i)
        side->step();
      going = going || side->going();
    }
  }
  if (options.divergence && sides.size() > 1)
    measure(sides, feedback, sink);
  for (auto& side : sides)
    out.sides.push_back(std::move(side->side));
  return out;
}

} // namespace

int tokens_in_turn(std::span<const RunModel> models, std::uint64_t budget) {
  std::uint64_t bytes = 0;
  for (const RunModel& model : models)
    if (model.checkpoint)
      bytes += model.checkpoint->bytes();
  constexpr int patient = 16; // still seen growing side by side
  return budget == 0 || bytes <= budget ? 1 : patient;
}

std::string why_not_writing(const Checkpoint* checkpoint) {
  if (!checkpoint)
    return "This checkpoint is not open.";
  if (!checkpoint->spec)
    return "Cannot run: " + checkpoint->why_not_runnable;
  if (!checkpoint->tokenizer)
    return "No tokenizer: " + checkpoint->tokenizer_problem;
  return {};
}

Transcript run_prompt(std::span<const RunModel> models, const Prompt& prompt,
                      const RunOptions& options, Feedback& feedback, const RunSink& sink) {
  feedback.total = std::uint64_t(models.size()) * std::uint64_t(options.sampling.max_new);
  feedback.done = 0;
  return run_one(models, prompt, options, feedback, sink);
}

Result<void> run_prompts(std::span<const RunModel> models, std::span<const Prompt> prompts,
                         const RunOptions& options, Feedback& feedback, const RunSink& sink) {
  const std::uint64_t each = std::uint64_t(models.size()) * std::uint64_t(options.sampling.max_new);
  feedback.total = each * prompts.size();
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    if (feedback.stopped())
      return cancelled_error();
    feedback.done = each * i;
    if (sink.prompt_begun)
      sink.prompt_begun(i);
    const Transcript transcript = run_one(models, prompts[i], options, feedback, sink);
    if (sink.prompt_done)
      sink.prompt_done(i, transcript);
  }
  if (feedback.stopped())
    return cancelled_error();
  return {};
}

bool is_run_already(const Transcript& transcript, const Prompt& prompt,
                    std::span<const RunModel> models, const RunOptions& options) {
  if (transcript.prompt != prompt.text || transcript.chat != options.chat ||
      transcript.system != (options.chat ? options.system : std::string()) ||
      !(transcript.sampling == options.sampling) || transcript.sides.size() != models.size() ||
      !transcript.complete())
    return false;
  for (std::size_t i = 0; i < models.size(); ++i) {
    const std::string path =
        models[i].checkpoint ? models[i].checkpoint->path.string() : std::string();
    if (transcript.sides[i].path != path)
      return false;
  }
  return true;
}

} // namespace bitlathe
