// SPDX-License-Identifier: Apache-2.0
#include "core/eval/speed.h"

#include "core/engine/kv_memory.h"
#include "core/eval/processor_use.h"
#include "core/eval/windows.h"
#include "core/job/memory.h"
#include "kernels/base/parallel.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <ctime>
#include <limits>
#include <thread>

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace bitlathe {

namespace {

constexpr double busy_share = 0.1; ///< of other programs: worth saying

/// The largest memory of the process while this lives.
class MemoryPeak {
 public:
  MemoryPeak()
      : watch_([this](const std::stop_token& stop) {
          while (!stop.stop_requested()) {
            sample();
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
          }
        }) {}
  std::uint64_t bytes() {
    sample();
    return peak_.load();
  }

 private:
  void sample() {
    const std::uint64_t now = memory_use().rss_bytes;
    for (auto seen = peak_.load(); seen < now && !peak_.compare_exchange_weak(seen, now);) {
    }
  }
  std::atomic<std::uint64_t> peak_{0};
  std::jthread watch_; ///< last: it uses the rest
};

/// Memory of the process with what was freed given back, so that differences mean something.
std::uint64_t settled_memory() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
  return memory_use().rss_bytes;
}

std::uint64_t above(std::uint64_t now, std::uint64_t before) {
  return now > before ? now - before : 0;
}

std::string time_now() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  char text[40];
  const auto length = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S%z", &local);
  std::string out(text, length);
  if (out.size() > 5) // "+0100" is written "+01:00"
    out.insert(out.size() - 2, ":");
  return out;
}

std::string percent_text(double share) {
  return std::to_string(int(std::lround(100 * share))) + " %";
}

/// Runs one model at lengths and numbers of sequences, smallest first.
class ModelSpeed {
 public:
  ModelSpeed(Engine& engine, const SpeedOptions& options, Feedback& feedback)
      : engine_(engine), options_(options), feedback_(feedback), vocab_(engine.spec().vocab) {}

  Result<void> run(SpeedPoint& point) {
    if (const std::string why = unfit(point); !why.empty()) {
      point.problem = why;
      feedback_.advance(work(point));
      return {};
    }
    // Everything is touched once before anything is timed.
    const std::int64_t warm_up = 1;
    std::int64_t repeat = options_.repeat;
    for (std::int64_t i = 0; i < warm_up + repeat; ++i) {
      auto timed = once(point);
      if (!timed) {
        if (timed.error().cancelled())
          return timed.error();
        point.problem = timed.error().message;
        return {};
      }
      if (i < warm_up) {
        const double limit = options_.seconds_per_point;
        const double took = timed->prompt + timed->generation;
        if (limit > 0 && took * double(repeat) > limit) {
          repeat = std::max<std::int64_t>(1, std::int64_t(limit / took));
          feedback_.advance(work(point) / std::uint64_t(options_.repeat + 1) *
                            std::uint64_t(options_.repeat - repeat));
        }
        continue;
      }
      point.prompt_rate.runs.push_back(double(point.batch * point.context) / timed->prompt);
      point.first_seconds.runs.push_back(timed->prompt);
      if (timed->steps > 0)
        point.rate.runs.push_back(double(timed->steps * point.batch) / timed->generation);
    }
    learn(point);
    return {};
  }

  /// Tokens of all runs of a point.
  static std::uint64_t work(const SpeedPoint& point, const SpeedOptions& options) {
    return std::uint64_t(point.batch * (point.context + point.new_tokens) * (options.repeat + 1));
  }

 private:
  std::uint64_t work(const SpeedPoint& point) const { return work(point, options_); }

  struct Timed {
    double prompt = 0, generation = 0;
    std::int64_t steps = 0;
  };

