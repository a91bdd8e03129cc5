// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/compare/generation_runner.h"

#include "core/chat/chat.h"
#include "core/text/tokenizer.h"

#include <chrono>
#include <mutex>
#include <QStringDecoder>

namespace bitlathe::gui {

/// Filled on the jobs' thread, emptied on the GUI thread.
struct GenerationRunner::Stream {
  std::mutex mutex;
  std::vector<GenerateStep> fresh; ///< under mutex
  std::string rendered;            ///< under mutex
  std::shared_ptr<const Tokenizer> tokenizer;
  Utf8Stream utf8; ///< GUI thread
  std::atomic<bool> started{false};
  std::atomic<qint64> first_us{0}, last_us{0}; ///< when the first and the last token came
  std::atomic<qint64> prompt_tokens{0};
};

namespace {

qint64 nowUs() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

ShownToken shown(const GenerateStep& step, const Tokenizer& tokenizer, Utf8Stream& utf8) {
  ShownToken out;
  out.id = step.id;
  out.bytes = QByteArray::fromStdString(tokenizer.piece(step.id));
  out.text = utf8.push(out.bytes);
  out.prompt = step.prompt;
  if (step.logprob) {
    out.hasLogprob = true;
    out.logprob = *step.logprob;
  }
  for (const TopToken& top : step.top)
    out.top.push_back({top.id, pieceText(tokenizer.piece(top.id)), top.logprob});
  return out;
}

} // namespace

QString pieceText(const std::string& bytes) {
  QStringDecoder decoder(QStringDecoder::Utf8);
  const QString text = decoder(QByteArrayView(bytes.data(), qsizetype(bytes.size())));
  if (!decoder.hasError() && !text.contains(QChar(QChar::ReplacementCharacter)) &&
      (!text.isEmpty() || bytes.empty()))
    return text;
  QString out;
  for (const char byte : bytes)
    out += QStringLiteral("<%1>").arg(quint8(byte), 2, 16, QLatin1Char('0')).toUpper();
  return out;
}

GenerationRunner::GenerationRunner(Workbench& workbench, QObject* parent)
    : QObject(parent), workbench_(workbench), cache_(EngineCache::make(workbench.engine())) {
  connect(&workbench_.engine(), &EngineThread::progressed, this, &GenerationRunner::poll);
}

GenerationRunner::~GenerationRunner() = default;

QString GenerationRunner::problemOf(const Contender& contender) {
  if (!contender.checkpoint)
    return tr("This checkpoint is not open.");
  const Checkpoint& checkpoint = *contender.checkpoint;
  if (!checkpoint.spec)
    return tr("Cannot run: %1").arg(QString::fromStdString(checkpoint.why_not_runnable));
  if (!checkpoint.tokenizer)
    return tr("No tokenizer: %1").arg(QString::fromStdString(checkpoint.tokenizer_problem));
  return {};
}

void GenerationRunner::start(const QList<Contender>& contenders, const QString& prompt,
                             const SamplingShown& sampling, int logprobs, const ChatShown& chat) {
  stop();
  ++run_;
  announced_ = false;
  sides_.clear();
  streams_.clear();
  jobs_.clear();
  std::vector<std::shared_ptr<const Checkpoint>> wanted;
  for (const Contender& contender : contenders)
    wanted.push_back(contender.checkpoint);

  for (int side = 0; side < contenders.size(); ++side) {
    const Contender& contender = contenders[side];
    Generation generation;
    generation.title = contender.title;
    if (contender.checkpoint)
      generation.detail = QString::fromStdString(contender.checkpoint->path.string());
    generation.prompt = prompt;
    generation.problem = problemOf(contender);
    generation.state =
        generation.problem.isEmpty() ? GenerationState::waiting : GenerationState::failed;
    sides_.push_back(generation);
    streams_.push_back(std::make_shared<Stream>());
    jobs_.push_back(0);
    Q_EMIT sideReset(side);
    if (generation.state == GenerationState::failed)
      continue;

    const auto stream = streams_.back();
    stream->tokenizer = contender.checkpoint->tokenizer;
    GenerateOptions options;
    options.max_new = sampling.maxNew;
    options.sampling = {float(sampling.temperature), sampling.topK, float(sampling.topP),
                        sampling.seed};
    options.logprobs = logprobs;
    jobs_.back() = workbench_.engine().run<GenerateResult>(
        QStringLiteral("generate:%1").arg(side), tr("Generate with %1").arg(contender.title), this,
        [cache = cache_, checkpoint = contender.checkpoint, wanted, stream, options, chat,
         text = prompt.toStdString()](Feedback& feedback,
                                      Compute& compute) mutable -> Result<GenerateResult> {
          if (chat.on) { // first, because it may refuse
            TRY_ASSIGN(ChatPrompt made,
                       chat_prompt(*checkpoint, chat_messages(text, chat.system.toStdString())));
            options.prompt = std::move(made.ids);
            options.stop = std::move(made.stop);
            const std::lock_guard lock(stream->mutex);
            stream->rendered = std::move(made.text);
          } else {
            options.prompt = checkpoint->tokenizer->encode(text);
          }
          feedback.set_step("loading weights");
          TRY_ASSIGN(Engine * engine, cache->get(checkpoint, compute, wanted));
          if (options.prompt.empty() && checkpoint->tokenizer->bos() >= 0)
            options.prompt.push_back(checkpoint->tokenizer->bos());
          if (options.prompt.empty())
            return Error{"bad-argument", "The prompt is empty: write at least one word", {}};
          stream->prompt_tokens = qint64(options.prompt.size());
          stream->started = true;
          feedback.set_step("generating");
          options.on_token = [&](const GenerateStep& step) {
            const qint64 now = nowUs();
            if (stream->first_us == 0)
              stream->first_us = now;
            stream->last_us = now;
            const std::lock_guard lock(stream->mutex);
            stream->fresh.push_back(step);
          };
          return generate(*engine, options, feedback);
        },
        [this, side, run = run_](const Result<GenerateResult>& outcome) {
          sideEnded(side, run, outcome);
        });
  }
  checkFinished();
}

void GenerationRunner::stop() {
  for (const JobId job : jobs_)
    if (job != 0)
      workbench_.engine().cancel(job);
}

void GenerationRunner::clear() {
  stop();
  ++run_; // what still ends belongs to no run
  sides_.clear();
  streams_.clear();
  jobs_.clear();
  announced_ = true;
}

bool GenerationRunner::running() const {
  for (const Generation& side : sides_)
    if (side.state == GenerationState::waiting || side.state == GenerationState::running)
      return true;
  return false;
}

void GenerationRunner::poll() {
  for (int side = 0; side < sides_.size(); ++side) {
    Stream& stream = *streams_[side];
    Generation& generation = sides_[side];
    std::vector<GenerateStep> fresh;
    std::string rendered;
    {
      const std::lock_guard lock(stream.mutex);
      fresh.swap(stream.fresh);
      rendered.swap(stream.rendered);
    }
    if (!rendered.empty()) {
      generation.rendered = QString::fromStdString(rendered);
      Q_EMIT promptRendered(side);
    }
    bool changed = false;
    if (generation.state == GenerationState::waiting && stream.started) {
      generation.state = GenerationState::running;
      changed = true;
    }
    if (!fresh.empty()) {
      const qsizetype from = generation.tokens.size();
      for (const GenerateStep& step : fresh)
        if (!step.prompt)
          generation.tokens.push_back(shown(step, *stream.tokenizer, stream.utf8));
      generation.promptTokens = stream.prompt_tokens;
      // The first token comes with the prompt; the rate is of those after it.
      const double since = double(stream.last_us - stream.first_us) * 1e-6;
      if (generation.state == GenerationState::running && generation.tokens.size() > 1 && since > 0)
        generation.seconds =
            since * double(generation.tokens.size()) / double(generation.tokens.size() - 1);
      Q_EMIT tokensCame(side, from);
      changed = true;
    }
    if (changed)
      Q_EMIT sideChanged(side);
  }
}

void GenerationRunner::sideEnded(int side, quint64 run, const Result<GenerateResult>& outcome) {
  if (run != run_ || side >= sides_.size())
    return;
  poll(); // what came since the last sample
  Generation& generation = sides_[side];
  Stream& stream = *streams_[side];
  jobs_[side] = 0;
  if (const QString rest = stream.utf8.finish(); !rest.isEmpty() && !generation.tokens.isEmpty())
    generation.tokens.back().text += rest;
  if (outcome.ok()) {
    generation.state = GenerationState::done;
    generation.stopReason = QString::fromStdString(outcome->stop_reason);
    generation.promptSeconds = outcome->prompt_seconds;
    generation.seconds = outcome->seconds;
    generation.promptTokens = qsizetype(outcome->prompt.size());
    // Probabilities of the steps, when tokens were handed out without them.
    qsizetype at = 0;
    for (const GenerateStep& step : outcome->steps) {
      if (step.prompt || at >= generation.tokens.size())
        continue;
      ShownToken& token = generation.tokens[at++];
      if (token.top.isEmpty() && !step.top.empty()) {
        Utf8Stream unused;
        const ShownToken full = shown(step, *stream.tokenizer, unused);
        token.top = full.top;
        token.hasLogprob = full.hasLogprob;
        token.logprob = full.logprob;
      }
    }
  } else if (outcome.error().cancelled()) {
    generation.state = GenerationState::stopped;
  } else {
    generation.state = GenerationState::failed;
    generation.problem = QString::fromStdString(outcome.error().text());
  }
  Q_EMIT sideChanged(side);
  checkFinished();
}

void GenerationRunner::checkFinished() {
  if (announced_ || running())
    return;
  announced_ = true;
  Q_EMIT finished();
}

} // namespace bitlathe::gui
