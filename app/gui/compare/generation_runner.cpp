// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/compare/generation_runner.h"

#include "core/text/tokenizer.h"

#include <mutex>

namespace bitlathe::gui {

/// What happened on the jobs' thread, in order.
struct GenerationRunner::Event {
  enum class Kind { prompt_begun, preparing, begun, token, ended, measured, prompt_done };
  Kind kind = Kind::token;
  std::size_t index = 0; ///< of the side, or of the prompt
  std::string step = {};
  GenerateStep token = {};
  double seconds = 0;
  TranscriptSide side = {};
  Transcript transcript = {};
};

/// Filled on the jobs' thread, emptied on the GUI thread.
struct GenerationRunner::Stream {
  std::mutex mutex;
  std::vector<Event> events; ///< under mutex
  void push(Event event) {
    const std::lock_guard lock(mutex);
    events.push_back(std::move(event));
  }
};

GenerationRunner::GenerationRunner(Workbench& workbench, QObject* parent)
    : QObject(parent), workbench_(workbench), cache_(EngineCache::make(workbench.engine())) {
  connect(&workbench_.engine(), &EngineThread::progressed, this, &GenerationRunner::poll);
}

GenerationRunner::~GenerationRunner() = default;

QString GenerationRunner::problemOf(const Contender& contender) {
  return QString::fromStdString(why_not_writing(contender.checkpoint.get()));
}

std::vector<RunModel> GenerationRunner::modelsOf(const QList<Contender>& contenders) {
  std::vector<RunModel> out;
  for (const Contender& contender : contenders)
    out.push_back({contender.title.toStdString(), contender.checkpoint, {}});
  return out;
}

void GenerationRunner::start(const QList<Contender>& contenders, const QList<Prompt>& prompts,
                             const RunOptions& options) {
  clear();
  if (contenders.isEmpty() || prompts.isEmpty())
    return;
  contenders_ = contenders;
  prompts_ = prompts;
  running_ = true;
  begin(0);
  stream_ = std::make_shared<Stream>();

  std::vector<std::shared_ptr<const Checkpoint>> wanted;
  for (const Contender& contender : contenders)
    wanted.push_back(contender.checkpoint);
  const QString title =
      prompts.size() > 1  ? tr("Run %1 prompts on %2 models").arg(prompts.size()).arg(wanted.size())
      : wanted.size() > 1 ? tr("Generate with %1 models").arg(wanted.size())
                          : tr("Generate with %1").arg(contenders[0].title);
  job_ = workbench_.engine().run<int>(
      QStringLiteral("generate"), title, this,
      [cache = cache_, stream = stream_, wanted, models = modelsOf(contenders),
       list = std::vector<Prompt>(prompts.begin(), prompts.end()),
       run = options](Feedback& feedback, Compute& compute) mutable -> Result<int> {
        for (RunModel& model : models)
          model.engine = [&cache, &compute, &wanted, &model] {
            return cache->get(model.checkpoint, compute, wanted);
          };
        using Kind = Event::Kind;
        RunSink sink;
        sink.prompt_begun = [&](std::size_t prompt) {
          stream->push({.kind = Kind::prompt_begun, .index = prompt});
        };
        sink.preparing = [&](std::size_t side, const std::string& step) {
          feedback.set_step(models[side].title + ": " + step);
          stream->push({.kind = Kind::preparing, .index = side, .step = step});
        };
        sink.begun = [&](std::size_t side, const TranscriptSide& what) {
          stream->push({.kind = Kind::begun, .index = side, .side = what});
        };
        sink.token = [&](std::size_t side, const GenerateStep& token, double seconds) {
          stream->push({.kind = Kind::token, .index = side, .token = token, .seconds = seconds});
        };
        sink.ended = [&](std::size_t side, const TranscriptSide& what) {
          stream->push({.kind = Kind::ended, .index = side, .side = what});
        };
        sink.measured = [&](std::size_t side, const TranscriptSide& what) {
          stream->push({.kind = Kind::measured, .index = side, .side = what});
        };
        sink.prompt_done = [&](std::size_t prompt, const Transcript& transcript) {
          stream->push({.kind = Kind::prompt_done, .index = prompt, .transcript = transcript});
        };
        run.turn = tokens_in_turn(models, EngineCache::budget(compute));
        TRY(run_prompts(models, list, run, feedback, sink));
        return 0;
      },
      [this, run = run_](const Result<int>& outcome) { ended(run, outcome); });
}

void GenerationRunner::begin(int prompt) {
  prompt_ = prompt;
  sides_.clear();
  utf8_.assign(std::size_t(contenders_.size()), {});
  for (const Contender& contender : contenders_) {
    Generation generation;
    generation.title = contender.title;
    if (contender.checkpoint)
      generation.detail = QString::fromStdString(contender.checkpoint->path.string());
    generation.prompt = QString::fromStdString(prompts_[prompt].text);
    generation.problem = problemOf(contender);
    generation.state =
        generation.problem.isEmpty() ? GenerationState::waiting : GenerationState::failed;
    sides_.push_back(generation);
  }
  Q_EMIT promptBegun(prompt);
}

void GenerationRunner::stop() {
  if (job_ != 0)
    workbench_.engine().cancel(job_);
}

void GenerationRunner::clear() {
  stop();
  ++run_; // what still ends belongs to no run
  sides_.clear();
  prompts_.clear();
  stream_.reset();
  job_ = 0;
  prompt_ = -1;
  running_ = false;
}

double GenerationRunner::progress() const {
  for (const JobStatus& job : workbench_.engine().jobs())
    if (job.id == job_ && job_ != 0 && job.total > 0)
      return std::min(1.0, double(job.done) / double(job.total));
  return -1;
}

double GenerationRunner::secondsLeft() const {
  for (const JobStatus& job : workbench_.engine().jobs())
    if (job.id == job_ && job_ != 0)
      return job.eta_seconds;
  return -1;
}

void GenerationRunner::poll() {
  if (!stream_)
    return;
  std::vector<Event> events;
  {
    const std::lock_guard lock(stream_->mutex);
    events.swap(stream_->events);
  }
  // Short prompts may have come and gone since the last look: only the last one is drawn.
  std::size_t last = 0;
  for (std::size_t i = 0; i < events.size(); ++i)
    if (events[i].kind == Event::Kind::prompt_begun)
      last = i;
  const quint64 run = run_;
  for (std::size_t i = 0; i < events.size() && run == run_;) {
    Event& event = events[i];
    if (i < last && event.kind != Event::Kind::prompt_done) {
      ++i;
      continue;
    }
    if (event.kind != Event::Kind::token) {
      apply(event);
      ++i;
      continue;
    }
    // All tokens up to the next other event, side by side.
    QList<qsizetype> from;
    for (const Generation& side : sides_)
      from.push_back(side.tokens.size());
    for (; i < events.size() && events[i].kind == Event::Kind::token; ++i)
      apply(events[i]);
    for (int side = 0; side < sides_.size() && run == run_; ++side)
      if (sides_[side].tokens.size() > from[side]) {
        Q_EMIT tokensCame(side, from[side]);
        Q_EMIT sideChanged(side);
      }
  }
}

void GenerationRunner::apply(Event& event) {
  using Kind = Event::Kind;
  if (event.kind == Kind::prompt_begun) {
    if (int(event.index) != prompt_)
      begin(int(event.index));
    return;
  }
  if (event.kind == Kind::prompt_done) {
    Q_EMIT promptDone(int(event.index), event.transcript);
    return;
  }
  const int side = int(event.index);
  Generation& generation = sides_[side];
  switch (event.kind) {
  case Kind::preparing:
    generation.step = QString::fromStdString(event.step);
    break;
  case Kind::begun:
    generation.state = GenerationState::running;
    generation.promptTokens = qsizetype(event.side.prompt_tokens);
    if (!event.side.rendered.empty()) {
      generation.rendered = QString::fromStdString(event.side.rendered);
      Q_EMIT promptRendered(side);
    }
    break;
  case Kind::token: {
    const Tokenizer& tokenizer = *contenders_[side].checkpoint->tokenizer;
    ShownToken token;
    token.id = event.token.id;
    const std::string piece = tokenizer.piece(token.id);
    token.bytes = QByteArray::fromStdString(piece);
    token.text = QString::fromStdString(utf8_[event.index].push(piece));
    token.hasLogprob = event.token.logprob.has_value();
    token.logprob = event.token.logprob.value_or(0);
    for (const TopToken& top : event.token.top)
      token.top.push_back({top.id, pieceText(tokenizer.piece(top.id)), top.logprob});
    generation.tokens.push_back(token);
    // The newest token's own product is not in yet.
    if (const auto before = generation.tokens.size() - 1; before > 0)
      generation.seconds = event.seconds * double(before + 1) / double(before);
    return; // told together with its neighbours
  }
  case Kind::ended:
    if (const auto rest = utf8_[event.index].finish();
        !rest.empty() && !generation.tokens.isEmpty())
      generation.tokens.back().text += QString::fromStdString(rest);
    [[fallthrough]];
  case Kind::measured:
    takeFigures(generation, event.side);
    break;
  default:
    break;
  }
  Q_EMIT sideChanged(side);
}

void GenerationRunner::ended(quint64 run, const Result<int>& outcome) {
  if (run != run_)
    return;
  poll(); // what came since the last sample
  if (run != run_)
    return;
  running_ = false;
  job_ = 0;
  // A job that was dropped from the queue told nobody.
  for (int side = 0; side < sides_.size(); ++side)
    if (sides_[side].state == GenerationState::waiting ||
        sides_[side].state == GenerationState::running) {
      sides_[side].state = GenerationState::stopped;
      if (!outcome.ok() && !outcome.error().cancelled()) {
        sides_[side].state = GenerationState::failed;
        sides_[side].problem = QString::fromStdString(outcome.error().text());
      }
      Q_EMIT sideChanged(side);
    }
  Q_EMIT finished();
}

} // namespace bitlathe::gui