  Result<Timed> once(SpeedPoint& point) {
    std::vector<std::unique_ptr<Sequence>> owned;
    std::vector<Sequence*> sequences;
    std::vector<std::int32_t> next;
    for (std::int64_t b = 0; b < point.batch; ++b) {
      TRY_ASSIGN(auto sequence, engine_.new_sequence(point.context + point.new_tokens));
      sequences.push_back(sequence.get());
      owned.push_back(std::move(sequence));
      next.push_back(0);
    }
    const auto likeliest = [&](std::int64_t b, std::span<const float> logits) -> Result<void> {
      next[std::size_t(b)] =
          std::int32_t(std::max_element(logits.begin(), logits.end()) - logits.begin());
      return {};
    };
    Timed out;
    double start = seconds_now();
    std::vector<std::int32_t> prompt(static_cast<std::size_t>(point.context));
    for (std::int64_t b = 0; b < point.batch; ++b) {
      for (std::int64_t i = 0; i < point.context; ++i)
        prompt[std::size_t(i)] = std::int32_t((i * 37 + b * 101 + 11) % vocab_);
      const auto last = [&](std::int64_t, std::span<const float> logits) {
        return likeliest(b, logits);
      };
      TRY(engine_.forward(*sequences[std::size_t(b)], prompt, point.context - 1, last, &feedback_));
      feedback_.advance(std::uint64_t(point.context + (point.new_tokens > 0)));
    }
    out.prompt = seconds_now() - start;
    start = seconds_now();
    for (; out.steps + 1 < point.new_tokens; ++out.steps) { // the prompt gave the first token
      if (feedback_.stopped())
        return cancelled_error();
      const std::vector<std::int32_t> now = next;
      TRY(engine_.step(sequences, now, likeliest, &feedback_));
      feedback_.advance(std::uint64_t(point.batch));
    }
    out.generation = seconds_now() - start;
    point.kv_bytes = 0;
    for (const Sequence* sequence : sequences)
      point.kv_bytes += sequence->bytes();
    return out;
  }

  /// Why a point is not measured; empty: it is.
  std::string unfit(const SpeedPoint& point) const {
    const std::int64_t trained = engine_.spec().context;
    if (trained > 0 && point.context + point.new_tokens > trained)
      return "Longer than the " + std::to_string(trained) + " tokens the model was trained for";
    if (options_.seconds_per_point > 0 && prompt_rate_ > 0) {
      const double once = double(point.batch * point.context) / prompt_rate_ +
                          (rate_ > 0 ? double(point.batch * point.new_tokens) / rate_ : 0.0);
      const double all = once * double(options_.repeat + 1);
      if (all > options_.seconds_per_point)
        return "Would take about " + std::to_string(std::int64_t(std::ceil(all))) +
               " s, more than the limit of " +
               std::to_string(std::int64_t(options_.seconds_per_point)) + " s";
    }
    return {};
  }

  void learn(const SpeedPoint& point) {
    prompt_rate_ = point.prompt_rate.median();
    // Steps of more sequences are faster per token; what is slowest bounds the estimate.
    if (const double now = point.rate.median(); std::isfinite(now))
      rate_ = rate_ > 0 ? std::min(rate_, now) : now;
  }

  Engine& engine_;
  const SpeedOptions& options_;
  Feedback& feedback_;
  const std::int64_t vocab_;
  double prompt_rate_ = 0, rate_ = 0; ///< known so far, per second
};

Result<void> check(const SpeedOptions& options) {
  const auto bad = [](const std::string& what) { return Error{"bad-argument", what, {}}; };
  if (options.contexts.empty() || options.batches.empty())
    return bad("There must be at least one context length and one number of sequences");
  for (const std::int64_t context : options.contexts)
    if (context < 1 || context > (1 << 24))
      return bad("A context length must be from 1 to 16777216 tokens, not " +
                 std::to_string(context));
  for (const std::int64_t batch : options.batches)
    if (batch < 1 || batch > 4096)
      return bad("The number of sequences must be from 1 to 4096, not " + std::to_string(batch));
  if (options.repeat < 1 || options.repeat > 1000)
    return bad("Runs are repeated from 1 to 1000 times");
  if (options.new_tokens < 0 || options.new_tokens > (1 << 20))
    return bad("From 0 to 1048576 tokens can be generated");
  return {};
}

std::vector<std::int64_t> ascending(std::vector<std::int64_t> values) {
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  return values;
}

} // namespace

double Spread::median() const {
  if (runs.empty())
    return std::numeric_limits<double>::quiet_NaN();
  std::vector<double> sorted = runs;
  std::sort(sorted.begin(), sorted.end());
  const std::size_t half = sorted.size() / 2;
  return sorted.size() % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}
