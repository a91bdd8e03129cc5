// SPDX-License-Identifier: GPL-3.0-or-later
// One generation as it is shown: tokens with the text they add, their probabilities and the
// alternatives, and the transcript of several side by side.
#pragma once

#include <QByteArray>
#include <QList>
#include <QString>

namespace bitlathe::gui {

/// One of the likeliest tokens at a step.
struct Alternative {
  qint32 id = 0;
  QString text;
  double logprob = 0;
};

struct ShownToken {
  qint32 id = 0;
  QByteArray bytes; ///< what the token adds to the text
  QString text;     ///< the characters that are complete with this token; may be empty
  bool prompt = false;
  bool hasLogprob = false;
  double logprob = 0;
  QList<Alternative> top; ///< likeliest first; empty when not asked for
};

/// The prompt as a message in a conversation.
struct ChatShown {
  bool on = false;
  QString system;
  bool operator==(const ChatShown& other) const = default;
};

enum class GenerationState { idle, waiting, running, done, stopped, failed };

struct Generation {
  QString title;  ///< of the contender
  QString detail; ///< path or scheme
  GenerationState state = GenerationState::idle;
  QString problem;    ///< why it failed or cannot run
  QString stopReason; ///< "eos", "length", "context"
  QString prompt;
  QString rendered;         ///< in a conversation: the prompt as the model's template makes it
  QList<ShownToken> tokens; ///< new ones only
  double promptSeconds = 0, seconds = 0;
  qsizetype promptTokens = 0;

  bool finished() const { return state == GenerationState::done; }
  double tokensPerSecond() const { return seconds > 0 ? double(tokens.size()) / seconds : 0; }
  QString text() const;
  QList<QByteArray> pieces() const;
};

struct SamplingShown {
  double temperature = 0, topP = 1;
  int topK = 0, maxNew = 64;
  quint64 seed = 0;
};

/// What is kept of one run of all contenders on one prompt.
struct Transcript {
  QString model, prompt;
  ChatShown chat;
  SamplingShown sampling;
  QList<Generation> sides; ///< reference first
};
QString transcriptMarkdown(const QList<Transcript>& transcripts);
QByteArray transcriptJson(const QList<Transcript>& transcripts);

/// Bytes to characters when a character may be split over tokens: returns what is complete and
/// keeps the rest. Invalid bytes become U+FFFD.
class Utf8Stream {
 public:
  QString push(const QByteArray& bytes);
  QString finish(); ///< what is left, as U+FFFD
 private:
  QByteArray rest_;
};

/// A token's text for people: spaces and line breaks made visible.
QString visibleToken(const QString& text);

} // namespace bitlathe::gui
