// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/compare/generation.h"

#include "app/gui/compare/divergence.h"

#include <cmath>
#include <QJsonArray>
#include <QJsonDocument>
#include <QJsonObject>

namespace bitlathe::gui {
namespace {

/// Length of the UTF-8 sequence that `lead` starts, 0 when it starts none.
int sequenceLength(quint8 lead) {
  if (lead < 0x80)
    return 1;
  if (lead >= 0xc2 && lead < 0xe0)
    return 2;
  if (lead >= 0xe0 && lead < 0xf0)
    return 3;
  return lead >= 0xf0 && lead < 0xf5 ? 4 : 0;
}

/// Bytes at the end that could still become a character.
qsizetype unfinished(const QByteArray& bytes) {
  for (qsizetype back = 1; back <= std::min<qsizetype>(3, bytes.size()); ++back) {
    const auto byte = quint8(bytes[bytes.size() - back]);
    if ((byte & 0xc0) == 0x80)
      continue;
    return sequenceLength(byte) > back ? back : 0;
  }
  return 0;
}

QString fenced(const QString& text) {
  // A fence longer than any run of backticks inside keeps the text as it is.
  int longest = 2, run = 0;
  for (const QChar c : text) {
    run = c == QLatin1Char('`') ? run + 1 : 0;
    longest = std::max(longest, run);
  }
  const QString fence(longest + 1, QLatin1Char('`'));
  return fence + QStringLiteral("text\n") + text + QLatin1Char('\n') + fence + QLatin1Char('\n');
}

QString stateName(GenerationState state) {
  switch (state) {
  case GenerationState::idle:
    return QStringLiteral("not run");
  case GenerationState::waiting:
    return QStringLiteral("waiting");
  case GenerationState::running:
    return QStringLiteral("running");
  case GenerationState::done:
    return QStringLiteral("done");
  case GenerationState::stopped:
    return QStringLiteral("stopped");
  case GenerationState::failed:
    return QStringLiteral("failed");
  }
  return {};
}

} // namespace

QString Generation::text() const {
  QString out;
  for (const ShownToken& token : tokens)
    out += token.text;
  return out;
}

QList<QByteArray> Generation::pieces() const {
  QList<QByteArray> out;
  out.reserve(tokens.size());
  for (const ShownToken& token : tokens)
    out.push_back(token.bytes);
  return out;
}

QString transcriptMarkdown(const QList<Transcript>& transcripts) {
  QString out = QStringLiteral("# Side by side\n");
  for (const Transcript& t : transcripts) {
    out += QStringLiteral("\n## Prompt\n\n") + fenced(t.prompt);
    if (t.chat.on)
      out += QStringLiteral("\nA message in each model's own chat template%1\n")
                 .arg(t.chat.system.isEmpty() ? QStringLiteral(".")
                                              : QStringLiteral(", with this system prompt:\n\n") +
                                                    fenced(t.chat.system));
    out += QStringLiteral("\nModel %1; temperature %2, top-k %3, top-p %4, seed %5, at most %6 new "
                          "tokens.\n")
               .arg(t.model)
               .arg(t.sampling.temperature)
               .arg(t.sampling.topK)
               .arg(t.sampling.topP)
               .arg(t.sampling.seed)
               .arg(t.sampling.maxNew);
    for (qsizetype i = 0; i < t.sides.size(); ++i) {
      const Generation& side = t.sides[i];
      out += QStringLiteral("\n### %1\n\n").arg(side.title);
      if (side.state == GenerationState::failed) {
        out += QStringLiteral("Could not run: %1\n").arg(side.problem);
        continue;
      }
      out += fenced(side.text());
      out += QStringLiteral("\n%1 tokens, %2 tok/s")
                 .arg(side.tokens.size())
                 .arg(side.tokensPerSecond(), 0, 'f', 1);
      if (i > 0 && !t.sides[0].tokens.isEmpty()) {
        const qsizetype at = firstDivergence(t.sides[0].pieces(), t.sides[0].finished(),
                                             side.pieces(), side.finished());
        out += at < 0 ? QStringLiteral("; same tokens as %1").arg(t.sides[0].title)
                      : QStringLiteral("; first different token: %1").arg(at + 1);
      }
      out += QStringLiteral(".\n");
    }
  }
  return out;
}

QByteArray transcriptJson(const QList<Transcript>& transcripts) {
  QJsonArray list;
  for (const Transcript& t : transcripts) {
    QJsonArray sides;
    for (qsizetype i = 0; i < t.sides.size(); ++i) {
      const Generation& side = t.sides[i];
      QJsonArray tokens;
      for (const ShownToken& token : side.tokens) {
        QJsonObject one{{"id", token.id}, {"text", token.text}};
        if (token.hasLogprob)
          one["logprob"] = token.logprob;
        if (!token.top.isEmpty()) {
          QJsonArray top;
          for (const Alternative& a : token.top)
            top.append(QJsonObject{{"id", a.id}, {"text", a.text}, {"logprob", a.logprob}});
          one["top"] = top;
        }
        tokens.append(one);
      }
      QJsonObject one{{"title", side.title},
                      {"path", side.detail},
                      {"state", stateName(side.state)},
                      {"text", side.text()},
                      {"tokens", tokens},
                      {"prompt_tokens", qint64(side.promptTokens)},
                      {"seconds", side.seconds},
                      {"tokens_per_second", side.tokensPerSecond()}};
      if (t.chat.on)
        one["rendered"] = side.rendered;
      if (!side.stopReason.isEmpty())
        one["stop_reason"] = side.stopReason;
      if (!side.problem.isEmpty())
        one["problem"] = side.problem;
      if (i > 0) {
        const qsizetype at = firstDivergence(t.sides[0].pieces(), t.sides[0].finished(),
                                             side.pieces(), side.finished());
        one["first_divergence"] = at < 0 ? QJsonValue() : QJsonValue(qint64(at));
      }
      sides.append(one);
    }
    list.append(QJsonObject{{"model", t.model},
                            {"prompt", t.prompt},
                            {"chat", t.chat.on},
                            {"system", t.chat.system},
                            {"sampling", QJsonObject{{"temperature", t.sampling.temperature},
                                                     {"top_k", t.sampling.topK},
                                                     {"top_p", t.sampling.topP},
                                                     {"seed", qint64(t.sampling.seed)},
                                                     {"max_new", t.sampling.maxNew}}},
                            {"sides", sides}});
  }
  return QJsonDocument(QJsonObject{{"version", 1}, {"transcripts", list}}).toJson();
}

QString Utf8Stream::push(const QByteArray& bytes) {
  rest_ += bytes;
  const qsizetype keep = unfinished(rest_);
  const QString out = QString::fromUtf8(rest_.constData(), rest_.size() - keep);
  rest_ = rest_.right(keep);
  return out;
}

QString Utf8Stream::finish() {
  const QString out = rest_.isEmpty() ? QString() : QString(QChar(QChar::ReplacementCharacter));
  rest_.clear();
  return out;
}

QString visibleToken(const QString& text) {
  QString out;
  for (const QChar c : text) {
    if (c == QLatin1Char(' '))
      out += QChar(0x2423); // open box
    else if (c == QLatin1Char('\n'))
      out += QChar(0x21b5);
    else if (c == QLatin1Char('\t'))
      out += QChar(0x21e5);
    else
      out += c;
  }
  return out.isEmpty() ? QStringLiteral("\u2205") : out;
}

} // namespace bitlathe::gui
