// SPDX-License-Identifier: Apache-2.0
// Text generation: the prompt in batches, then token by token.
#include "core/engine/engine.h"
#include "core/text/tokenizer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

namespace bitlathe {

namespace {

using Clock = std::chrono::steady_clock;
double seconds_between(Clock::time_point a, Clock::time_point b) {
  return std::chrono::duration<double>(b - a).count();
}

std::vector<TopToken> likeliest(std::span<const double> logprob, int count) {
  std::vector<std::int32_t> order(logprob.size());
  std::iota(order.begin(), order.end(), 0);
  const auto n = std::min(std::size_t(std::max(count, 0)), order.size());
  std::partial_sort(order.begin(), order.begin() + std::ptrdiff_t(n), order.end(),
                    [&](std::int32_t a, std::int32_t b) {
                      const double x = logprob[std::size_t(a)], y = logprob[std::size_t(b)];
                      return x != y ? x > y : a < b;
                    });
  std::vector<TopToken> out;
  for (std::size_t i = 0; i < n; ++i)
    out.push_back({order[i], logprob[std::size_t(order[i])]});
  return out;
}

bool ends_text(const Engine& engine, std::int32_t id) {
  if (id == engine.spec().eos)
    return true;
  const auto& tokenizer = engine.checkpoint().tokenizer;
  return tokenizer && id == tokenizer->eos();
}

Result<void> check_sampling(const SamplingOptions& options) {
  if (!(options.temperature >= 0) || !std::isfinite(options.temperature))
    return Error{"bad-argument", "The temperature must be 0 or larger", {}};
  if (options.top_k < 0)
    return Error{"bad-argument", "top-k must be 0 (off) or larger", {}};
  if (!(options.top_p > 0 && options.top_p <= 1))
    return Error{"bad-argument", "top-p must be above 0 and at most 1", {}};
  return {};
}

} // namespace

Result<GenerateResult> generate(Engine& engine, const GenerateOptions& options,
                                Feedback& feedback) {
  TRY(check_sampling(options.sampling));
  if (options.prompt.empty())
    return Error{"bad-argument", "The prompt has no tokens", {}};
  if (options.max_new < 0)
    return Error{"bad-argument", "The number of new tokens must not be negative", {}};

  GenerateResult out;
  out.prompt = options.prompt;
  const auto prompt_size = std::int64_t(options.prompt.size());
  const std::int64_t trained = engine.spec().context;
  // Generation ends where the model's training does, unless the prompt itself goes beyond.
  std::int64_t limit = prompt_size + options.max_new;
  if (trained > 0 && prompt_size >= trained)
    feedback.log(LogLevel::warning, "The prompt of " + std::to_string(prompt_size) +
                                        " tokens is above the trained length of " +
                                        std::to_string(trained));
  else if (trained > 0)
    limit = std::min(limit, trained);

  TRY_ASSIGN(const auto sequence, engine.new_sequence(std::max<std::int64_t>(limit, 1)));
  feedback.total = std::uint64_t(options.max_new);
  feedback.done = 0;
  const bool want_steps = options.logprobs > 0;
  std::vector<double> logprob(static_cast<std::size_t>(engine.spec().vocab));
  std::vector<float> last(logprob.size());
  const auto note_step = [&](std::int32_t id, bool prompt) {
    GenerateStep step;
    step.id = id;
    step.prompt = prompt;
    step.logprob = logprob[std::size_t(id)];
    step.top = likeliest(logprob, options.logprobs);
    return step;
  };
  const auto bad = [&](std::int64_t position) {
    return Error{"bad-file",
                 "The model produced NaN or infinite logits at position " +
                     std::to_string(position) + "; its weights may be damaged",
                 engine.checkpoint().path.string()};
  };
  const auto finite = [](std::span<const float> logits) {
    float sum = 0; // any NaN or infinity survives a sum of differences with itself
    for (const float x : logits)
      sum += x - x;
    return sum == 0;
  };

  const auto start = Clock::now();
  if (want_steps)
    out.steps.push_back({options.prompt[0], std::nullopt, {}, true});
  const auto on_prompt = [&](std::int64_t index, std::span<const float> logits) -> Result<void> {
    if (!finite(logits))
      return bad(index);
    if (index + 1 == prompt_size) {
      std::copy(logits.begin(), logits.end(), last.begin());
    } else {
      log_softmax(logits, logprob);
      out.steps.push_back(note_step(options.prompt[std::size_t(index) + 1], true));
    }
    return {};
  };
  TRY(engine.forward(*sequence, options.prompt, want_steps ? 0 : prompt_size - 1, on_prompt,
                     &feedback));
  const auto prompt_done = Clock::now();
  out.prompt_seconds = seconds_between(start, prompt_done);

  const auto on_new = [&](std::int64_t, std::span<const float> logits) -> Result<void> {
    if (!finite(logits))
      return bad(sequence->length() - 1);
    std::copy(logits.begin(), logits.end(), last.begin());
    return {};
  };
  Sampler sampler(options.sampling);
  out.stop_reason = "length";
  while (std::int64_t(out.tokens.size()) < options.max_new) {
    if (feedback.stopped())
      return cancelled_error();
    if (prompt_size + std::int64_t(out.tokens.size()) >= limit) {
      out.stop_reason = "context";
      break;
    }
    const std::int32_t id = sampler.pick(last);
    out.tokens.push_back(id);
    if (want_steps || options.on_token) {
      log_softmax(last, logprob);
      GenerateStep step = note_step(id, false);
      if (options.on_token)
        options.on_token(step);
      if (want_steps)
        out.steps.push_back(std::move(step));
    }
    feedback.advance(1);
    const bool stops =
        std::find(options.stop.begin(), options.stop.end(), id) != options.stop.end();
    if (options.stop_at_eos && (stops || ends_text(engine, id))) {
      out.stop_reason = "eos";
      break;
    }
    if (std::int64_t(out.tokens.size()) == options.max_new)
      break;
    TRY(engine.forward(*sequence, std::span(&id, 1), 0, on_new, &feedback));
  }
  out.seconds = seconds_between(prompt_done, Clock::now());
  return out;
}

} // namespace bitlathe