double Spread::low() const {
  return runs.empty() ? median() : *std::min_element(runs.begin(), runs.end());
}
double Spread::high() const {
  return runs.empty() ? median() : *std::max_element(runs.begin(), runs.end());
}

std::uint64_t weight_file_bytes(const Checkpoint& checkpoint) {
  std::error_code failed;
  if (fs::is_regular_file(checkpoint.path, failed))
    return std::uint64_t(fs::file_size(checkpoint.path, failed));
  std::uint64_t sum = 0;
  for (fs::recursive_directory_iterator it(checkpoint.path, failed), end; !failed && it != end;
       it.increment(failed)) {
    const std::string extension = it->path().extension().string();
    std::error_code unreadable;
    if ((extension == ".safetensors" || extension == ".bltensor" || extension == ".gguf") &&
        it->is_regular_file(unreadable))
      sum += std::uint64_t(it->file_size(unreadable));
  }
  return sum;
}

Result<SpeedReport> measure_speed(std::span<const SpeedModel> models, Compute& compute,
                                  const SpeedOptions& options, Feedback& feedback,
                                  const std::function<void(const SpeedReport&)>& on_point) {
  TRY(check(options));
  SpeedReport report;
  report.backend = compute.device().backend + " (" + compute.device().name + ")";
  report.threads = thread_count();
  report.measured = time_now();
  const ProcessorUse use;
  std::vector<SpeedPoint> wanted;
  for (const std::int64_t context : ascending(options.contexts))
    for (const std::int64_t batch : ascending(options.batches)) {
      SpeedPoint point;
      point.context = context;
      point.batch = batch;
      point.new_tokens = options.new_tokens;
      wanted.push_back(point);
    }
  feedback.done = 0;
  std::uint64_t total = 0;
  for (const SpeedPoint& point : wanted)
    total += ModelSpeed::work(point, options);
  feedback.total = total * models.size();

  for (const SpeedModel& model : models) {
    const Checkpoint& checkpoint = *model.checkpoint;
    feedback.set_step(model.title);
    SpeedResult result;
    result.title = model.title;
    result.path = checkpoint.path.string();
    result.bytes = checkpoint.bytes();
    result.disk_bytes = weight_file_bytes(checkpoint);
    const KvScheme kv = kv_scheme_of(checkpoint, options.engine);
    result.kv_keys = kv.keys;
    result.kv_values = kv.values;
    if (checkpoint.spec)
      if (const auto bytes = kv_bytes_per_token(*checkpoint.spec, kv))
        result.kv_bytes_per_token = *bytes;
    const std::uint64_t before = settled_memory();
    MemoryPeak peak;
    const double start = seconds_now();
    auto engine = Engine::create(model.checkpoint, compute, options.engine);
    if (!engine) {
      if (engine.error().cancelled())
        return engine.error();
      result.notes.push_back("Not measured: " + engine.error().text());
      feedback.advance(total);
      report.models.push_back(std::move(result));
      continue;
    }
    result.load_seconds = seconds_now() - start;
    result.loaded_bytes = (*engine)->weight_bytes();
    report.models.push_back(std::move(result));
    const std::size_t here = report.models.size() - 1;
    ModelSpeed speed(**engine, options, feedback);
    for (SpeedPoint point : wanted) {
      feedback.set_step(model.title + ": " + std::to_string(point.context) + " tokens x " +
                        std::to_string(point.batch));
      TRY(speed.run(point));
      SpeedResult& running = report.models[here];
      running.points.push_back(std::move(point));
      running.steady_bytes = above(settled_memory(), before);
      running.peak_bytes = std::max(running.steady_bytes, above(peak.bytes(), before));
      if (on_point)
        on_point(report);
    }
    for (std::string& note : (*engine)->notes())
      report.models[here].notes.push_back(std::move(note));
  }
  if (const auto others = use.others()) {
    report.others = *others;
    if (*others > busy_share)
      for (SpeedResult& result : report.models)
        result.notes.push_back("Other programs used " + percent_text(*others) +
                               " of the processor meanwhile; on a quiet machine this is faster");
  }
  return report;
}

} // namespace bitlathe
