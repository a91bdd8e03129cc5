// SPDX-License-Identifier: Apache-2.0
#include "core/engine/generator.h"

#include "core/text/tokenizer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

namespace bitlathe {

namespace {

using Clock = std::chrono::steady_clock;

/// Adds the time until it goes.
class Timed {
 public:
  explicit Timed(double& seconds) : seconds_(seconds) {}
  ~Timed() { seconds_ += std::chrono::duration<double>(Clock::now() - start_).count(); }
  Timed(const Timed&) = delete;
  Timed& operator=(const Timed&) = delete;

 private:
  double& seconds_;
  const Clock::time_point start_ = Clock::now();
};

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

Generator::Generator(Engine& engine, GenerateOptions options)
    : engine_(&engine), options_(std::move(options)), sampler_(options_.sampling) {}

Result<Generator> Generator::create(Engine& engine, GenerateOptions options, int alternatives) {
  TRY(check_sampling(options.sampling));
  if (options.prompt.empty())
    return Error{"bad-argument", "The prompt has no tokens", {}};
  if (options.max_new < 0)
    return Error{"bad-argument", "The number of new tokens must not be negative", {}};
  Generator out(engine, std::move(options));
  out.alternatives_ = out.options_.logprobs > 0 ? out.options_.logprobs : alternatives;
  const auto prompt_size = std::int64_t(out.options_.prompt.size());
  const std::int64_t trained = engine.spec().context;
  // Generation ends where the model's training does, unless the prompt itself goes beyond.
  out.limit_ = prompt_size + out.options_.max_new;
  if (trained > 0 && prompt_size < trained)
    out.limit_ = std::min(out.limit_, trained);
  TRY_ASSIGN(out.sequence_, engine.new_sequence(std::max<std::int64_t>(out.limit_, 1)));
  out.result_.prompt = out.options_.prompt;
  return out;
}

Result<void> Generator::check_finite(std::span<const float> logits, std::int64_t position) const {
  float sum = 0; // any NaN or infinity survives a sum of differences with itself
  for (const float x : logits)
    sum += x - x;
  if (sum == 0)
    return {};
  return Error{"bad-file",
               "The model produced NaN or infinite logits at position " + std::to_string(position) +
                   "; its weights may be damaged",
               engine_->checkpoint().path.string()};
}

GenerateStep Generator::note_step(std::int32_t id, bool prompt) const {
  GenerateStep step;
  step.id = id;
  step.prompt = prompt;
  step.logprob = logprob_[std::size_t(id)];
  step.top = likeliest(logprob_, alternatives_);
  return step;
}

bool Generator::ends_text(std::int32_t id) const {
  if (!options_.stop_at_eos)
    return false;
  if (std::find(options_.stop.begin(), options_.stop.end(), id) != options_.stop.end() ||
      id == engine_->spec().eos)
    return true;
  const auto& tokenizer = engine_->checkpoint().tokenizer;
  return tokenizer && id == tokenizer->eos();
}

Result<void> Generator::read_prompt(Feedback& feedback) {
  const Timed timed(result_.prompt_seconds);
  const auto prompt_size = std::int64_t(options_.prompt.size());
  const std::int64_t trained = engine_->spec().context;
  if (trained > 0 && prompt_size >= trained)
    feedback.log(LogLevel::warning, "The prompt of " + std::to_string(prompt_size) +
                                        " tokens is above the trained length of " +
                                        std::to_string(trained));
  const bool want_steps = options_.logprobs > 0;
  logprob_.resize(std::size_t(engine_->spec().vocab));
  last_.resize(logprob_.size());
  if (want_steps)
    result_.steps.push_back({options_.prompt[0], std::nullopt, {}, true});
  const auto sink = [&](std::int64_t index, std::span<const float> logits) -> Result<void> {
    TRY(check_finite(logits, index));
    if (index + 1 == prompt_size) {
      std::copy(logits.begin(), logits.end(), last_.begin());
    } else {
      log_softmax(logits, logprob_);
      result_.steps.push_back(note_step(options_.prompt[std::size_t(index) + 1], true));
    }
    return {};
  };
  TRY(engine_->forward(*sequence_, options_.prompt, want_steps ? 0 : prompt_size - 1, sink,
                       &feedback));
  if (options_.max_new == 0)
    result_.stop_reason = "length";
  return {};
}

Result<void> Generator::step(Feedback& feedback) {
  if (ended())
    return {};
  const Timed timed(result_.seconds);
  return write_token(feedback);
}

Result<void> Generator::write_token(Feedback& feedback) {
  if (std::int64_t(options_.prompt.size() + result_.tokens.size()) >= limit_) {
    result_.stop_reason = "context";
    return {};
  }
  const std::int32_t id = sampler_.pick(last_);
  result_.tokens.push_back(id);
  if (options_.logprobs > 0 || options_.on_token) {
    log_softmax(last_, logprob_);
    GenerateStep step = note_step(id, false);
    if (options_.on_token)
      options_.on_token(step);
    if (options_.logprobs > 0)
      result_.steps.push_back(std::move(step));
  }
  if (ends_text(id)) {
    result_.stop_reason = "eos";
    return {};
  }
  if (std::int64_t(result_.tokens.size()) == options_.max_new) {
    result_.stop_reason = "length";
    return {};
  }
  const auto sink = [&](std::int64_t, std::span<const float> logits) -> Result<void> {
    TRY(check_finite(logits, sequence_->length() - 1));
    std::copy(logits.begin(), logits.end(), last_.begin());
    return {};
  };
  return engine_->forward(*sequence_, std::span(&id, 1), 0, sink, &feedback);
}

} // namespace bitlathe
